"""Every way the gateway itself says no: one closed list, which ``problem.py`` turns into bytes.

Law: a refusal helps the caller's developer and not an attacker. Unknown,
changed, deleted and expired keys are one and the same refusal. Bodies are
``application/problem+json`` (RFC 9457) and never repeat what was sent.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, assert_never

from keystile.wire.faults import Fault


class Refusal(Enum):
    """``status``, problem type (``urn:keystile:problem:<slug>``), title, and the usual detail."""

    BAD_REQUEST = (400, "bad-request", "Bad request", "The request is not well-formed.")
    BAD_PATH = (400, "bad-path", "Bad path", "The path is not well-formed.")
    AMBIGUOUS_PATH = (
        400,
        "ambiguous-path",
        "Ambiguous path",
        "Servers read this path in different ways that need different permissions. "
        "Send it without encoded slashes or parameters.",
    )
    TWO_KEYS = (400, "two-keys", "More than one API key", "Send exactly one API key, once.")
    NO_KEY = (401, "api-key-required", "API key required", "Send an API key in the field {headers}.")
    OTHER_CREDENTIALS = (
        401,
        "api-key-required",
        "API key required",
        "User names and passwords, SMTP credentials among them, are not API keys. "
        "Send an API key in the field {headers}.",
    )
    INVALID_KEY = (401, "invalid-api-key", "Invalid API key", "The API key is not valid, or is no longer.")
    ADDRESS_NOT_ALLOWED = (
        403,
        "address-not-allowed",
        "Address not allowed",
        "This API key may not be used from {address}.",
    )
    TLS_TOO_OLD = (
        403,
        "tls-too-old",
        "TLS version too old",
        "The version of TLS of this connection is not accepted any more, or is refused for a rehearsal of that.",
    )
    KEY_IN_CLEAR = (
        403,
        "key-in-clear",
        "Key sent without TLS",
        "This key came over plain HTTP, so others may have read it. Change it, and call over https.",
    )
    SCOPE_MISSING = (
        403,
        "scope-missing",
        "Permission missing",
        "This call needs {scopes}, which the API key does not have.",
    )
    NOT_FOUND = (404, "not-found", "Not found", "No operation has this path.")
    METHOD_NOT_ALLOWED = (
        405,
        "method-not-allowed",
        "Method not allowed",
        "This path has operations, but not with this method.",
    )
    HEAD_TOO_SLOW = (408, "request-timeout", "Request timeout", "The request did not arrive in time.")
    BODY_TOO_SLOW = (
        408,
        "body-too-slow",
        "Request timeout",
        "The request's body came more slowly than it must.",
    )
    ANSWER_TOO_SLOW = (
        408,
        "answer-too-slow",
        "Answer not read",
        "The answer was read more slowly than it must.",  # nobody gets to read this: its answer was cut
    )
    BODY_TOO_LARGE = (413, "body-too-large", "Body too large", "The request's body is larger than allowed.")
    TARGET_TOO_LONG = (414, "target-too-long", "Target too long", "The request target is longer than allowed.")
    UNKNOWN_EXPECTATION = (
        417,
        "unknown-expectation",
        "Unknown expectation",
        "The only expectation served is 100-continue.",
    )
    WEBSOCKET_VERSION = (
        426,
        "websocket-version",
        "Upgrade required",
        "The only version of WebSocket served here is 13.",
    )
    TOO_MANY_AT_ONCE = (
        429,
        "too-many-at-once",
        "Too many requests at once",
        "Up to {cap} requests from one address are served at the same time. "
        "Try again when one of them has been answered.",
    )
    HEAD_TOO_LARGE = (431, "head-too-large", "Head too large", "The request's head is larger than allowed.")
    INTERNAL_ERROR = (500, "internal-error", "Internal error", "The gateway failed. It has been logged.")
    NOT_IMPLEMENTED = (
        501,
        "not-implemented",
        "Not implemented",
        "The request uses something that is not served here.",
    )
    UPSTREAM_UNREACHABLE = (
        502,
        "upstream-unreachable",
        "Bad gateway",
        "The API behind the gateway cannot be reached.",
    )
    UPSTREAM_BROKEN = (502, "upstream-broken", "Bad gateway", "The API behind the gateway gave no readable answer.")
    NO_SERVER = (
        503,
        "no-server",
        "No server available",
        "No server of the API behind the gateway is well now.",
    )
    SERVERS_BUSY = (
        503,
        "servers-busy",
        "Servers busy",
        "The API behind the gateway has as many requests in hand as it may.",
    )
    COUNT_UNAVAILABLE = (
        503,
        "count-unavailable",
        "Count unavailable",
        "The requests that are served at the same time cannot be counted now.",
    )
    OVERLOADED = (503, "overloaded", "Overloaded", "The gateway cannot take the request now.")
    TOO_MANY_CONNECTIONS = (
        503,
        "too-many-connections",
        "Too many connections",
        "This address, or all together, have as many connections to the gateway as may be.",
    )
    DRAINING = (503, "draining", "Going away", "This gateway is stopping. Try again.")
    KEYS_UNAVAILABLE = (503, "keys-unavailable", "Keys unavailable", "API keys cannot be checked now.")
    CONNECT_TIMEOUT = (
        504,
        "connect-timeout",
        "Gateway timeout",
        "The API behind the gateway could not be reached in time.",
    )
    OUT_OF_TIME = (504, "out-of-time", "Gateway timeout", "The request took longer than the {seconds} s allowed.")
    BAD_VERSION = (505, "bad-version", "HTTP version not supported", "Only HTTP/1.1 and HTTP/1.0 are served here.")

    def __init__(self, status: int, slug: str, title: str, detail: str) -> None:
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail
        #: Its place, for what is looked up often: an enum's hash is worked out in Python each time.
        self.number = 0
        #: The field lines of its answers, each ended with CRLF.
        self.lines = b""


#: Seconds after which a caller may try again, by refusal.
RETRY_AFTER: Final = {
    Refusal.TOO_MANY_AT_ONCE: 1,
    Refusal.NO_SERVER: 1,
    Refusal.SERVERS_BUSY: 1,
    Refusal.COUNT_UNAVAILABLE: 1,
    Refusal.OVERLOADED: 1,
    Refusal.TOO_MANY_CONNECTIONS: 1,
    Refusal.DRAINING: 1,
    Refusal.KEYS_UNAVAILABLE: 5,
}

#: What a client that has shown no valid key may show (RFC 9110 §11.6.1).
CHALLENGE: Final = b'WWW-Authenticate: ApiKey realm="keystile"\r\n'

for _number, _refusal in enumerate(Refusal):
    _refusal.number = _number
    _refusal.lines = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n%b%b" % (
        b"Retry-After: %d\r\n" % RETRY_AFTER[_refusal] if _refusal in RETRY_AFTER else b"",
        CHALLENGE if _refusal.status == 401 else b"",
    )

REASONS: Final = {
    200: b"OK",
    204: b"No Content",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def of_fault(fault: Fault) -> Refusal:
    """The refusal of a request that the wire could not read."""
    match fault:
        case Fault.MALFORMED | Fault.BAD_FRAMING | Fault.BAD_HOST | Fault.BAD_TARGET:
            return Refusal.BAD_REQUEST
        case Fault.UNKNOWN_CODING | Fault.UNKNOWN_METHOD:
            return Refusal.NOT_IMPLEMENTED
        case Fault.BAD_VERSION:
            return Refusal.BAD_VERSION
        case Fault.TARGET_TOO_LONG:
            return Refusal.TARGET_TOO_LONG
        case Fault.HEAD_TOO_LARGE:
            return Refusal.HEAD_TOO_LARGE
        case Fault.HEAD_TOO_SLOW:
            return Refusal.HEAD_TOO_SLOW
        case Fault.BODY_TOO_LARGE:
            return Refusal.BODY_TOO_LARGE
        case Fault.UNKNOWN_EXPECTATION:
            return Refusal.UNKNOWN_EXPECTATION
        case _:
            assert_never(fault)
