"""Private keys and credentials, recognised by what a file holds. Certificates are none, whatever their names.

A finding never repeats a secret: only what it is. The patterns take time in proportion to the text, whatever
it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from writeaudit.paths import last_component

_PEM = re.compile(
    rb"-----BEGIN ((?:RSA |EC |DSA |OPENSSH |ENCRYPTED |ANY )?PRIVATE KEY|PGP PRIVATE KEY BLOCK)-----\r?\n"
    rb"((?:[ -,.-~\t\r\n]|-(?!-)){60,})-----END \1-----"
)
_PEM_NEEDLE = b"PRIVATE KEY"
_ENCRYPTED = (b"ENCRYPTED", b"bcrypt", b"Proc-Type: 4,ENC")
_OPENSSH_PLAIN = b"AAAABG5vbmUAAAAEbm9uZQ"
"""How the base64 of an OpenSSH key goes on that has no passphrase: cipher and key derivation "none"."""
_PUTTY = b"PuTTY-User-Key-File-"
_DER = re.compile(
    rb"\A0\x82..\x02\x01\x00"
    rb"(?:0\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82|\x02\x82)",
    re.DOTALL,
)
"""An RSA key in DER: of PKCS #8 (RFC 5208) or PKCS #1 (RFC 8017)."""

_PLACEHOLDER = re.compile(
    rb"(?i)\A[\"']?(?:\$|<|\{\{|%|\*+\Z|x{3,}|changeme|change-me|your|example|secret\Z|password\Z|placeholder|todo"
    rb"|none\Z|null\Z|true\Z|false\Z|\Z)"
)
"""What stands where a secret is to be filled in."""
_EXAMPLES = (b"EXAMPLE", b"example.com", b"example.org", b"xxxxxx", b"XXXXXX")
_LIKE_TESTS = re.compile(
    rb"(?i)/(?:tests?|testing|test[-_]?data|testcases|fixtures|examples?|samples?|docs?)(?:/|$)"
)
_SCHEME = rb"https?://[^\s/:@'\"<>{}$]{1,100}:([^\s/:@'\"<>{}$]{3,200})@[\w.-]+"


class Secret(NamedTuple):
    """What a file holds."""

    what: str
    """``private key (RSA)``."""
    weak: bool = False
    """Whether it is less likely to matter: a key under a passphrase, or one of tests or documentation."""


class _Form(NamedTuple):
    what: str
    needle: bytes
    """What each of them holds: a search for it is quick, and few files have it."""
    pattern: re.Pattern[bytes]


_FORMS = (
    _Form("GitHub token", b"gh", re.compile(rb"gh[opsur]_[A-Za-z0-9]{36,}(?![A-Za-z0-9])")),
    _Form("GitHub token", b"github_pat_", re.compile(rb"\bgithub_pat_\w{40,}")),
    _Form("GitLab token", b"glpat-", re.compile(rb"\bglpat-[\w-]{20,}")),
    _Form("PyPI token", b"pypi-AgE", re.compile(rb"\bpypi-AgE[\w-]{50,}")),
    _Form("npm token", b"npm_", re.compile(rb"\bnpm_[A-Za-z0-9]{36}\b")),
    _Form("Docker Hub token", b"dckr_pat_", re.compile(rb"\bdckr_pat_[\w-]{20,}")),
    _Form("Hugging Face token", b"hf_", re.compile(rb"\bhf_[A-Za-z0-9]{34,}\b")),
    _Form("Slack token", b"xox", re.compile(rb"\bxox[abeoprs]-\d{8,}-[\w-]{10,}")),
    _Form(
        "AWS secret key", b"ws_secret_access_key",
        re.compile(rb"(?i)aws_secret_access_key[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{40})\b"),
    ),
    _Form(
        "AWS secret key", b"WS_SECRET_ACCESS_KEY",
        re.compile(rb"AWS_SECRET_ACCESS_KEY[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{40})\b"),
    ),
    _Form(
        "service account key of Google Cloud", b'"private_key_id"',
        re.compile(rb'"private_key"\s*:\s*"-----BEGIN'),
    ),
    _Form("npm token", b":_authToken", re.compile(rb":_authToken\s*=\s*([^\s$][^\s]{7,})")),
)  # fmt: skip
"""Tokens that say by their form what they are, wherever they stand."""

_SHADOW = re.compile(rb"(?m)^[^:\n]+:(\$(?:y|gy|7|6|5|1|2[abxy])\$[^:\n]+|[A-Za-z0-9./]{13}):")
_NETRC = re.compile(rb"(?:^|\s)(?:machine\s+\S+|default)\s+(?:login\s+\S+\s+)?password\s+(\S+)")
_PYPIRC = re.compile(rb"(?mi)^[ \t]*password[ \t]*[=:][ \t]*(\S+)")
_ADDRESS = re.compile(_SCHEME)
_DOTENV = re.compile(
    rb"(?mi)^[ \t]*(?:export[ \t]+)?\w{0,64}"
    rb"(?:TOKEN|SECRET|PASSW(?:OR)?D|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)\w{0,64}"
    rb"[ \t]*=[ \t]*(\S[^\n]*)$"
)
_HTPASSWD = re.compile(rb"(?m)^[^:\s]+:(\$(?:apr1|2[aby]|5|6)\$\S+|\{SHA\}\S+)$")
_PGPASS = re.compile(rb"(?m)^[^#:\n]+:[^:\n]+:[^:\n]+:[^:\n]+:([^\n]+)$")
_MY_CNF = re.compile(rb"(?mi)^[ \t]*password[ \t]*=[ \t]*(\S+)")
_KUBECONFIG = re.compile(rb"(?m)^[ \t-]*(?:client-key-data|token|password):[ \t]*(\S{8,})")


