from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from keystile.process import sockets
from tests.lacking import lacks


def test_a_free_port_is_taken_and_told() -> None:
    [opened] = sockets.listen("127.0.0.1", 0)
    host, _, port = sockets.address_of(opened).rpartition(":")
    assert host == "127.0.0.1"
    socket.create_connection((host, int(port))).close()
    assert opened.get_inheritable()
    assert not opened.getblocking()
    opened.close()


def test_several_sockets_share_one_port() -> None:
    opened = sockets.listen("127.0.0.1", 0, 3)
    assert len({each.getsockname() for each in opened}) == 1
    sockets.close_all(opened)


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_in_use_is_refused_by_its_name_even_where_it_could_be_shared(count: int) -> None:
    others = sockets.listen("127.0.0.1", 0, 2)
    address = sockets.address_of(others[0])
    with pytest.raises(sockets.CannotListen, match=f"cannot listen on {address}: the port is in use"):
        sockets.listen("127.0.0.1", others[0].getsockname()[1], count)
    sockets.close_all(others)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(sockets.CannotListen, match="does not have that address"):
        sockets.listen("192.0.2.1", 0)


def test_ipv6_and_ipv4_can_have_the_same_port() -> None:
    try:
        [six] = sockets.listen("::", 0)
    except sockets.CannotListen:
        # Containers are often made without; there is no other family that could share the port.
        lacks("no IPv6 here", not_even_in_ci=True)
    port = six.getsockname()[1]
    [four] = sockets.listen("0.0.0.0", port)
    assert sockets.address_of(six) == f"[::]:{port}"
    six.close()
    four.close()


def test_the_socket_beside_the_store_replaces_a_leftover_and_is_its_owners(tmp_path: Path) -> None:
    store = tmp_path / "keystile.db"
    for _ in range(2):  # the first one's file is left behind
        with sockets.listen_beside(store) as opened:
            assert opened.get_inheritable()
            assert not opened.getblocking()
            assert sockets.calls_path(store).stat().st_mode & 0o777 == 0o600


def test_a_socket_that_cannot_lie_beside_the_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(sockets.CannotListen, match=r"nowhere/keystile.db.management: No such file"):
        sockets.listen_beside(tmp_path / "nowhere" / "keystile.db")


def test_a_machine_without_ipv6_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_ipv4(family: int = -1, *more: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *more, **named)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    for host in ("::", "::1"):
        with pytest.raises(sockets.CannotListen, match=r"cannot listen on \[::1?\]:0: this machine has no IPv6"):
            sockets.listen(host, 0)
    [opened] = sockets.listen("127.0.0.1", 0)
    opened.close()
