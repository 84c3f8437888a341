from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import AccessLog, Needs
from keystile.keys import secret as secrets
from keystile.keys.keyring import HeldKey, KeyRow
from keystile.keys.networks import EVERYWHERE
from keystile.relay import record, uses
from keystile.relay.counters import COUNTERS
from keystile.relay.handshakes import Handshakes
from keystile.relay.record import Recorder
from keystile.relay.refusal import Refusal
from keystile.routing.route import Route
from tests.relay.running import KeptMessages, Running, moments, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

FIELDS = [
    "time",
    "request_id",
    "address",
    "socket",
    "method",
    "path",
    "route",
    "status",
    "refusal",
    "account",
    "key",
    "upstream",
    "server",
    "retries",
    "bytes_in",
    "bytes_out",
    "milliseconds",
    "microseconds",
    "tls",
    "cut",
    "configuration",
]


class Full:
    """A channel that takes nothing while it is ``full``."""

    def __init__(self) -> None:
        self.full = True
        self.taken: list[tuple[bytes, bytes]] = []

    def send(self, kind: bytes, payload: bytes) -> bool:
        if not self.full:
            self.taken.append((kind, payload))
        return not self.full


def channel_of(relay: Running, channel: Any) -> None:
    relay.gateway.recorder._channel = channel


async def test_a_line_says_what_happened() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ModifyContacts")
        answer = await relay.ask("/v4/contacts?token=hidden", key=key, method=b"POST", body=b"hello")
        (line,) = relay.lines
        assert list(line) == FIELDS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
        took, parts = line.pop("milliseconds"), line.pop("microseconds")
        assert list(parts) == ["own", "waited", "server", "answer"]
        assert abs(took * 1000 - sum(parts.values())) <= 1004  # each is a whole number
        assert all(part >= 0 for part in parts.values())
        assert line.pop("request_id").encode() == answer.field(b"X-Request-Id")
        assert line == {
            "configuration": 1,
            "address": "127.0.0.1",
            "socket": "127.0.0.1",
            "method": "POST",
            "path": "/v4/contacts",
            "route": "/v4/contacts",
            "status": 200,
            "refusal": None,
            "account": "owner@example.com",
            "key": "key1",
            "upstream": "api",
            "server": f"127.0.0.1:{upstream.port}",
            "retries": 0,
            "bytes_in": 5,
            "bytes_out": 2,
            "tls": None,
            "cut": False,
        }


async def test_every_exchange_has_its_line_even_where_no_request_could_be_read() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        good = request("/open")
        await client.send(good + request("/v4/contacts") + request("/any/a%2e%2e/%22quoted%22", key=relay.key()))
        for status in (200, 401, 200):
            assert (await client.answer())[0] == status
        await client.send(b"rubbish\r\n\r\n")
        assert (await client.answer())[0] == 400
        lines = relay.lines
        assert [(line["status"], line["refusal"], line["key"]) for line in lines] == [
            (200, None, None),
            (401, "api-key-required", None),
            (200, None, "key1"),
            (400, "bad-request", None),
        ]
        assert lines[2]["path"] == "/any/a%2e%2e/%22quoted%22"
        assert lines[2]["route"] == "/any/*"