def _docker_auths(data: bytes) -> bool:
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        return False
    auths = held.get("auths") if isinstance(held, dict) else None
    if not isinstance(auths, dict):
        return False
    keys = ("auth", "password", "identitytoken", "registrytoken")
    return any(isinstance(each, dict) and any(each.get(key) for key in keys) for each in auths.values())


def _matches(pattern: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    return lambda data: pattern.search(data) is not None


def _has(pattern: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    return lambda data: any(not is_placeholder(found) for found in pattern.findall(data))


_BY_NAME: Mapping[bytes, tuple[str, Callable[[bytes], bool]]] = {
    b"shadow": ("password hash", _matches(_SHADOW)),
    b"shadow-": ("password hash", _matches(_SHADOW)),
    b"gshadow": ("password hash", _matches(_SHADOW)),
    b".netrc": ("password", _has(_NETRC)),
    b"_netrc": ("password", _has(_NETRC)),
    b"auth.conf": ("password", _has(_NETRC)),
    b".git-credentials": ("password", _has(_ADDRESS)),
    b".pypirc": ("password", _has(_PYPIRC)),
    b"pip.conf": ("password in an address", _has(_ADDRESS)),
    b"uv.toml": ("password in an address", _has(_ADDRESS)),
    b".gitconfig": ("password in an address", _has(_ADDRESS)),
    b".npmrc": ("password in an address", _has(_ADDRESS)),
    b"sources.list": ("password in an address", _has(_ADDRESS)),
    b".htpasswd": ("password hash", _matches(_HTPASSWD)),
    b".pgpass": ("password", _has(_PGPASS)),
    b".my.cnf": ("password", _has(_MY_CNF)),
    b".env": ("credentials", _has(_DOTENV)),
    b"config.json": ("registry credentials", _docker_auths),
    b".dockerconfigjson": ("registry credentials", _docker_auths),
    b".dockercfg": ("registry credentials", _docker_auths),
    b"auth.json": ("registry credentials", _docker_auths),
    b"kubeconfig": ("cluster credentials", _has(_KUBECONFIG)),
}
"""Files that are made for credentials, by name, and what shows that they hold any."""
_BELOW: Mapping[bytes, tuple[str, Callable[[bytes], bool]]] = {
    b"/.kube/config": ("cluster credentials", _has(_KUBECONFIG)),
    b"/.git/config": ("password in an address", _has(_ADDRESS)),
}


def is_placeholder(value: bytes) -> bool:
    """Whether a value is one that somebody is to replace: empty, ``$TOKEN``, ``changeme``, ``<your key>``."""
    value = value.strip().strip(b"\"'")
    return bool(_PLACEHOLDER.search(value)) or any(word in value for word in _EXAMPLES)


def find_secrets(path: bytes, data: bytes) -> Iterator[Secret]:
    """Yield what a file holds. ``data``: its beginning, as much of it as is examined."""
    weak = bool(_LIKE_TESTS.search(path))
    found = {secret.what: secret for secret in _secrets(path, data)}
    for secret in found.values():
        yield secret._replace(weak=True) if weak else secret


def _secrets(path: bytes, data: bytes) -> Iterator[Secret]:
    if _PEM_NEEDLE in data:
        for found in _PEM.finditer(data):
            yield _key(found[1], found[2])
    if _DER.match(data):
        yield Secret("private key (RSA)")
    if b"\0" in data[:4096]:
        return  # a program, an archive, a picture
    if data.startswith(_PUTTY):
        yield Secret("private key (PuTTY)", weak=b"Encryption: none" not in data)
    for form in _FORMS:
        if form.needle in data:
            for hit in form.pattern.finditer(data):
                if not is_placeholder(hit[hit.lastindex or 0]):
                    yield Secret(form.what)
                    break
    yield from _named(path, data)


def _named(path: bytes, data: bytes) -> Iterator[Secret]:
    name = last_component(path)
    known = _BY_NAME.get(name)
    if known is None and name.startswith(b".env."):
        known = _BY_NAME[b".env"]
    if known is None:
        known = next((each for ending, each in _BELOW.items() if path.endswith(ending)), None)
    if known is not None and known[1](data):
        yield Secret(known[0])


def _key(label: bytes, body: bytes) -> Secret:
    kind = (
        label.removesuffix(b"PRIVATE KEY").strip().decode("ascii").replace("PGP PRIVATE KEY BLOCK", "OpenPGP")
    )
    encrypted = any(word in label + body for word in _ENCRYPTED)
    if kind == "OPENSSH":
        encrypted = _OPENSSH_PLAIN not in body[:80]
    named = {"": "PKCS #8", "OPENSSH": "OpenSSH", "ENCRYPTED": "PKCS #8", "ANY": "PKCS #8"}.get(kind, kind)
    return Secret(f"private key ({named}{', under a passphrase' if encrypted else ''})", weak=encrypted)
