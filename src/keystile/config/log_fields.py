"""The members that a line of the access log may have, and those that it has where nothing is said.

Law: names, and what each says for people; how one is worked out is ``relay/log_line.py``'s. docs/logs.md shows
the same table.
"""

from __future__ import annotations

from typing import Final

FIELDS: Final = {
    "time": "when the exchange ended: UTC, RFC 3339, with milliseconds",
    "request_id": "as in X-Request-Id, in the answer and at the API",
    "trace_id": "of the trace (W3C) that the request belongs to",
    "span_id": "the gateway's own part of it, where it takes part (`telemetry.trace: begin`)",
    "parent_id": "who has called the gateway, in that trace",
    "listener": "the address of ours that the client connected to",
    "address": "of the client, after trusted proxies",
    "socket": "the address at the other end of the connection: the client's, or the last proxy's",
    "tls": "the version, such as TLSv1.3; null for plain HTTP",
    "cipher": "the cipher suite",
    "method": "of the request",
    "path": "without the query; a key in it is redacted",
    "query": "what stands behind the ?, redacted (see below)",
    "route": "the template of the row that answered; null where none did",
    "status": "of the answer",
    "refusal": "which problem type, where the gateway itself said no",
    "account": "the e-mail address of the key's owner",
    "key": "the key's id, never the key",
    "upstream": "the API that the request went to, by its name in gateway.yaml",
    "server": "the server of it that answered last, as written in gateway.yaml",
    "server_address": "the IP address of that server",
    "retries": "how often the request was sent again",
    "bytes_in": "of the request's body",
    "bytes_out": "of the answer's body",
    "milliseconds": "from the request's head to the last byte of the answer",
    "microseconds": "where the time went: {own, waited, server, answer}, which add up to all of it (see below)",
    "cut": "whether the answer was cut, or nobody waited for it any more",
    "configuration": "the number of the configuration that the request was answered by",
}
"""What each says, by its name, in the order of the table."""

DEFAULT_FIELDS: Final = (
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
)

SPAN_FIELDS: Final = (
    *(name for name in DEFAULT_FIELDS if name not in ("account", "milliseconds", "tls", "configuration")),
    "trace_id",
    "span_id",
    "parent_id",
)
"""What management is told of an exchange that is to be a span."""

DEFAULT_REDACTED: Final = ("*token*", "*secret*", "*passw*", "*credential*", "*signature*", "sig", "code")
"""Query parameters whose values are redacted where nothing is said, besides those that carry keys."""
