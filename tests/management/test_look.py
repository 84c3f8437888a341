from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keystile.config.model import Server, Settings, Upstream
from keystile.management.certificates import CertificateEnd
from keystile.management.health import Health
from keystile.management.look import Alive, Desk, DeskView, GatewayView, traffic, try_connection
from keystile.management.servers import SeenServer
from keystile.process.desk import Desk as RealDesk
from keystile.storage.hosts import HostState
from keystile.wire import unix
from tests.relay.running import settings


def a_real_desk_is_one(desk: RealDesk) -> GatewayView:
    """Checked by mypy: what the management process has fits."""
    return DeskView(desk, 1)


@dataclass
class Relay:
    pid: int
    silent_for: float


@dataclass
class Counters:
    restarts: int = 2
    counts: dict[str, int] = field(default_factory=dict)

    def relays(self) -> Sequence[Alive]:
        return [Relay(11, 0.1), Relay(12, 3.5)]

    def totals(self, names: Sequence[str], gauges: Collection[str] = ()) -> Mapping[str, int]:
        return {name: self.counts.get(name, 0) for name in names}

    def dropped(self) -> int:
        return 4


@dataclass
class Taken:
    def taken(self) -> int:
        return 7

    def highest(self) -> int:
        return 5


@dataclass
class Drops:
    dropped: int = 0


@dataclass
class OnTheDesk:
    settings: Settings
    counters: Counters = field(default_factory=Counters)
    slots: Taken = field(default_factory=Taken)
    names: Sequence[str] = ()
    gauges: Collection[str] = ()
    uses: Drops = field(default_factory=Drops)
    usage: Drops = field(default_factory=lambda: Drops(3))
    lines: Drops = field(default_factory=Drops)
    old_tls: Drops = field(default_factory=Drops)
    certificates: tuple[CertificateEnd, ...] = (CertificateEnd("listener [::1]:443", "a.pem", ("a",), 5.0),)

    seen: tuple[SeenServer, ...] = ()
    hosts: tuple[HostState, ...] = ()

    fault = ""

    def seen_servers(self) -> Sequence[SeenServer]:
        return self.seen

    def known_hosts(self) -> tuple[HostState, ...]:
        return self.hosts

    async def health(self) -> Health:
        return Health((), ("stuck: relay 12",))


def desk(**more: int) -> OnTheDesk:
    servers = (Server("192.0.2.1", 80), Server("::1", 81))
    wanted = dataclasses.replace(settings(9), upstreams=(Upstream("api", servers),), warnings=("mind",))
    return OnTheDesk(wanted, Counters(counts=more), names=tuple(more))


class Connecting:
    """Servers that answer when told to; counts who was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, server: Server) -> str:
        self.asked.append(server.host)
        await asyncio.sleep(0)
        return "Connection refused" if ":" in server.host else ""


async def test_the_status_is_what_stands_on_the_desk() -> None:
    made: Desk = desk(requests=10, in_flight=1, connections=2, log_lines_dropped=1)
    status = await DeskView(made, 5).status()

    assert (status.configuration.version, status.configuration.warnings) == (5, ("mind",))
    assert status.configuration.file == str(made.settings.file)
    assert status.health.warnings == ("stuck: relay 12",)
    assert [(one.role, one.state) for one in status.processes] == [
        ("management", "up"),
        ("relay", "up"),
        ("relay", "stuck"),
    ]
    assert (status.slots.taken, status.slots.highest, status.slots.cap) == (7, 5, 20)
    assert (status.traffic.requests, status.traffic.in_flight, status.traffic.connections) == (10, 1, 2)
    assert status.dropped == {"messages to management": 4, "access log lines": 1, "usage sums": 3}
    assert status.restarts == 2
    assert [one.file for one in status.certificates] == ["a.pem"]


def test_counters_are_told_by_what_they_mean_and_what_never_happened_is_left_out() -> None:
    totals = {"status_2xx": 5, "status_5xx": 0, "refused_two_keys": 1, "tls_1_3": 4, "tls_none": 2, "tls_1_2": 0}
    found = traffic(totals)

    assert found.answers == {"2xx": 5}
    assert found.refused == {"two_keys": 1}
    assert found.tls == {"TLS 1.3": 4, "without TLS": 2}
    assert found.requests == 0


async def test_upstreams_are_asked_at_most_every_five_seconds_however_many_look() -> None:
    now, connecting = [100.0], Connecting()
    view = DeskView(desk(), 1, connect=connecting, clock=lambda: now[0])

    first, second = await asyncio.gather(view.upstreams(), view.upstreams())
    assert first == second
    [api] = first
    assert [(one.address, one.reachable, one.trouble) for one in api.servers] == [
        ("192.0.2.1:80", True, ""),
        ("[::1]:81", False, "Connection refused"),
    ]
    now[0] += 4.9
    await view.upstreams()
    assert len(connecting.asked) == 2
    now[0] += 0.1
    await view.upstreams()
    assert len(connecting.asked) == 4


async def test_a_server_that_accepts_is_reachable_and_gets_no_byte(tmp_path: Path) -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await try_connection(Server("127.0.0.1", port)) == ""
    assert await got == b""
    server.close()
    await server.wait_closed()
    assert await try_connection(Server("127.0.0.1", port)) == "Connection refused"


async def test_a_name_that_nobody_knows_is_told() -> None:
    assert await try_connection(Server("nobody.invalid", 80))


async def test_a_server_on_a_unix_socket_is_reachable_where_somebody_listens(tmp_path: Path) -> None:
    opened = unix.bound(tmp_path / "s")
    assert "refused" in await try_connection(Server("localhost", 0, unix=tmp_path / "s"))
    opened.listen()
    assert await try_connection(Server("localhost", 0, unix=tmp_path / "s")) == ""
    opened.close()
    assert await try_connection(Server("localhost", 0, unix=tmp_path / "none")) == "No such file or directory"


async def test_what_relays_do_about_a_server_is_told_at_once_however_lately_it_was_asked() -> None:
    made, connecting = desk(), Connecting()
    view = DeskView(made, 1, connect=connecting, clock=lambda: 100.0)
    await view.upstreams()
    made.seen = (SeenServer("api", "192.0.2.1:80", "down", 1, 2), SeenServer("other", "[::1]:81", "down", 0, 2))
    [api] = await view.upstreams()
    assert [one.left_out for one in api.servers] == [
        "the health checks find it down, left out by 1 of 2 relays",
        "",
    ]
