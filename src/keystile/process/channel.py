"""The channel from relays to management: messages that may be lost, never waited for.

Law: kinds and bytes; what they mean is the sender's and receiver's affair. One pair of Unix datagram
sockets is shared by all relays and made by the supervisor, which keeps both ends: so neither end ever sees
the other go, and a management that comes back finds what was sent meanwhile, up to the socket's buffer.
A message is taken whole or dropped whole, and dropped ones are counted.

Kinds in use: ``USES`` — last uses, JSON ``[[key id, Unix seconds, address, mark of the secret], …]``; ``LOG`` —
access-log lines, each ended by a newline, UTF-8; ``USAGE`` — sums, JSON ``[[key id, hour, refusal, requests], …]``;
``ROUTES`` — sums for metrics, JSON ``[[methods, template, status, refusal, requests], …]``;
``OLD_TLS`` — requests over versions that end, JSON ``[[key id, version, address, Unix seconds, requests], …]``;
``SPANS`` — exchanges whose trace is recorded, as lines like those of ``LOG``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

LAYOUT = "kinds 1"
"""What has to be the same for two versions to understand each other; it counts on when a kind means something else."""
SPANS = b"S"
USES = b"U"
LOG = b"L"
USAGE = b"C"
OLD_TLS = b"O"
ROUTES = b"R"
MAX_PAYLOAD = 60_000
"""Bytes that one message may carry; a longer one is dropped (and counted) like any that finds no room."""
BUFFER = 1024 * 1024
"""Bytes asked of the kernel for messages that wait; it may grant less (net.core.wmem_max)."""
_AT_ONCE = 64

Handler = Callable[[bytes], None]


def pair() -> tuple[socket.socket, socket.socket]:
    """The sending and the receiving end, both non-blocking."""
    sending, receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sending.setblocking(False)
    receiving.setblocking(False)
    return sending, receiving


class Sender:
    """A relay's end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # an inherited descriptor comes without the setting
        self._end = end
        self.dropped = 0

    def send(self, kind: bytes, payload: bytes) -> bool:
        """Send a message of a kind (one byte), at once or not at all; False when it was dropped."""
        if len(payload) <= MAX_PAYLOAD:
            try:
                self._end.send(kind + payload)
            except OSError:  # no room (EAGAIN, ENOBUFS) above all; whatever it is, a relay does not wait
                pass
            else:
                return True
        self.dropped += 1
        return False


class Receiver:
    """Management's end: hands each message to the handler of its kind."""

    def __init__(self, end: socket.socket, handlers: dict[bytes, Handler]) -> None:
        end.setblocking(False)
        self._end = end
        self._handlers = handlers
        self.unknown = 0

    def fileno(self) -> int:
        """For the event loop's ``add_reader``."""
        return self._end.fileno()

    def receive(self, at_most: int = _AT_ONCE) -> int:
        """Handle what has arrived, up to ``at_most`` messages, without waiting; returns how many."""
        for handled in range(at_most):
            try:
                message = self._end.recv(MAX_PAYLOAD + 1)
            except BlockingIOError:
                return handled
            handler = self._handlers.get(message[:1])
            if handler is None:
                self.unknown += 1
            else:
                handler(message[1:])
        return at_most
