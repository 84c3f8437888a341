"""One caller's connection: HTTP/1.1 over a blocking socket, from an address of its choice, as slowly as wanted.

Law: bytes of one request at a time; nothing is retried and no redirect followed, so that one call is one request.
The socket is whatever Python's ``socket`` gives: Locust's process has it from gevent, and tests have the plain one.
Answers are read by httptools, which checks framing; what it refuses has been broken.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import httptools

from keystile.loadtest.credentials import ANSWERED
from keystile.loadtest.plan import Target

NO_CONNECTION: Final = "no-connection"
BROKEN: Final = "broken-answer"
CUT: Final = "connection-closed"
LATE: Final = "no-answer-in-time"
"""Outcomes of requests that got no whole answer."""
_LONGEST_PROBLEM: Final = 64 * 1024
_BITE: Final = 64 * 1024
_IDLE: Final = 5.0
"""Seconds after which a connection is looked at before it is used again."""
_SIP: Final = 4096
_SLUG: Final = re.compile(r"urn:keystile:problem:([a-z-]{1,60})").fullmatch
_SERVER_ERROR: Final = 500

Wait = Callable[[float], None]


class Unanswered(Exception):
    """No whole answer came; ``outcome`` says why."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Answer:
    """One answer as it comes in; its body is kept only where the gateway says why it refuses."""

    def __init__(self) -> None:
        self.whole = False
        self.keeps_alive = False
        self._is_problem = False
        self._problem = bytearray()
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0

    def feed(self, data: bytes) -> None:
        """Bytes from the connection. Raises Unanswered for what is no answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            raise Unanswered(BROKEN) from None

    def outcome(self) -> str:
        """``answered``, the gateway's problem type, or ``status-502`` for an API that failed."""
        if self._is_problem and (slug := _slug(bytes(self._problem))):
            return slug
        return ANSWERED if self._status < _SERVER_ERROR else f"status-{self._status}"

    # httptools calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Remember whether it is a refusal."""
        if name.lower() == b"content-type":
            self._is_problem = value.startswith(b"application/problem+json")

    def on_headers_complete(self) -> None:
        """Note what the head says."""
        self._status = self._parser.get_status_code()
        self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Keep a refusal's reason."""
        if self._is_problem and len(self._problem) < _LONGEST_PROBLEM:
            self._problem += body

    def on_message_complete(self) -> None:
        """Note the end; interim answers have one, too."""
        self.whole = self._status >= 200


class Connection:
    """A connection to the target from ``source`` (empty: the system chooses), made when it is needed."""

    def __init__(self, target: Target, source: str, patience: float, context: ssl.SSLContext | None = None) -> None:
        self._target, self._source, self._patience = target, source, patience
        self._context = context
        self._socket: socket.socket | None = None
        self._used = 0.0

    def open(self) -> socket.socket:
        """The socket, connected. Raises Unanswered.

        One that was idle and has been closed meanwhile is no fault of anybody's: clients make another.
        """
        if self._socket is not None and time.monotonic() - self._used > _IDLE and _is_readable(self._socket):
            self.close()
        if self._socket is None:
            origin = (self._source, 0) if self._source else None
            address = (self._target.address, self._target.port)
            try:
                made = socket.create_connection(address, self._patience, source_address=origin)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    made = self._context.wrap_socket(made, server_hostname=self._target.host)
            except OSError:
                raise Unanswered(NO_CONNECTION) from None
            self._socket = made
        return self._socket

    def close(self) -> None:
        """Close it; the next request makes another."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def call(self, request: bytes) -> str:
        """Send a request at once and read its answer; the outcome."""
        return self._exchange(lambda opened: opened.sendall(request), _BITE, None)

    def drip(self, request: bytes, bites: int, wait: Wait, step: float) -> str:
        """Send it in so many pieces, with a pause of ``step`` seconds before each."""
        size = -(-len(request) // bites)

        def send(opened: socket.socket) -> None:
            for at in range(0, len(request), size):
                wait(step)
                opened.sendall(request[at : at + size])

        return self._exchange(send, _BITE, None)

    def sip(self, request: bytes, wait: Wait, step: float) -> str:
        """Send it at once and read the answer in small pieces, with a pause before each."""

        def send(opened: socket.socket) -> None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SIP)
            opened.sendall(request)

        return self._exchange(send, _SIP, lambda: wait(step))

    def _exchange(self, send: Callable[[socket.socket], None], most: int, pause: Callable[[], None] | None) -> str:
        answer = Answer()
        try:
            opened = self.open()
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may lie there all the same
                send(opened)
            while not answer.whole:
                if pause is not None:
                    pause()
                data = opened.recv(most)
                if not data:
                    raise Unanswered(CUT)
                answer.feed(data)
        except Unanswered as failed:
            self.close()
            return failed.outcome
        except TimeoutError:
            self.close()
            return LATE
        except OSError:
            self.close()
            return CUT
        self._used = time.monotonic()
        if not answer.keeps_alive:
            self.close()
        return answer.outcome()


def context_of(target: Target) -> ssl.SSLContext | None:
    """How the target's certificate is verified; None without TLS. Raises OSError for a file that cannot be used."""
    return ssl.create_default_context(cafile=target.ca or None) if target.tls else None


def request(method: str, path: str, host: str, field: str, key: str, body: bytes = b"") -> bytes:
    """The bytes of a request; without a key where ``key`` is empty."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: keystile-loadtest", "Accept: application/json"]
    if key:
        lines.append(f"{field}: {f'Bearer {key}' if field.lower() == 'authorization' else key}")
    if body or method in ("POST", "PUT", "PATCH"):
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body


def _is_readable(idle: socket.socket) -> bool:
    """Whether something came, or the end did, while nobody had asked."""
    return bool(select.select([idle], [], [], 0)[0])


def _slug(body: bytes) -> str:
    """The problem type of the gateway's refusal; empty where the answer is the API's own."""
    try:
        kind = json.loads(body).get("type", "")
    except (ValueError, AttributeError):
        return ""
    found = _SLUG(kind) if isinstance(kind, str) else None
    return found[1] if found else ""
