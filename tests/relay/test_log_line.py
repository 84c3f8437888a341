from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from keystile.config.log_fields import DEFAULT_FIELDS, FIELDS
from keystile.config.model import AccessLog, Listener, Retries, Server, Tls, Upstream
from keystile.keys import secret as secrets
from keystile.relay.log_line import MEMBERS, Clock, KnownKeys, path_text
from tests.relay.running import Running, odd_servers, request, running, until, with_upstreams
from tests.relay.test_entrance import OpenSsl, certificate, over_tls
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

ALL = AccessLog(fields=tuple(FIELDS))


def logging(*fields: str, **more: Any) -> dict[str, Any]:
    return {"access_log": AccessLog(fields=fields, **more)}


def test_every_field_of_the_settings_can_be_made_and_no_other() -> None:
    assert set(MEMBERS) == set(FIELDS)


async def test_a_line_has_the_members_that_are_named_in_their_order() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, access_log=ALL) as relay:
        await relay.ask("/v4/contacts", key=relay.key("ViewContacts"))
        await relay.ask("/nowhere")
        for line in relay.lines:
            assert list(line) == list(FIELDS)
    async with RecordingUpstream() as upstream, running(upstream.port, **logging("status", "time", "key")) as relay:
        await relay.ask("/v4/contacts", key=relay.key("ViewContacts"))
        assert [list(line) for line in relay.lines] == [["status", "time", "key"]]


@pytest.mark.parametrize("name", FIELDS)
async def test_each_member_can_stand_alone(name: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **logging(name)) as relay:
        await relay.ask("/v4/contacts?a=1", key=relay.key("ViewContacts"))
        client = await RawClient.connect(relay.port)
        await client.send(b"rubbish\r\n\r\n")
        await client.answer()
        assert [list(line) for line in relay.lines] == [[name]] * 2


async def test_members_that_are_found_together_are_the_same_apart() -> None:
    apart = ("key", "status", "account", "server", "upstream")
    async with RecordingUpstream() as upstream, running(upstream.port, **logging(*apart)) as relay:
        await relay.ask("/v4/contacts", key=relay.key("ViewContacts"))
        await relay.ask("/v4/contacts")
        one, none = relay.lines
        assert one == {
            "key": "key1", "status": 200, "account": "owner@example.com",
            "server": f"127.0.0.1:{upstream.port}", "upstream": "api",
        }  # fmt: skip
        assert (none["key"], none["account"], none["server"], none["upstream"]) == (None,) * 4


async def test_another_configuration_logs_otherwise_from_its_moment_on() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **logging("status")) as relay:
        await relay.ask("/open")
        change_log(relay, AccessLog(fields=("path", "query")))
        await relay.ask("/open?a=1")
        change_log(relay, AccessLog(enabled=False))
        await relay.ask("/open")
        assert relay.lines == [{"status": 200}, {"path": "/open", "query": "a=1"}]


def change_log(relay: Running, log: AccessLog) -> None:
    relay.gateway.take(dataclasses.replace(relay.gateway.settings, access_log=log))


# -- the query -----------------------------------------------------------------------------------------------------


def test_no_query_is_logged_by_default() -> None:
    assert "query" not in DEFAULT_FIELDS


async def test_a_query_that_is_asked_for_is_redacted_and_is_json() -> None:
    keys = {"query_parameter": "apikey", "headers": ("X-Auth",)}
    log = logging("query", redact=("pin",))
    async with RecordingUpstream() as upstream, running(upstream.port, keys=keys, **log) as relay:
        key = relay.key().decode()
        for target in (
            f'/any/x?a="\\&pin=1&%61pikey={key}&x_auth={key}&b={key}',
            f"/any/x?apikey={key}&apikey=hunter2",
            "/any/x",
            "/any/x?",
            "/any/../x?apikey=hunter2",
            "/open?next=%2F%3Fapikey%3Dhunter2&a#b",
        ):
            await relay.ask(target)
        hint = secrets.hint(key)
        assert [line["query"] for line in relay.lines] == [
            f'a="\\&pin=[redacted]&x_auth=[redacted]&b=[key …{hint}]',  # the key itself was taken out on its way
            None,
            None,
            "",
            "apikey=[redacted]",
            "next=[redacted]&a#b",
        ]


@pytest.mark.parametrize("how", ["drain", "redirect"])
async def test_a_query_of_which_nothing_was_read_is_redacted_too(how: str) -> None:
    listener = Listener("127.0.0.1", 0, redirect="https://a.example" if how == "redirect" else None)
    async with RecordingUpstream() as upstream, running(
        upstream.port, keys={"query_parameter": "k"}, listeners=(listener,), **logging("query", "status")
    ) as relay:
        if how == "drain":
            relay.gateway.draining = relay.gateway.refusing = True
        await relay.ask("/open?k=hunter2")
        assert relay.lines == [{"query": "k=[redacted]", "status": 503 if how == "drain" else 308}]


# -- where it went, and how long it took -----------------------------------------------------------------------------


