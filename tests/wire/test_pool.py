"""The pool: a connection that is doubtful is given to nobody, and every address of a server has its turn."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keystile.wire import unix
from keystile.wire.names import Addresses
from keystile.wire.pool import IDLE_SECONDS, Pool, UnixPool
from keystile.wire.upstream import UpstreamConnection
from tests.lacking import lacks
from tests.relay.running import until
from tests.wire.peers import RecordingUpstream
from tests.wire.transports import KeptAnswer

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


# -- the pool, with real sockets --------------------------------------------------------------------------


def listening_at(host: str) -> socket.socket:
    """A socket that takes connections, and nothing more."""
    opened = socket.socket()
    opened.bind((host, 0))
    opened.listen(16)
    return opened


async def used(pool: Pool) -> UpstreamConnection:
    """A connection that has carried a request and lies in the pool."""
    connection = pool.take() or await pool.connect()
    answer = connection.carried = KeptAnswer(connection)
    connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: answer.outcome == "whole")
    return connection


async def test_the_connection_used_last_is_given_out_first_and_once() -> None:
    async with RecordingUpstream() as upstream:
        pool = Pool("127.0.0.1", upstream.port, 1.0)
        assert pool.take() is None
        first = await used(pool)
        assert pool.take() is first
        assert pool.take() is None
        second = await used(pool)
        first.release(clean=True)
        assert [pool.take(), pool.take(), pool.take()] == [first, second, None]
        for connection in (first, second):
            connection.abort()


async def test_a_connection_in_which_something_lies_is_not_given_out() -> None:
    """Nothing has told us yet: the bytes, or the end, are in the kernel only."""
    for late in (b"x", None):
        async with RecordingUpstream() as upstream:
            pool = Pool("127.0.0.1", upstream.port, 1.0)
            connection = await used(pool)
            with socket.socket(fileno=os.dup(upstream.connections[0].writer.get_extra_info("socket").fileno())) as sock:
                if late is None:
                    sock.shutdown(socket.SHUT_WR)
                else:
                    sock.send(late)
            # The loop has had no turn since.
            assert pool.take() is None
            assert connection.transport.is_closing()


async def test_unused_connections_are_closed_after_a_while() -> None:
    async with RecordingUpstream() as upstream:
        pool = Pool("127.0.0.1", upstream.port, 1.0)
        connection = await used(pool)
        pool.close_unused(connection.idle_since + IDLE_SECONDS - 0.01)
        assert not connection.transport.is_closing()
        pool.close_unused(connection.idle_since + IDLE_SECONDS + 0.01)
        assert connection.transport.is_closing()
        assert pool.take() is None
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)


async def test_a_closed_pool_has_nothing_left() -> None:
    async with RecordingUpstream() as upstream:
        pool = Pool("127.0.0.1", upstream.port, 1.0)
        connection = await used(pool)
        pool.close()
        assert connection.transport.is_closing()
        assert pool.take() is None


async def test_connecting_fails_when_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"refused|Connect"):
            await Pool("127.0.0.1", sock.getsockname()[1], 1.0).connect()


async def test_connecting_takes_no_longer_than_allowed() -> None:
    """A listener whose queue is full: SYNs are dropped and no answer comes."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
        with pytest.raises(TimeoutError):
            await Pool("127.0.0.1", sock.getsockname()[1], 0.05).connect()
        for one in waiting:
            one.close()


# -- several addresses -------------------------------------------------------------------------------------


def named(port: int, *addresses: str, timeout: float = 5.0) -> tuple[Pool, list[str]]:
    """A pool of a name with these addresses, which may be changed."""
    answers = list(addresses)

    async def look_up(_: str) -> list[str]:
        if not answers:
            raise OSError("no such name")
        return list(answers)

    pool = Pool("api.internal", port, timeout)
    pool.addresses = Addresses("api.internal", 30.0, look_up)
    return pool, answers


