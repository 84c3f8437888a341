"""What every metric is called and what it says; and which of them each of the relays' counters belongs to.

Law: names and texts. Names follow Prometheus: base units (seconds, bytes), ``_total`` for what only rises, what was
counted first and what it was counted by as a label. No client address, no secret and no account is ever a label; what
values a label may have is bounded by the settings, by this file, or by ``requests.py``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HELP: Final = {
    "answer_body_bytes_total": "Bytes of answers' bodies.",
    "answers_total": "Answers by class of status.",
    "build_info": "The version that runs, and whether it is compiled or from its source; always 1.",
    "certificate_expiry_timestamp_seconds": "When a certificate ends, Unix seconds.",
    "configuration": "Number of the configuration in force.",
    "configurations_refused_total": "Readings of gateway.yaml that found it wrong.",
    "configurations_taken_total": "Changes of gateway.yaml that were taken.",
    "connections": "Client connections that are open.",
    "connections_cut_for_memory_total": "Client connections that were cut since max_buffered was reached.",
    "connections_opened_total": "Client connections by their version of TLS; none: plain HTTP.",
    "connections_shed_total": "New connections refused because of overload.",
    "connections_turned_away_total": "Connections that were closed before their first request, by reason.",
    "held_bytes": "Bytes in memory for peers that do not read, or have not finished.",
    "hosts": "Hosts of the store in a database that were heard of lately, this one among them.",
    "hosts_other_configuration": "Of these hosts, those that run by other settings than this one.",
    "hosts_other_program": "Of these hosts, those that run another version or build than this one.",
    "in_flight": "Requests in flight.",
    "in_flight_by_listener": "Requests in flight, once a second, by the listener that they came by.",
    "key_requests_total": "Requests by key (its id) and refusal; see metrics.keys.",
    "keys": "API keys in the store.",
    "accounts": "Accounts in the store.",
    "keys_unavailable": "Relays that refuse keys, since they could not read the store for too long.",
    "last_uses_dropped_total": "Last uses that found no room on their way to management.",
    "last_uses_unwritten_total": "Last uses that found no room while the store could not be written.",
    "log_lines_dropped_total": "Access-log lines that found no room on their way to management.",
    "log_lines_unwritten_total": "Access-log lines that management could not write.",
    "loop_lag_seconds": "How long a turn of the loop takes, of the relay that is worst off.",
    "messages_dropped_total": "Messages from relays to management that found no room.",
    "old_tls_unwritten_total": "Sightings of old TLS versions that found no room while the store could not be written.",
    "own_duration_seconds": "The gateway's own time for a request, without waiting and without the answer's body.",
    "process_cpu_seconds_total": "Processor time, by role.",
    "process_resident_memory_bytes": "Resident memory, by role.",
    "refusals_total": "Requests that the gateway itself refused, by reason.",
    "relays_holding_back": "Relays that are overloaded: they let in few new connections, or none.",
    "relays_shedding": "Relays that are overloaded so that they refuse requests.",
    "relays_up": "Relay processes that are up.",
    "request_body_bytes_total": "Bytes of requests' bodies.",
    "requests_cut_total": "Requests that ended before all of their answer had been sent.",
    "requests_shed_total": "Requests refused because of overload; they are in refusals_total too, in no log.",
    "requests_total": "Requests that have ended, however they ended.",
    "restarts_total": "Processes that were started again.",
    "retries_total": "Requests that were sent again, to the same server or another.",
    "route_counts_dropped_total": "Requests that route_requests_total lacks: no room on their way to management.",
    "route_requests_total": "Requests by route, status and refusal; see metrics.routes.",
    "slots_asked_total": "Round trips that requests waited for, where slots are counted over many hosts.",
    "slots_commands_total": "All commands to the server that lends slots.",
    "slots_cut_total": "Requests that were cut since nobody could answer for their slots any more.",
    "slots_highest": "Slots taken by the client address that has most.",
    "slots_leased": "Units of all addresses that are held.",
    "slots_limit": "Slots that a client address may have (concurrent_requests_per_ip).",
    "slots_taken": "Slots taken by all client addresses together.",
    "slots_unreachable": "Relays that nobody lends slots to now.",
    "spans_dropped_total": "Spans that found no room on their way to management.",
    "store_change_delay_seconds": "From a change of keys on another host until this one knows it.",
    "store_changes_by_polling_total": "Times that other hosts' changes were found with no notification of them.",
    "store_connected": "Whether the database that the store is in was reached by the last look.",
    "store_known_age_seconds": "What was changed longer ago than this, on whatever host, counts on this one.",
    "store_unreadable": "Relays that cannot read the store and live on the keys they know.",
    "store_write_failures_total": "Failed attempts to write last uses and usage; what they held is tried again.",
    "tls_handshakes_abandoned_total": "TLS handshakes that their clients left.",
    "tls_handshakes_refused_total": "TLS handshakes that were refused, by reason.",
    "tls_handshakes_resumed_total": "TLS handshakes that went on from an earlier session.",
    "tls_handshakes_total": "TLS handshakes that were done.",
    "upstream_breaker_open": "Relays that leave a server out by what they have seen of it.",
    "upstream_breaker_opened_total": "How often a relay began to leave a server out.",
    "upstream_connect_failures_total": "Connections to servers that could not be made.",
    "upstream_connections_idle": "Connections to servers that wait for a request.",
    "upstream_connections_opened_total": "Connections to servers that were made.",
    "upstream_duration_seconds": "From sending a request to a server to the head of its answer.",
    "upstream_queued": "Requests that wait for a server with room.",
    "upstream_retries_total": "Requests that were sent again to another server.",
    "upstream_server_up": "Whether a server is used: by the health checks, and by any relay.",
    "usage_dropped_total": "Requests that usage lacks: their sums found no room on their way to management.",
    "usage_unwritten_total": "Sums of usage that found no room while the store could not be written.",
    "wait_duration_seconds": "How long requests waited for a slot, a connection or a server; of those that had to.",
    "websockets_open": "WebSockets that are open.",
    "websockets_total": "WebSockets that were opened.",
}
"""By family, without the prefix."""

HISTOGRAMS: Final = {
    "own": "own_duration_seconds",
    "upstream": "upstream_duration_seconds",
    "waited": "wait_duration_seconds",
}
"""The family of each of the relays' histograms (``relay/histogram.py``)."""

