"""Who does things on behalf of a process that is not part of the run."""

from __future__ import annotations

import pytest

from writeaudit.capture import outside


@pytest.mark.parametrize(
    "path",
    [
        b"/var/run/docker.sock",
        b"docker.sock",
        b"/home/me/.docker/desktop/docker-cli.sock",
        b"/run/user/1000/podman/podman.sock",
        b"/run/containerd/containerd.sock",
        b"/run/k3s/containerd/containerd.sock.ttrpc",
        b"/run/buildkit/buildkitd.sock",
        b"/run/systemd/private",
        b"/run/user/1000/systemd/private",
        b"/run/user/1000/bus",
        b"/run/snapd.socket",
        b"/nix/var/nix/daemon-socket/socket",
    ],
)
def test_services_that_do_things_for_others(path: bytes) -> None:
    spot = outside.service_at(path)
    assert spot is not None
    assert (spot.kind, spot.incomplete) == ("delegated", True)


@pytest.mark.parametrize("path", [b"/run/nscd/socket", b"/tmp/ssh-x/agent.1", b"/tmp/docker.sock.d/x", b""])
def test_sockets_of_no_such_service(path: bytes) -> None:
    assert outside.service_at(path) is None


def test_system_bus_is_noted_and_no_more() -> None:
    spot = outside.service_at(b"/run/dbus/system_bus_socket")
    assert spot is not None
    assert not spot.incomplete


def test_memory_of_other_processes() -> None:
    spot = outside.spot_of_open(b"/proc/12/mem", {1, 2}, writes=True)
    assert spot is not None
    assert spot.kind == "other_process"
    assert outside.spot_of_open(b"/proc/12/task/13/mem", {1}, writes=True) is not None
    assert outside.spot_of_open(b"/proc/2/mem", {1, 2}, writes=True) is None
    assert outside.spot_of_open(b"/proc/12/mem", {1}, writes=False) is None
    assert outside.spot_of_open(b"/proc/12/maps", {1}, writes=True) is None


def test_devices_that_tell() -> None:
    assert outside.spot_of_open(b"/dev/fuse", (), writes=False) == outside.FUSE
    assert outside.spot_of_open(b"/dev/userfaultfd", (), writes=True) == outside.USERFAULTFD
    assert outside.spot_of_open(b"/dev/null", (), writes=True) is None