async def test_every_address_of_a_name_gets_connections() -> None:
    async with RecordingUpstream(host="0.0.0.0") as upstream:
        pool, _ = named(upstream.port, "127.0.0.1", "127.0.0.2", "127.0.0.3")
        made = [await pool.connect() for _ in range(6)]
        assert sorted(connection.address for connection in made) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2 + [
            "127.0.0.3"
        ] * 2
        for connection in made:
            connection.abort()


@pytest.mark.parametrize("dead", ["::1", "127.0.0.9", "2001:db8::1"])
async def test_an_address_that_cannot_be_connected_to_costs_no_connection(dead: str) -> None:
    """No IPv6, nobody there, or no route: the next address takes it, and comes first from then on."""
    async with RecordingUpstream() as upstream:
        pool, _ = named(upstream.port, dead, "127.0.0.1")
        for _ in range(4):
            connection = await pool.connect()
            assert connection.address == "127.0.0.1"
            connection.abort()
        assert [(await pool.addresses.in_turn())[0] for _ in range(4)] == ["127.0.0.1"] * 4


async def test_an_address_that_never_answers_leaves_time_for_the_others() -> None:
    with socket.socket() as full, listening_at("127.0.0.2") as upstream:
        full.bind(("127.9.0.1", upstream.getsockname()[1]))  # where nobody else has this port
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        pool, _ = named(upstream.getsockname()[1], "127.0.0.2", "127.9.0.1", timeout=1.0)
        connection = await pool.connect()
        assert connection.address == "127.0.0.2"
        connection.abort()
        for one in waiting:
            one.close()


async def test_where_no_address_can_be_connected_to_the_last_reason_is_told() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        pool, _ = named(sock.getsockname()[1], "127.0.0.1", "127.0.0.2")
        with pytest.raises(ConnectionRefusedError):
            await pool.connect()


async def test_connections_to_an_address_that_has_gone_end_with_what_they_carry() -> None:
    async with RecordingUpstream(host="0.0.0.0") as upstream:
        pool, answers = named(upstream.port, "127.0.0.1", "127.0.0.2")
        made = [await pool.connect() for _ in range(4)]
        stays = [one for one in made if one.address == "127.0.0.2"]
        idle, busy = [one for one in made if one.address == "127.0.0.1"]
        idle.release(clean=True)
        stays[0].release(clean=True)
        answers.remove("127.0.0.1")
        await pool.look_up()
        assert idle.transport.is_closing()
        assert not busy.transport.is_closing()
        busy.release(clean=True)
        assert busy.transport.is_closing()
        stays[1].release(clean=True)
        assert {pool.take(), pool.take(), pool.take()} == {*stays, None}
        for connection in stays:
            connection.abort()


async def test_a_name_that_cannot_be_looked_up_keeps_its_addresses_and_connections() -> None:
    async with RecordingUpstream() as upstream:
        pool, answers = named(upstream.port, "127.0.0.1")
        kept = await used(pool)
        kept.release(clean=True)
        answers.clear()
        await pool.look_up()
        assert pool.take() is kept
        kept.abort()
        (await pool.connect()).abort()


# -- counting ----------------------------------------------------------------------------------------------


async def test_a_connection_counts_from_the_decision_until_it_has_ended_however_it_ends() -> None:
    async with RecordingUpstream() as upstream:
        pool = Pool("127.0.0.1", upstream.port, 1.0, counts=True)
        told: list[int] = []
        pool.freed = lambda: told.append(pool.in_flight)
        pool.reserve()
        assert pool.in_flight == 1
        connection = await pool.connect()
        pool.unreserve()
        assert pool.in_flight == 1
        connection.release(clean=True)
        connection.release(clean=True)
        assert (pool.in_flight, told) == (0, [1, 0])
        again = pool.take()
        assert again is connection
        assert pool.in_flight == 1
        connection.abort()
        connection.abort()
        assert (pool.in_flight, told) == (0, [1, 0, 0])
        await pool.connect()
        assert pool.in_flight == 1
        await until(lambda: len(upstream.connections) == 2)
        upstream.connections[1].cut()  # a server's reset, that no request is told of
        await until(lambda: pool.in_flight == 0)