@pytest.mark.parametrize("path", ['/any/"', "/any/'\"", "/any/{}", "/any/\\", '/open?"'])
async def test_no_path_breaks_a_line(path: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        await relay.ask(path, key=relay.key())
        (line,) = relay.lines
        assert line["path"] == path.partition("?")[0]


@pytest.mark.parametrize(
    ("path", "path_in_log"),
    [("/healthz", "/healthz"), ("/v4/contacts?x", "/v4/contacts")],
)
async def test_what_the_gateway_answers_itself_has_its_path_in_the_log(path: str, path_in_log: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, health_path="/healthz") as relay:
        relay.gateway.draining = relay.gateway.refusing = True
        assert (await relay.ask(path)).status == 503
        (line,) = relay.lines
        assert (line["path"], line["status"]) == (path_in_log, 503)


async def test_a_key_in_a_path_is_redacted() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key()
        text = key.decode()
        for path in (f"/any/{text}", f"/any/a/{text}.json", f"/any/%3D{text}", f"/any/{text.lower()}", f"/{text}"):
            assert (await relay.ask(path, key=key)).status in (200, 404)
        logged = relay.channel.of(b"L") + b"".join(json.dumps(line).encode() for line in relay.lines)
        for spelling in (key, key.lower()):
            assert spelling[:40] not in logged
        assert all(secrets.hint(text).lower() in line["path"].lower() for line in relay.lines)
        assert relay.lines[0]["path"] == f"/any/[key …{secrets.hint(text)}]"


async def test_a_query_and_a_key_in_it_are_never_logged() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, keys={"query_parameter": "apikey"}) as relay:
        text = relay.key().decode()
        for target in (f"/any/x?apikey={text}&secret=1", f"/nothing?apikey={text}", f"/open?x={text}", "/open?", "/?a"):
            await relay.ask(target)
        assert len(relay.lines) == 5
        assert not [line for line in relay.lines if "?" in line["path"]]
        assert text.encode() not in relay.channel.of(b"L")
        assert b"secret" not in relay.channel.of(b"L")


async def test_without_an_access_log_no_line_is_made() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, access_log=AccessLog(enabled=False)) as relay:
        assert (await relay.ask("/any/x", key=relay.key())).status == 200
        assert relay.lines == []
        assert relay.counters["requests"] == 1
        assert len(relay.uses) == 1


# -- last uses ------------------------------------------------------------------------------------------------


async def test_last_uses_are_handed_over_without_being_asked_for() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        one, two = relay.key(), relay.key(networks=["10.0.0.0/8"])
        before = time.time()
        for _ in range(3):
            await relay.ask("/any/x", key=one)
        await relay.ask("/any/x", key=one, source="127.0.0.2")
        await relay.ask("/any/x", key=two)
        await relay.ask("/any/x")
        await until(lambda: b"key2" in relay.channel.of(b"U"))
        told = relay.uses
        latest = {key: (at, address) for key, at, address, _ in told}
        assert latest["key1"][1] == "127.0.0.2"
        assert latest["key2"][1] == "127.0.0.1"
        assert all(before <= at <= time.time() for _, at, _, _ in told)
        count = len(told)
        assert len(relay.uses) == count  # handed over once


async def test_uses_that_the_channel_does_not_take_go_with_the_next_batch() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        channel = Full()
        channel_of(relay, channel)
        await relay.ask("/any/x", key=relay.key())
        relay.hand_over()
        await relay.ask("/any/x", key=relay.key())
        relay.hand_over()
        channel.full = False
        relay.hand_over()
        told = [use for kind, payload in channel.taken if kind == b"U" for use in json.loads(payload)]
        assert [key for key, *_ in told] == ["key1", "key2"]
        assert relay.counters["log_lines_dropped"] == 2
        assert not [payload for kind, payload in channel.taken if kind == b"L"]


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_what_waits_is_bounded_and_what_is_dropped_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WAITING_LINES", 3)
    monkeypatch.setattr(uses, "WAITING_KEYS", 2)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        channel = Full()
        channel_of(relay, channel)
        keys = [relay.key() for _ in range(4)]
        client = await RawClient.connect(relay.port)
        await client.send(b"".join(request("/any/x", key=key) for key in (*keys, keys[0])))
        for _ in range(5):
            assert (await client.answer())[0] == 200
        channel.full = False
        counters = relay.counters
        assert (counters["log_lines_dropped"], counters["uses_dropped"], counters["usage_dropped"]) == (2, 2, 2)
        lines = b"".join(payload for kind, payload in channel.taken if kind == b"L")
        assert lines.count(b"\n") == 3


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_batches_fit_into_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MESSAGE_BYTES", 1000)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/open") * 30)
        for _ in range(30):
            assert (await client.answer())[0] == 200
        assert len(relay.lines) == 30
        payloads = [payload for kind, payload in relay.channel.messages if kind == b"L"]
        assert all(0 < len(payload) <= 1000 for payload in payloads)
        assert all(payload.endswith(b"\n") for payload in payloads)


