"""Which counters a relay keeps, by name and in order: it stores them so, and whoever sums them up reads them so.

Law: names. What each says is counted in ``record.py`` and told in ``management/families.py``.
"""

from __future__ import annotations

from typing import Final

from keystile.relay.histogram import BOUNDS, OWN_BOUNDS, names
from keystile.relay.refusal import Refusal
from keystile.wire.tls_gate import Reason

#: Of ``slots: valkey://…``: questions, all commands, requests cut, units held, and whether nobody lends.
OF_SHARED_SLOTS: Final = ("slots_asked", "slots_commands", "slots_cut", "slots_leased", "slots_unreachable")
#: Of these there is one each.
SINGLE: Final = (
    "requests",
    "bytes_in",
    "bytes_out",
    "cut",
    "retries",
    "connections",
    "in_flight",
    "log_lines_dropped",
    "uses_dropped",
    "usage_dropped",
    "store_unreadable",
    "keys_unavailable",
    "connections_too_many",
    "connections_untrusted",
    "connections_bad_header",
    "connections_cut_for_memory",
    "websockets",
    "websockets_open",
    "bytes_held",
    "handshakes",
    "handshakes_resumed",
    "handshakes_abandoned",
    "upstream_retries",
    "upstream_breaker_opened",
    "upstream_queued",
    "requests_shed",
    "connections_shed",
    "relays_holding_back",
    "relays_shedding",
    "loop_lag_microseconds",
    "spans_dropped",
    "route_counts_dropped",
    "upstream_connections_idle",
    "upstream_connections_opened",
    "upstream_connect_failures",
    *OF_SHARED_SLOTS,
)
#: Listeners whose requests in flight are counted apart: all from the last of these on together.
MOST_LISTENERS: Final = 32
_AT_LISTENERS: Final = tuple(f"in_flight_at_{place}" for place in range(MOST_LISTENERS))
#: Connections by the version of TLS that they came with, None for plain HTTP: the names of their counters.
TLS_COUNTERS: Final = {
    None: "tls_none",
    "TLSv1": "tls_1_0",
    "TLSv1.1": "tls_1_1",
    "TLSv1.2": "tls_1_2",
    "TLSv1.3": "tls_1_3",
}
#: Names of the counters that a relay keeps, in the order in which it stores them.
COUNTERS: Final = (
    *SINGLE,
    *(f"status_{status}xx" for status in range(1, 6)),
    *(f"refused_{refusal.name.lower()}" for refusal in Refusal),
    *TLS_COUNTERS.values(),
    *(f"handshakes_refused_{reason.name.lower()}" for reason in Reason),
    *names("own", OWN_BOUNDS),
    *names("upstream", BOUNDS),
    *names("waited", BOUNDS),
    *_AT_LISTENERS,
)
#: Those that say how things are now: a dead relay's do not count on.
GAUGES: Final = frozenset(
    {
        "connections",
        "in_flight",
        "store_unreadable",
        "keys_unavailable",
        "websockets_open",
        "bytes_held",
        "upstream_queued",
        "relays_holding_back",
        "relays_shedding",
        "loop_lag_microseconds",
        "upstream_connections_idle",
        "slots_leased",
        "slots_unreachable",
        *_AT_LISTENERS,
    }
)
