"""Spans of exchanges, from relays to an OpenTelemetry collector (OTLP over HTTP): only where ``telemetry.otlp`` is set.

Law: lines as the access log has them in, spans out. The library (the extra ``otel``) is imported when it is wanted, and
sends from a thread of its own with a bounded queue: what finds no room there is lost, and nobody waits.

Names of attributes: OpenTelemetry's semantic conventions for HTTP servers; our own begin with ``keystile.``.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from keystile import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

PATH: Final = "/v1/traces"
"""Where collectors take spans, if the settings name no path."""
_ATTRIBUTES: Final = {
    "method": "http.request.method",
    "path": "url.path",
    "route": "http.route",
    "status": "http.response.status_code",
    "address": "client.address",
    "socket": "network.peer.address",
    "bytes_in": "http.request.body.size",
    "bytes_out": "http.response.body.size",
    "refusal": "error.type",
    **{name: f"keystile.{name}" for name in ("request_id", "key", "upstream", "server", "retries", "cut")},
}


class Spans:
    """``dropped``: lines that were none. Nothing is sent before ``send_to``."""

    def __init__(self) -> None:
        self.dropped = 0
        self._to: str | None = None
        self._processor: BatchSpanProcessor | None = None

    def send_to(self, collector: str | None) -> None:
        """Send there from now on, or nowhere (None). Without waiting. Raises ImportError without the extra."""
        if collector == self._to:
            return
        before, self._processor, self._to = self._processor, None, None
        if before is not None:
            threading.Thread(target=before.shutdown, name="last spans", daemon=True).start()
        if collector is not None:
            self._processor, self._to = _processor(collector), collector

    def add(self, lines: bytes) -> None:
        """Lines of exchanges whose trace is recorded, each ended by a newline."""
        if self._processor is None:
            return  # these were on their way when the settings changed
        for line in lines.splitlines():
            try:
                span = span_of(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.dropped += 1
            else:
                self._processor.on_end(span)

    def close(self, within: float) -> None:
        """Send what waits, for at most so many seconds."""
        if self._processor is not None:
            last = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
            last.start()
            last.join(within)


def span_of(entry: dict[str, Any]) -> ReadableSpan:
    """The span of one exchange. Raises ValueError, TypeError, KeyError or AttributeError for what is no line of one."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    flags = TraceFlags(TraceFlags.SAMPLED)
    trace, parent = int(entry["trace_id"], 16), entry["parent_id"]
    took = sum(entry["microseconds"].values()) * 1000
    ended = int(datetime.fromisoformat(entry["time"]).timestamp() * 1000) * 1_000_000
    failed = entry["status"] >= 500 or entry["cut"]
    route = entry["route"]
    return ReadableSpan(
        name=f"{entry['method']} {route}" if route else str(entry["method"]),
        context=SpanContext(trace, int(entry["span_id"], 16), is_remote=False, trace_flags=flags),
        parent=SpanContext(trace, int(parent, 16), is_remote=True, trace_flags=flags) if parent else None,
        resource=_resource(),
        attributes={**_attributes(entry), **_phases(entry["microseconds"])},
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
        start_time=ended - took,
        end_time=ended,
    )


def _attributes(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[ours] for ours, name in _ATTRIBUTES.items() if entry[ours] is not None}


def _phases(microseconds: dict[str, int]) -> dict[str, int]:
    return {f"keystile.microseconds.{name}": took for name, took in microseconds.items()}


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    return Resource({"service.name": "keystile", "service.version": __version__})


def _processor(collector: str) -> BatchSpanProcessor:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ImportError(f"telemetry.otlp needs the extra otel: pip install 'keystile[otel]' ({error})") from None
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint(collector)))


def endpoint(collector: str) -> str:
    """The URL that spans are posted to."""
    scheme, _, rest = collector.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}/{path}" if path else f"{scheme}://{host}{PATH}"