async def test_what_cannot_be_connected_counts_no_more() -> None:
    pool = UnixPool(Path("/nowhere/at/all"), 1.0, counts=True)
    pool.reserve()
    with pytest.raises(OSError, match="No such file"):
        await pool.connect()
    pool.unreserve()
    assert pool.in_flight == 0


# -- Unix sockets ------------------------------------------------------------------------------------------


def _listening(path: Path, backlog: int = 16) -> socket.socket:
    opened = unix.bound(path)
    opened.listen(backlog)
    return opened


async def test_a_unix_socket_serves_like_a_server_and_its_connections_are_kept(tmp_path: Path) -> None:
    """However deep it lies: a socket's address holds no more than 107 bytes of a path."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(LENGTH)

    with _listening(folder / "s") as opened:
        server = await asyncio.start_unix_server(serve, sock=opened)
        pool = UnixPool(folder / "s", 1.0)
        connection = await pool.connect()
        for _ in range(3):
            answer = connection.carried = KeptAnswer(connection)
            connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda answer=answer: answer.outcome != "open")
            assert answer.received == b"hello"
            assert pool.take() is connection
        connection.abort()
        server.close()


async def test_a_connection_made_while_nobody_answers_waits_in_the_queue(tmp_path: Path) -> None:
    with _listening(tmp_path / "s") as opened:
        connection = await UnixPool(tmp_path / "s", 1.0).connect()
        answer = connection.carried = KeptAnswer(connection)
        connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        accepted, _ = opened.accept()  # whoever answers comes now, and the request is there already
        with accepted:
            assert accepted.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
            accepted.sendall(LENGTH)
            await until(lambda: answer.outcome != "open")
        assert answer.received == b"hello"


async def test_a_full_queue_is_waited_for_and_then_is_a_time_out(tmp_path: Path) -> None:
    with _listening(tmp_path / "s", backlog=0) as opened:
        pool = UnixPool(tmp_path / "s", 30.0)
        first = await pool.connect()
        before = len(os.listdir("/proc/self/fd"))
        pool.connect_timeout = 0.1
        with pytest.raises(TimeoutError):
            await pool.connect()
        assert len(os.listdir("/proc/self/fd")) == before
        # As soon as there is room, who waits has it.
        pool.connect_timeout = 30.0
        waiting = asyncio.ensure_future(pool.connect())
        await asyncio.sleep(0)
        opened.accept()[0].close()
        (await waiting).abort()
        first.abort()


async def test_a_unix_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await UnixPool(tmp_path / "s", 1.0).connect()
    _listening(tmp_path / "s").close()
    with pytest.raises(ConnectionRefusedError):
        await UnixPool(tmp_path / "s", 1.0).connect()


async def test_a_unix_connection_whose_server_died_is_not_given_out(tmp_path: Path) -> None:
    with _listening(tmp_path / "s") as opened:
        pool = UnixPool(tmp_path / "s", 1.0)
        connection = await pool.connect()
        pool.put_back(connection)
        opened.accept()[0].close()
        assert pool.take() is None


REACH = """
import asyncio, uvloop
from keystile.wire.pool import Pool

async def main():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    connection = await Pool("both.example", server.sockets[0].getsockname()[1], 10.0).connect()
    print(connection.transport.get_extra_info("peername")[0])

uvloop.run(main())
"""
#: In a network of our own: with IPv6 nobody listens at that address, without it there is none.
NETWORKS = {
    "nobody listens there": "ip link set lo up",
    "no IPv6": "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up",
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_name_with_an_address_of_each_kind_is_reached_by_the_one_that_works(tmp_path: Path, network: str) -> None:
    (tmp_path / "hosts").write_text("::1 both.example\n127.0.0.1 both.example\n")
    prepare = f"{NETWORKS[network]} && mount --bind {tmp_path / 'hosts'} /etc/hosts"
    alone = ["unshare", "-rnm", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, prepare], check=False).returncode:
        # Only in a network of its own can IPv6 be taken away; containers, CI's among them, often forbid making one.
        lacks("this user may have no network of its own here", not_even_in_ci=True)
    command = [*alone, f'{prepare} && exec "$0" -c "$1"', sys.executable, REACH]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("127.0.0.1\n", "")