HISTOGRAM_FAMILIES: Final = frozenset({*HISTOGRAMS.values(), "store_change_delay_seconds"})
"""Those, and what management counts by itself."""


class Place(NamedTuple):
    """Where a counter is shown: its family, and the one label it has there, if any."""

    family: str
    label: str = ""
    value: str = ""


_CALLED: Final = {
    "bytes_held": Place("held_bytes"),
    "bytes_in": Place("request_body_bytes_total"),
    "bytes_out": Place("answer_body_bytes_total"),
    "connections_bad_header": Place("connections_turned_away_total", "reason", "bad_header"),
    "connections_too_many": Place("connections_turned_away_total", "reason", "too_many"),
    "connections_untrusted": Place("connections_turned_away_total", "reason", "untrusted"),
    "cut": Place("requests_cut_total"),
    "handshakes": Place("tls_handshakes_total"),
    "handshakes_abandoned": Place("tls_handshakes_abandoned_total"),
    "handshakes_resumed": Place("tls_handshakes_resumed_total"),
    "tls_1_0": Place("connections_opened_total", "version", "TLSv1.0"),
    "tls_1_1": Place("connections_opened_total", "version", "TLSv1.1"),
    "tls_1_2": Place("connections_opened_total", "version", "TLSv1.2"),
    "tls_1_3": Place("connections_opened_total", "version", "TLSv1.3"),
    "tls_none": Place("connections_opened_total", "version", "none"),
    "uses_dropped": Place("last_uses_dropped_total"),
}
_FAMILIES: Final = {
    "status_": ("answers_total", "status"),
    "refused_": ("refusals_total", "refusal"),
    "handshakes_refused_": ("tls_handshakes_refused_total", "reason"),
}


def place_of(name: str, *, is_gauge: bool) -> Place:
    """Where one of the relays' counters is shown; most under their own names."""
    if name in _CALLED:
        return _CALLED[name]
    for start, (family, label) in _FAMILIES.items():
        if name.startswith(start):
            return Place(family, label, name.removeprefix(start))
    return Place(name if is_gauge else f"{name}_total")