async def test_parts_of_the_time_add_up_to_it() -> None:
    async def slowly(connection: RecordedConnection, sent: bytes) -> None:
        await asyncio.sleep(0.06)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.03)
        await connection.send(b"ok")

    async with RecordingUpstream(slowly) as upstream, running(upstream.port, access_log=ALL) as relay:
        await relay.ask("/open")
        await relay.ask("/nowhere")
        served, refused = relay.lines
        assert served["microseconds"]["server"] >= 50_000
        assert served["microseconds"]["answer"] >= 10_000  # nobody knows when the head was read
        assert served["microseconds"]["waited"] > 0  # for the connection
        for line in relay.lines:
            assert min(line["microseconds"].values()) >= 0
            assert abs(sum(line["microseconds"].values()) - line["milliseconds"] * 1000) <= 1004
        assert refused["microseconds"] | {"own": 0} == {"own": 0, "waited": 0, "server": 0, "answer": 0}


async def test_a_server_that_never_answered_has_all_the_time_from_its_head_on() -> None:
    async def never(connection: RecordedConnection, sent: bytes) -> None:
        await connection.closed.wait()

    async with RecordingUpstream(never) as upstream, running(upstream.port, access_log=ALL) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/open"))
        await until(lambda: upstream.requests)
        await asyncio.sleep(0.05)
        client.reset()
        await until(lambda: not relay.gateway.in_flight)
        [line] = relay.lines
        assert (line["cut"], line["status"], line["server"]) == (True, 0, f"127.0.0.1:{upstream.port}")
        assert line["microseconds"]["server"] >= 40_000
        assert line["microseconds"]["answer"] == 0


async def test_the_server_that_answered_last_is_told_and_how_often_it_was_sent_again() -> None:
    async def gives_up(connection: RecordedConnection, sent: bytes) -> None:
        connection.reset()

    async with RecordingUpstream(gives_up) as bad, RecordingUpstream() as good:
        servers = (Server("127.0.0.1", bad.port), Server("localhost", good.port))
        upstreams = (Upstream("api", servers, retries=Retries(1, 1.0)),)
        async with running(0, upstreams=upstreams, access_log=ALL) as relay:
            for _ in range(2):
                assert (await relay.ask("/open")).status == 200
            lines = relay.lines
            assert {line["server"] for line in lines} == {f"localhost:{good.port}"}
            assert {line["server_address"] for line in lines} == {"127.0.0.1"}
            assert sorted(line["retries"] for line in lines) == [0, 1]


async def test_an_upstream_that_could_not_be_reached_is_told_without_a_server() -> None:
    with odd_servers() as (_, _, gone):
        async with RecordingUpstream() as upstream, running(
            upstream.port, access_log=ALL, **with_upstreams(upstream.port, gone)
        ) as relay:
            await relay.ask("/gone/x", key=relay.key())
            [line] = relay.lines
            assert (line["status"], line["upstream"], line["server"]) == (502, "gone", None)


async def test_how_a_client_came_over_tls_is_told(tmp_path: Path) -> None:
    async with over_tls(Tls((certificate(tmp_path),)), access_log=ALL) as (relay, _):
        client = await OpenSsl.connect(relay.port, "tls1_3")
        await client.ask(request("/open"))
        client.close()
        [line] = relay.lines
        assert (line["tls"], line["cipher"][:4]) == ("TLSv1.3", "TLS_")


async def test_where_the_client_came_in() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, access_log=ALL) as relay:
        await relay.ask("/open")
        [line] = relay.lines
        assert (line["listener"], line["cipher"], line["tls"]) == ("127.0.0.1:0", None, None)


# -- texts -----------------------------------------------------------------------------------------------------------


def test_the_moment_is_in_utc_with_milliseconds() -> None:
    moments = iter([0.0, 0.9999, 1.0, 1_795_837_844.5, 86399.001])
    clock = Clock(lambda: next(moments))
    assert [clock.now().decode() for _ in range(5)] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "2026-11-28T03:50:44.500Z",
        "1970-01-01T23:59:59.001Z",
    ]


def test_no_path_breaks_a_line_or_holds_a_key() -> None:
    for path in (b"/a", b'/"', b"/\\", b"/" + b"x" * 200, b"/%22"):
        assert json.loads(path_text(path)) == path.decode()
    secret = secrets.generate()
    for written in (f"/{secret}", f"/%{ord(secret[0]):X}{secret[1:]}", f"/{secret.lower()}"):
        said = path_text(written.encode()).decode().lower()
        assert secrets.hint(secret).lower() in said
        assert secret[:40].lower() not in said


@pytest.mark.source_only("it puts an object of its own in the place of a compiled class's")
def test_keys_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystile.relay.log_line.REMEMBERED_KEYS", 3)
    known = KnownKeys()
    assert (known.both(None), known.account(None), known.key(None)) == (b'null,"key":null', b"null", b"null")
    for number in range(10):
        key: Any = type("Key", (), {"account": f"é{number}@x.org", "id": f"k{number}"})()
        assert json.loads(b'{"account":%b}' % known.both(key)) == {"account": key.account, "key": key.id}
        assert len(known._texts) <= 3
