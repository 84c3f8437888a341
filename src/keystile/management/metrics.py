"""Metrics: numbers and names into the text that Prometheus reads.

Law: formatting only. Where numbers come from is the caller's; no client address, no key and no account is
ever a label (there are too many of them, and they are nobody's business who reads metrics).

Source: the Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "keystile_"
_HELP = {
    "requests_total": "Requests that have ended, however they ended.",
    "answers_total": "Answers by class of status.",
    "refusals_total": "Requests that the gateway itself refused, by reason.",
    "bytes_in_total": "Bytes of request bodies.",
    "bytes_out_total": "Bytes of answer bodies.",
    "connections": "Client connections that are open.",
    "in_flight": "Requests in flight.",
    "requests_shed_total": "Requests refused because of overload; they are in refusals_total too, in no log.",
    "connections_shed_total": "New connections refused because of overload.",
    "relays_holding_back": "Relays that are overloaded: they let in few new connections, or none.",
    "relays_shedding": "Relays that are overloaded so that they refuse requests.",
    "loop_lag_microseconds": "How long a turn of the loop takes, of all relays together.",
    "slots_taken": "Slots taken by all client addresses together.",
    "slots_highest": "Slots taken by the client address that has most.",
    "relays_up": "Relay processes that are up.",
    "configuration": "Number of the configuration in force.",
    "configurations_taken_total": "Changes of gateway.yaml that were taken.",
    "configurations_refused_total": "Readings of gateway.yaml that found it wrong.",
    "retries_total": "Requests that were sent again, to the same server or another.",
    "upstream_retries_total": "Requests that were sent again to another server.",
    "upstream_breaker_opened_total": "How often a relay began to leave a server out.",
    "upstream_breaker_open": "Relays that leave a server out by what they have seen of it.",
    "upstream_server_up": "Whether a server is used: by the health checks, and by any relay.",
    "upstream_queued": "Requests that wait for a server with room.",
    "restarts_total": "Processes that were started again.",
    "messages_dropped_total": "Messages from relays to management that found no room.",
    "log_lines_unwritten_total": "Access-log lines that management could not write.",
    "keys": "API keys in the store.",
    "store_unreadable": "Relays that cannot read the store and live on the keys they know.",
    "keys_unavailable": "Relays that refuse keys, since they could not read the store for too long.",
    "store_write_failures_total": "Failed attempts to write last uses and usage; what they held is tried again.",
    "last_uses_unwritten_total": "Last uses that found no room while the store could not be written.",
    "usage_unwritten_total": "Sums of usage that found no room while the store could not be written.",
    "certificate_expiry_timestamp_seconds": "When a certificate ends, Unix seconds.",
}
Sample = tuple[str, str, float]
"""Family without prefix, labels as ``name="value"`` or empty, value."""


def counter_sample(name: str, value: float, gauges: Collection[str]) -> Sample:
    """The sample of one of the relays' counters: ``status_2xx`` and ``refused_…`` become labels of a family."""
    kind, _, rest = name.partition("_")
    if kind == "status" and rest:
        return "answers_total", f'status="{rest}"', value
    if kind == "refused" and rest:
        return "refusals_total", f'refusal="{rest}"', value
    return (name if name in gauges else f"{name}_total"), "", value


def counter_samples(counters: Mapping[str, int], gauges: Collection[str]) -> list[Sample]:
    """The samples of all of the relays' counters."""
    return [counter_sample(name, value, gauges) for name, value in counters.items()]


def escaped(text: str) -> str:
    """As a label's value (Prometheus, text format 0.0.4)."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exposition(samples: Iterable[Sample]) -> str:
    """The text: samples by family, each family with its type (``…_total`` is a counter, others are gauges)."""
    lines: list[str] = []
    for family, members in groupby(sorted(samples), key=lambda sample: sample[0]):
        if family in _HELP:
            lines.append(f"# HELP {PREFIX}{family} {_HELP[family]}")
        lines.append(f"# TYPE {PREFIX}{family} {'counter' if family.endswith('_total') else 'gauge'}")
        lines += [
            f"{PREFIX}{family}{{{labels}}} {value:.17g}" if labels else f"{PREFIX}{family} {value:.17g}"
            for _, labels, value in members
        ]
    return "\n".join(lines) + "\n"
