from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from keystile.config.log_fields import SPAN_FIELDS
from keystile.config.model import AccessLog, Telemetry
from keystile.relay import record
from keystile.wire.trace_context import is_valid
from tests.relay.running import Running, request, running
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

TRACE, PARENT = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
GOOD = b"00-%b-%b-01" % (TRACE, PARENT)
STATE = b"vendor=1,other=2"
LOG = AccessLog(fields=("trace_id", "span_id", "status"))


def sent(upstream: RecordingUpstream, name: bytes) -> list[bytes]:
    """The values of this field in the last request that the upstream got."""
    return re.findall(rb"(?i)\r\n%b: ([^\r]*)" % name, upstream.requests[-1])


def modes(mode: Any, sample: float = 1.0) -> dict[str, Any]:
    return {"telemetry": Telemetry(mode, sample), "access_log": LOG}


async def test_what_is_valid_is_passed_on_as_it_is_and_logged() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("pass")) as relay:
        for value in (GOOD, b"cc-%b-%b-01-more" % (TRACE, PARENT)):
            await relay.ask("/open", b"TraceParent: " + value, b"tracestate: a=1", b"Tracestate: b=2")
            assert sent(upstream, b"traceparent") == [value]
            assert sent(upstream, b"tracestate") == [b"a=1", b"b=2"]
            assert relay.lines[-1] == {"trace_id": TRACE.decode(), "span_id": None, "status": 200}


BAD: list[Sequence[bytes]] = [
    (b"traceparent: " + GOOD.upper(),),
    (b"traceparent: " + GOOD, b"traceparent: " + GOOD),
    (b"traceparent: " + GOOD, b"Traceparent: 00-1"),
    (b"traceparent:",),
    (b"traceparent: ff" + GOOD[2:],),
    (),
    (b"traceparent: " + GOOD, b"Connection: traceparent"),
]


@pytest.mark.parametrize("lines", BAD)
async def test_what_is_not_valid_goes_no_further_nor_does_its_state(lines: Sequence[bytes]) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("pass")) as relay:
        await relay.ask("/open", b"tracestate: " + STATE, *lines)
        assert sent(upstream, b"traceparent") == sent(upstream, b"tracestate") == []
        assert relay.lines[-1]["trace_id"] is None


async def test_what_is_not_looked_at_is_a_field_like_any_other() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("off")) as relay:
        await relay.ask("/open", b"traceparent: what", b"tracestate: " + STATE)
        assert (sent(upstream, b"traceparent"), sent(upstream, b"tracestate")) == ([b"what"], [STATE])
        assert relay.lines[-1]["trace_id"] is None


@pytest.mark.parametrize("lines", BAD)
async def test_where_none_came_one_is_begun(lines: Sequence[bytes]) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("begin")) as relay:
        await relay.ask("/open", b"tracestate: " + STATE, *lines)
        [value] = sent(upstream, b"traceparent")
        assert is_valid(value)
        assert value[3:35] != TRACE
        assert value.endswith(b"-01")
        assert sent(upstream, b"tracestate") == []
        line = relay.lines[-1]
        assert (line["trace_id"], line["span_id"]) == (value[3:35].decode(), value[36:52].decode())


@pytest.mark.parametrize(("flags", "passed_on"), [(b"00", b"00"), (b"01", b"01"), (b"ff", b"01"), (b"02", b"00")])
async def test_a_trace_that_came_goes_on_with_the_gateway_in_it(flags: bytes, passed_on: bytes) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("begin")) as relay:
        came = b"00-%b-%b-%b" % (TRACE, PARENT, flags)
        await relay.ask("/open", b"tracestate: a=1", b"traceparent: " + came, b"tracestate: b=2")
        [value] = sent(upstream, b"traceparent")
        assert is_valid(value)
        assert (value[:36], value[-2:]) == (b"00-%b-" % TRACE, passed_on)
        assert value[36:52] != PARENT
        assert sent(upstream, b"tracestate") == [b"a=1,b=2"]


