"""Who we are is said, and where it is said nothing is left open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keystile.cluster.greeting import Greeter, Unusable, facts, password_of
from keystile.cluster.scripts import ServerError
from keystile.config.model import SharedSlots
from tests.cluster.server import needs_server, running
from tests.cluster.test_link import linked
from tests.relay.running import until


def nothing(*_: object) -> None: ...


def test_a_password_comes_from_where_it_is_said(tmp_path: Path) -> None:
    assert password_of(SharedSlots("a"), {}) is None
    assert password_of(SharedSlots("a", password_env="P"), {"P": "x"}) == b"x"
    for settings in (SharedSlots("a", password_env="P"), SharedSlots("a", password_file=tmp_path / "nowhere")):
        with pytest.raises(Unusable):
            password_of(settings, {})


@needs_server
async def test_a_user_a_password_and_a_database_are_said(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    with running(tmp_path, "--user", *["gateway", "on", ">hunter2", "~*", "&*", "+@all"]) as server:
        settings = SharedSlots("127.0.0.1", server.port, 3, "gateway", tmp_path / "password")
        made = await Greeter(settings).connect("127.0.0.1", server.port, nothing, nothing)
        assert "db=3" in str(await made.ask(b"CLIENT", b"LIST"))
        assert (await facts(made, b"replication"))["role"] == "master"
        made.close()


@needs_server
async def test_who_is_not_let_in_leaves_no_connection(tmp_path: Path) -> None:
    with running(tmp_path, "--requirepass", "hunter2") as server:
        (tmp_path / "password").write_text("wrong-secret")
        settings = SharedSlots("127.0.0.1", server.port, password_file=tmp_path / "password")
        with pytest.raises(ServerError, match="WRONGPASS") as caught:
            await Greeter(settings).connect("127.0.0.1", server.port, nothing, nothing)
        assert "wrong-secret" not in str(caught.value)
        (tmp_path / "password").write_text("hunter2")
        made = await Greeter(settings).connect("127.0.0.1", server.port, nothing, nothing)
        await asyncio.sleep(0.02)
        assert str(await made.ask(b"CLIENT", b"LIST")).count(" addr=") == 1
        made.close()


async def test_a_sentinel_is_told_a_password_only_where_it_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            came.append(data)
            asks = len(came) == 2  # of the second connection, the first word
            writer.write(b"-NOAUTH Authentication required.\r\n" if asks else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    greeter = Greeter(SharedSlots("127.0.0.1", port, password_file=tmp_path / "password"))
    for _ in range(2):
        made = await greeter.connect("127.0.0.1", port, nothing, nothing, sentinel=True)
        made.close()
    assert [b"hunter2" in each for each in came] == [False, False, True]
    server.close()


@needs_server
async def test_a_user_needs_no_more_than_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "hosts.md").read_text(encoding="utf-8")
    said = page.partition("`ACL SETUSER ")[2].partition("`")[0].replace("PASSWORD", "hunter2").split()
    (tmp_path / "password").write_text("hunter2")
    with running(tmp_path, "--user", *said, "--user", "default", "off") as server:
        who = {"user": said[0], "password_file": tmp_path / "password", "database": 1}
        async with linked(server.port, **who) as (link, holder):
            await until(lambda: holder.name and not holder.slots.lends_nothing())
            lease = holder.slots.lease_of(b"\0\0\0\1\x0a\0\0\1")
            holder.ask(lease)
            await until(lambda: lease.held)
            await until(lambda: not lease.held)  # looked round, and given back
            assert link.connections == 1
            assert link.trouble is None