async def test_a_line_longer_than_a_message_sends_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MESSAGE_BYTES", 100)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        await relay.ask("/open")
        assert len(relay.lines) == 1
        assert all(payload for _, payload in relay.channel.messages)


# -- counters ---------------------------------------------------------------------------------------------------


async def test_counters_count() -> None:
    async def answer(connection: RecordedConnection, sent: bytes) -> None:
        if b"/any/cut" in sent:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
            connection.writer.close()
        elif b"/any/wait" in sent:
            await connection.closed.wait()
        else:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with RecordingUpstream(answer) as upstream, running(upstream.port) as relay:
        key = relay.key()
        await relay.ask("/any/x", key=key, method=b"POST", body=b"12345678")
        await relay.ask("/any/x")
        await relay.ask("/nothing", key=key)
        cut = await RawClient.connect(relay.port)
        await cut.send(request("/any/cut", key=key))
        await cut.closed()
        waiting = await RawClient.connect(relay.port)
        await waiting.send(request("/any/wait", key=key))
        await until(lambda: relay.gateway.in_flight == 1 and len(relay.gateway.connections) == 1)
        counters = relay.counters
        left_out = ("loop_lag", "own:", "upstream:", "waited:", "in_flight_at", "upstream_connections_idle")
        found = {name: value for name, value in counters.items() if value and not name.startswith(left_out)}
        assert found == {
            "tls_none": 5,
            "requests": 4,
            "bytes_in": 8,
            "bytes_out": 4,
            "cut": 1,
            "connections": 1,
            "in_flight": 1,
            "status_2xx": 2,
            "status_4xx": 2,
            "refused_no_key": 1,
            "refused_not_found": 1,
            "refused_upstream_broken": 1,
            "upstream_connections_opened": 2,
        }
        waiting.reset()
        await until(lambda: relay.gateway.in_flight == 0)
        counters = relay.counters
        assert (counters["requests"], counters["cut"], counters["in_flight"], counters["connections"]) == (5, 2, 0, 0)


async def test_a_retry_is_counted() -> None:
    async def once(connection: RecordedConnection, sent: bytes) -> None:
        if len(connection.requests) == 1:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            connection.reset()

    async with RecordingUpstream(once) as upstream, running(upstream.port) as relay:
        for _ in range(2):
            assert (await relay.ask("/open")).status == 204
        assert relay.counters["retries"] == 1


def test_the_names_of_counters_are_those_of_the_values() -> None:
    stored: list[Sequence[int]] = []
    recorder = Recorder(KeptMessages(), lambda _, values: stored.append(values), Handshakes(lambda: 0.0), logs=True)
    recorder.own.fresh.append(0.002)
    recorder.in_flight_at[1] = 6
    recorder.statuses[101] = 1
    recorder.statuses[599] = 5
    recorder.refused[Refusal.DRAINING] = 7
    recorder.came_with["TLSv1.3"] = 9
    recorder.came_with[None] = 2
    recorder.requests_shed, recorder.connections_shed, recorder.level, recorder.lag = 11, 12, 2, 0.25
    recorder.flush(3, 4, True)
    counters = dict(zip(COUNTERS, stored[0], strict=True))
    assert {name: value for name, value in counters.items() if value} == {
        "connections": 3,
        "in_flight": 4,
        "store_unreadable": 1,
        "status_1xx": 1,
        "status_5xx": 5,
        "requests_shed": 11,
        "connections_shed": 12,
        "relays_holding_back": 1,
        "relays_shedding": 1,
        "loop_lag_microseconds": 250_000,
        "refused_draining": 7,
        "tls_none": 2,
        "tls_1_3": 9,
        "own:0.0025": 1,
        "own:sum": 2_000_000,
        "in_flight_at_1": 6,
    }


