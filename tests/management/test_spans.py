from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from keystile.config.log_fields import SPAN_FIELDS
from keystile.management import spans
from keystile.management.spans import Spans, endpoint, span_of

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"
ENTRY: dict[str, Any] = {
    "time": "2026-11-28T03:50:44.866Z",
    "request_id": "r1",
    "address": "192.0.2.1",
    "socket": "192.0.2.9",
    "method": "GET",
    "path": "/v4/contacts",
    "route": "/v4/contacts",
    "status": 200,
    "refusal": None,
    "key": "key1",
    "upstream": "api",
    "server": "127.0.0.1:9000",
    "retries": 0,
    "bytes_in": 0,
    "bytes_out": 12,
    "microseconds": {"own": 20, "waited": 0, "server": 1180, "answer": 50},
    "cut": False,
    "trace_id": TRACE,
    "span_id": SPAN,
    "parent_id": PARENT,
}


def line(**changes: Any) -> bytes:
    return json.dumps({**ENTRY, **changes}).encode() + b"\n"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Takes whatever is posted: its URL, and what has come (path and body)."""
    came: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_entry_is_what_relays_send() -> None:
    assert set(ENTRY) == set(SPAN_FIELDS)


def test_spans_come_to_the_collector() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with collector() as (url, came):
        some = Spans()
        some.send_to(url)
        some.add(line() + line(span_id="1".zfill(16), parent_id=None, status=502, refusal="upstream-broken"))
        some.close(20)
    assert {path for path, _ in came} == {"/v1/traces"}
    received = [
        span
        for _, body in came
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    one, other = received
    assert (one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()) == (TRACE, SPAN, PARENT)
    assert (one.name, other.parent_span_id) == ("GET /v4/contacts", b"")
    assert one.end_time_unix_nano - one.start_time_unix_nano == 1_250_000
    attributes = {each.key: each.value.WhichOneof("value") for each in other.attributes}
    said = {"http.route", "http.response.status_code", "error.type", "keystile.key", "client.address"}
    assert said <= set(attributes)
    assert other.status.code == 2
    assert some.dropped == 0


def test_what_a_span_says() -> None:
    span = span_of(ENTRY)
    assert span.end_time == 1_795_837_844_866 * 1_000_000
    attributes = dict(span.attributes or {})
    assert attributes["http.response.status_code"] == 200
    assert attributes["keystile.microseconds.server"] == 1180
    assert "error.type" not in attributes
    assert span_of({**ENTRY, "route": None}).name == "GET"
    assert not span_of({**ENTRY, "cut": True}).status.is_ok


@pytest.mark.parametrize(
    "odd", [b"{}", b"[]", b"rubbish", b'"x"', b"\xff", line(trace_id="x"), line(microseconds=None), line(time="soon")]
)
def test_what_is_no_span_is_counted_and_the_rest_is_sent(odd: bytes) -> None:
    with collector() as (url, came):
        some = Spans()
        some.send_to(url)
        some.add(odd.strip() + b"\n" + line())
        some.close(20)
    assert (some.dropped, len(came)) == (1, 1)


def test_without_a_collector_nothing_is_sent_and_nothing_happens() -> None:
    some = Spans()
    some.send_to(None)
    some.add(line())
    some.close(1)


def test_another_collector_gets_what_comes_from_then_on() -> None:
    with collector() as (one, first), collector() as (other, second):
        some = Spans()
        for url in (one, one, other):
            some.send_to(url)
            some.add(line())
        some.close(20)
        assert len(second) == 1
        for thread in threading.enumerate():
            if thread.name == "last spans":
                thread.join(20)
        assert first


def test_a_collector_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own thread would go on trying long after this test."""
    answers = threading.Event()
    stand_in = SimpleNamespace(on_end=lambda span: None, shutdown=lambda: answers.wait(20))
    monkeypatch.setattr(spans, "_processor", lambda collector: stand_in)
    some = Spans()
    for number in range(3):
        some.send_to(f"http://127.0.0.1:{number + 1}")
        some.add(line())
    some.close(0.01)
    last = [thread for thread in threading.enumerate() if thread.name == "last spans"]
    assert len(last) == 3  # each waits by itself
    answers.set()
    for thread in last:
        thread.join(20)


def test_without_the_library_it_is_said_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ImportError, match=r"pip install 'keystile\[otel\]'"):
        Spans().send_to("http://127.0.0.1:4318")


def test_a_collector_without_a_path_has_the_usual_one() -> None:
    assert endpoint("http://a:4318") == endpoint("http://a:4318/") == f"http://a:4318{spans.PATH}"
    assert endpoint("https://a/otlp/traces") == "https://a/otlp/traces"
