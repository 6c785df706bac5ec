"""Places that nobody should open by pasting a line: the home directory, the system's, those of secrets.

And files that start programs or grant access, wherever they are.
"""

from __future__ import annotations

import os
import re

_SYSTEM = frozenset(
    b"/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp "
    b"/usr /usr/bin /usr/lib /usr/local /usr/local/bin /usr/sbin /usr/share /var /var/lib /var/log "
    b"/var/run".split()
)
_SYSTEM_TREES = tuple(
    b"/bin/ /boot/ /dev/ /etc/ /lib/ /lib32/ /lib64/ /proc/ /run/ /sbin/ /sys/ /usr/ /var/lib/ "
    b"/var/log/ /var/spool/ /var/run/".split()
)
_SECRETS = (b".ssh", b".gnupg", b".aws", b".kube", b".docker", b".password-store", b".config/gcloud")
_STARTS = re.compile(
    rb"/\.ssh(?:/|\Z)|/\.gnupg(?:/|\Z)|/\.(?:bash_profile|bash_login|bash_logout|bashrc|profile|zshrc|zshenv|zprofile|"
    rb"zlogin|kshrc|cshrc|tcshrc|login|xprofile|xinitrc|xsessionrc|inputrc|netrc|pgpass|rhosts|npmrc|pypirc)\Z|"
    rb"/\.config/(?:autostart|systemd|fish|environment\.d)/|/\.git/(?:hooks/|config\Z)|"
    rb"/etc/(?:cron|sudoers|ld\.so\.|profile|bash|environment|pam\.d|systemd|init\.d|rc\.|passwd|shadow|group|ssh/)|"
    rb"/var/spool/cron/|\A/(?:usr/)?lib/systemd/|\A/root/\.profile|/sitecustomize\.py\Z|/usercustomize\.py\Z|\.pth\Z"
)


def starts_or_grants(path: bytes) -> bool:
    """Whether a file starts programs or grants access: shell start files, cron, ssh keys, git hooks, …"""
    return _STARTS.search(path) is not None


def is_of_the_system(path: bytes) -> bool:
    """Whether a path is a directory of the system, or lies in one."""
    return path in _SYSTEM or path.startswith(_SYSTEM_TREES)


def is_too_wide(directory: bytes, home: bytes | None, others: tuple[bytes, ...] = ()) -> bool:
    """Whether to allow writing below `directory` would open more than one place of one tool.

    True for the system's directories, the home directory and what lies above it, a directory that holds
    secrets (``.ssh`` …) as far as can be seen, one in which some file starts programs or grants access, and
    one around `others` (zones that are protected, say).
    """
    path = os.path.normpath(directory) if directory else b"/"
    if path in _SYSTEM or starts_or_grants(path + b"/x"):
        return True
    around = (home,) if home else ()
    if any(place == path or place.startswith(path + b"/") for place in (*around, *others)):
        return True
    # Another user's home directory, or that of a run on another machine, has no name that tells.
    return os.path.dirname(path) == b"/home" or any(
        os.path.isdir(os.path.join(path, name)) for name in _SECRETS
    )