async def test_usage_is_handed_over_by_key_hour_and_refusal() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        for path in ("/v4/contacts", "/v4/contacts", "/v4/files/a"):
            await relay.ask(path, key=key)
        await relay.ask("/v4/contacts")
        relay.hand_over()
        sums: Counter[tuple[str, str]] = Counter()
        for key_id, hour, why, n in relay.channel.rows(b"C"):
            assert hour in (int(time.time() // 3600) - 1, int(time.time() // 3600))
            sums[key_id, why] += n
        assert sums == {("key1", ""): 2, ("key1", "scope-missing"): 1}
        relay.channel.messages.clear()
        relay.hand_over()
        assert relay.channel.of(b"C") == b""


async def test_requests_by_key_go_as_seldom_and_none_is_lost_or_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        monkeypatch.setattr(record, "monotonic", lambda: now[0])
        sent = []
        for _ in range(9):
            await relay.ask("/v4/contacts", key=key)
            relay.gateway.recorder.flush(0, 0, False)
            sent.append(sum(row[-1] for row in relay.channel.rows(b"C")))
            now[0] += 0.25
        assert sent == [1, 1, 1, 1, 5, 5, 5, 5, 9]
        assert relay.counters["status_2xx"] == 9


@pytest.mark.source_only("it puts an object of its own in the place of a compiled class's")
def test_callers_over_old_tls_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WAITING_OLD", 2)
    channel = KeptMessages()
    recorder = Recorder(channel, lambda names, counters: None, Handshakes(lambda: 0.0), logs=False)
    key: Any = SimpleNamespace(id="k")
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"):
        recorder._saw_old_tls(key, cast(Any, SimpleNamespace(tls="TLSv1.1", text=address)))
    recorder.flush(0, 0, False)
    recorder.flush(0, 0, False)
    [(_, payload)] = [message for message in channel.messages if message[0] == b"O"]
    assert [(address, requests) for _, _, address, _, requests in json.loads(payload)] == [
        ("192.0.2.1", 2),
        ("192.0.2.2", 1),
    ]


# -- times and routes -------------------------------------------------------------------------------------------------


def times_of(counters: dict[str, int], histogram: str) -> dict[str, int]:
    """The buckets that hold something, and the sum in milliseconds."""
    found = {name.partition(":")[2]: value for name, value in counters.items() if name.startswith(f"{histogram}:")}
    return {bound: value // 10**6 if bound == "sum" else value for bound, value in found.items() if value}


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_the_gateways_own_time_its_servers_and_what_was_waited_for_are_told_apart() -> None:
    async def answer(connection: RecordedConnection, sent: bytes) -> None:
        clock.now += 0.2
        if b"/any/gone" not in sent:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            connection.reset()

    async with RecordingUpstream(answer) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, _):
            assert (await relay.ask("/open")).status == 204
            assert (await relay.ask("/v4/contacts")).status == 401
            assert (await relay.ask("/any/gone", key=relay.key(), method=b"POST")).status == 502
        counters = relay.counters
    assert times_of(counters, "upstream") == {"0.25": 1, "sum": 200}
    assert times_of(counters, "own") == {"0.0001": 2}  # what failed at a server is in neither
    assert times_of(counters, "waited") == {}


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_what_was_waited_for_is_not_the_gateways_own_time() -> None:
    async def breaks_once(connection: RecordedConnection, sent: bytes) -> None:
        if len(connection.requests) == 2:
            clock.now += 2
            connection.reset()
        else:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with RecordingUpstream(breaks_once) as upstream, running(upstream.port) as relay:
        with moments(relay) as (clock, _):
            for _ in range(2):
                assert (await relay.ask("/open")).status == 204
        counters = relay.counters
    assert times_of(counters, "own") == {"0.0001": 2}
    assert times_of(counters, "waited") == {"2.5": 1, "sum": 2000}


async def test_requests_are_handed_over_by_route_status_and_refusal_where_that_is_asked_for() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        for path in ("/v4/contacts", "/v4/contacts?x", "/v4/files/a", "/nothing", "/any/b"):
            await relay.ask(path, key=key)
        await relay.ask("/open")
        await relay.ask("/v4/contacts", method=b"HEAD", key=key)
        relay.hand_over()
        sums: Counter[tuple[object, ...]] = Counter()
        for *place, requests in relay.channel.rows(b"R"):
            sums[tuple(place)] += requests
        assert sums == {
            ("GET", "/v4/contacts", 200, ""): 3,
            ("GET", "/v4/files/{name}", 403, "scope_missing"): 1,
            ("", "", 404, "not_found"): 1,
            ("*", "/any/*", 200, ""): 1,
            ("*", "/open", 200, ""): 1,
        }
        relay.gateway.recorder.by_route = False
        relay.channel.messages.clear()
        await relay.ask("/open")
        relay.hand_over()
        assert relay.channel.of(b"R") == b""
        assert relay.counters["status_2xx"] == 6


async def test_sums_by_route_that_find_no_room_are_counted() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        channel_of(relay, Full())
        for path in ("/open", "/open", "/nothing"):
            await relay.ask(path)
        assert relay.counters["route_counts_dropped"] == 3
        assert relay.counters["usage_dropped"] == 0


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
def test_sums_go_in_messages_that_are_short_enough_whatever_routes_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MESSAGE_BYTES", 1000)
    channel = KeptMessages()
    recorder = Recorder(channel, lambda names, values: None, Handshakes(lambda: 0.0), logs=False)
    recorder.by_route = True
    for number in range(100):
        path = f"/{number}/" + "x" * (number * 20)
        route = Route(number, path, ("GET",), Needs(), "api", None, "test")
        route.counts[200] = 1
        recorder._touched.append(route)
    recorder.flush(0, 0, False)
    messages = [json.loads(payload) for kind, payload in channel.messages if kind == b"R"]
    assert sum(len(rows) for rows in messages) == 100
    assert all(len(json.dumps(rows)) <= 1000 or len(rows) == 1 for rows in messages)
    recorder.flush(0, 0, False)
    assert len([kind for kind, _ in channel.messages if kind == b"R"]) == len(messages)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from([401, 403]), st.integers(0, 3)), max_size=60
    ),
    st.integers(0, 60),
)
def test_refused_requests_are_counted_by_what_they_were_in_whatever_order(
    kinds: list[tuple[int, int, int, int]], flushed_after: int
) -> None:
    """Which key, which route, which status, which refusal: a run of one kind is counted without looking it up."""
    stored: dict[str, int] = {}
    recorder = Recorder(
        Full(), lambda names, values: stored.update(zip(names, values, strict=True)), Handshakes(time.monotonic),
        logs=False,
    )  # fmt: skip
    rows = [KeyRow(f"k{number}", "a@b.c", "", "", "", None, bytes(32)) for number in range(2)]
    keys = [None, *(HeldKey(row, row.account, frozenset(), EVERYWHERE) for row in rows)]
    routes = [Route(n, f"/{n}", (), Needs(), "api", None, "test") for n in range(2)]
    for at, (key, route, status, number) in enumerate(kinds):
        if at == flushed_after:
            recorder.flush(0, 0, False)
        recorder._refused(keys[key], routes[route], status, number)
    recorder.flush(0, 0, False)
    by_number = Counter(number for *_, number in kinds)
    assert [recorder.refused[refusal] for refusal in list(Refusal)[:4]] == [by_number[number] for number in range(4)]
    by_status = Counter(status for _, _, status, _ in kinds)
    assert (recorder.statuses[401], recorder.statuses[403]) == (by_status[401], by_status[403])
    by_key = Counter(rows[key - 1].id for key, *_ in kinds if key)
    assert Counter({key: sum(n for (k, *_), n in recorder.uses._sums.items() if k == key) for key in by_key}) == by_key
