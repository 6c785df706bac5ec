"""Reading symlinks where a path is longer than the kernel takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from writeaudit.resolve.names.lookup import read_link


@pytest.mark.parametrize("depth", [1, 19, 20, 21, 60])
def test_links_are_read_beyond_what_a_path_may_hold(tmp_path: Path, depth: int) -> None:
    path = os.fsencode(tmp_path.resolve())
    component = b"p" * 200
    directory = os.open(path, os.O_PATH)
    for _ in range(depth):
        os.mkdir(component, dir_fd=directory)
        below = os.open(component, os.O_PATH, dir_fd=directory)
        os.close(directory)
        directory = below
        path += b"/" + component
    os.symlink(b"there", b"link", dir_fd=directory)
    os.close(directory)
    assert read_link(path + b"/link") == b"there"
    for name, number in ((b"/missing", errno.ENOENT), (b"/" + b"n" * 256, errno.ENAMETOOLONG)):
        with pytest.raises(OSError, match=os.strerror(number)):
            read_link(path + name)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        read_link(path)