async def test_every_request_has_a_span_of_its_own_on_one_connection_too() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("begin")) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/open") * 20 + request("/open", b"traceparent: " + GOOD) * 20)
        for _ in range(40):
            assert (await client.answer())[0] == 200
        values = [value for one in upstream.requests for value in re.findall(rb"traceparent: (\S+)", one)]
        assert len({value[36:52] for value in values}) == 40
        assert len({value[3:35] for value in values}) == 21


async def test_a_request_that_is_sent_again_has_the_span_that_it_had() -> None:
    async def once(connection: RecordedConnection, sent: bytes) -> None:
        if len(connection.requests) == 1:
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            connection.reset()

    async with RecordingUpstream(once) as upstream, running(upstream.port, **modes("begin")) as relay:
        for _ in range(2):
            assert (await relay.ask("/open")).status == 204
        values = [re.findall(rb"traceparent: (\S+)", one)[0] for one in upstream.requests]
        assert len(values) == 3
        assert values[0] != values[1] == values[2]


async def test_a_refused_request_is_part_of_a_trace_too() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("begin")) as relay:
        await relay.ask("/any/x", b"traceparent: " + GOOD)
        client = await RawClient.connect(relay.port)
        await client.send(b"rubbish\r\n\r\n")
        await client.answer()
        refused, rejected = relay.lines
        assert (refused["status"], refused["trace_id"]) == (401, TRACE.decode())
        assert (rejected["status"], len(rejected["trace_id"])) == (400, 32)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 20, 180), (1.0, 200, 200)])
async def test_a_share_of_those_begun_here_is_marked_as_recorded(share: float, least: int, most: int) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("begin", share)) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/open") * 200)
        for _ in range(200):
            await client.answer()
        values = [re.findall(rb"traceparent: (\S+)", one)[0] for one in upstream.requests]
        assert least <= sum(value.endswith(b"-01") for value in values) <= most


async def test_another_configuration_counts_from_the_next_request_on() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **modes("off")) as relay:
        client = await RawClient.connect(relay.port)
        for mode, expected in (("off", 0), ("begin", 1), ("pass", 0), ("begin", 1)):
            take(relay, mode)
            for _ in range(2):
                await client.send(request("/open", b"tracestate: x=1"))
                await client.answer()
                assert len(sent(upstream, b"traceparent")) == expected


def take(relay: Running, mode: Any) -> None:
    relay.gateway.take(dataclasses.replace(relay.gateway.settings, telemetry=Telemetry(mode)))


def recorded(relay: Running) -> list[dict[str, Any]]:
    relay.hand_over()
    return [json.loads(line) for line in relay.channel.of(b"S").splitlines()]


@pytest.mark.parametrize("log", [AccessLog(), AccessLog(enabled=False)], ids=["logged", "not logged"])
async def test_management_is_told_of_exchanges_that_are_recorded(log: AccessLog) -> None:
    spans = {"telemetry": Telemetry("begin", 0.0, "http://127.0.0.1:1"), "access_log": log}
    async with RecordingUpstream() as upstream, running(upstream.port, **spans) as relay:
        await relay.ask("/open")  # begins here, and no share is recorded
        await relay.ask("/open", b"traceparent: " + GOOD[:-1] + b"0")
        await relay.ask("/open?apikey=hunter2", b"traceparent: " + GOOD)
        await relay.ask("/any/x", b"traceparent: " + GOOD)
        one, refused = recorded(relay)
        assert list(one) == list(SPAN_FIELDS)
        assert (one["trace_id"], one["parent_id"], one["status"]) == (TRACE.decode(), PARENT.decode(), 200)
        assert one["span_id"] == re.findall(rb"traceparent: (\S+)", upstream.requests[-1])[0][36:52].decode()
        assert (refused["status"], refused["refusal"]) == (401, "api-key-required")
        assert len(relay.lines) == (4 if log.enabled else 0)


async def test_spans_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WAITING_SPANS", 3)
    spans = {"telemetry": Telemetry("begin", 1.0, "http://127.0.0.1:1")}
    async with RecordingUpstream() as upstream, running(upstream.port, **spans) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/open") * 5)
        for _ in range(5):
            await client.answer()
        assert len(recorded(relay)) + relay.counters["spans_dropped"] == 5
