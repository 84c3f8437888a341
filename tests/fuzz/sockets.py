"""What went through WebSockets, judged: only where both sides agreed, between exactly these two, every byte in order.

Law: nothing of ``keystile`` decides here; what a handshake and its answer mean is ``reference.py``'s slow reading.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz.judge import split_wire
from tests.fuzz.reference import Stream, read_switch

_ID = re.compile(rb"\r\nX-Request-Id: ([0-9a-f]+)\r\n")
_KEY = re.compile(rb"(?i)\r\nsec[-_]websocket[-_]key:[\t ]*([^\r]*?)[\t ]*(?=\r\n)")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Told:
    """A client's side: what it asked, its answers (status, body, whether the last), and all bytes sent to it.

    ``unread``: of a client whose tunnel was open to the end, how many of its own bytes were not read; nothing else
    may be missing.
    """

    stream: Stream
    answers: Sequence[tuple[int, bytes, bool]]
    sent: bytes
    unread: int | None

    def asked(self) -> bool:
        """Whether its last request asked to become a WebSocket, where one is served."""
        return self.stream.ending == "asked"

    def handshake(self) -> tuple[bytes, bytes | None]:
        """Method and target of that request, and its key."""
        head, _ = self.stream.requests[-1]
        return head.method + b" " + head.target, head.opening

    def opened(self) -> bool:
        """Whether it was told that its WebSocket is open."""
        return any(status == 101 for status, _, _ in self.answers)


@dataclass(frozen=True, slots=True)
class _Reached:
    """A server's side of a handshake: ``to_server`` and ``to_client`` are what came behind it and behind its 101."""

    line: bytes
    key: bytes
    to_server: bytes
    to_client: bytes | None  # None: the server did not agree


def judge_sockets(clients: Sequence[Told], servers: Sequence[tuple[bytes, bytes, Mapping[int, int]]]) -> None:
    """``servers``: what each was sent, what was read of it, and how much of that by then. Raises ``AssertionError``."""
    reached = dict(found for server in servers if (found := _handshake(*server)) is not None)
    asked_for = [client.handshake() for client in clients if client.asked()]
    for one in reached.values():
        assert one.key, "a handshake went out that is none"
        assert (one.line, one.key) in asked_for, "a handshake went out that nobody had asked for"
    through = {_judge_client(client, reached) for client in clients}
    for known, one in reached.items():
        assert known in through or not one.to_server, "bytes went to a server of which no client was told"


def _handshake(sent: bytes, got: bytes, heard_by: Mapping[int, int]) -> tuple[bytes, _Reached] | None:
    """By its request's id, the handshake that a server was sent; None where there was none."""
    whole, _, behind = split_wire(sent)
    if behind is None:
        return None
    ids, keys = _ID.findall(whole[-1]), _KEY.findall(whole[-1])
    assert len(ids) == len(keys) == 1
    proof = base64.b64encode(hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest())
    line = whole[-1].partition(b" HTTP/1.1\r\n")[0]
    heard = got[heard_by[sum(map(len, whole[:-1]))] :]
    return ids[0], _Reached(line, keys[0], behind, read_switch(heard, proof))


def _judge_client(client: Told, reached: Mapping[bytes, _Reached]) -> bytes:
    """The id of the request by which it opened a WebSocket; empty where it opened none."""
    count = len(client.stream.requests)
    if client.asked() and len(client.answers) == count:
        assert client.answers[-1][2], "requests would be read behind a handshake"
    if not client.opened():
        return b""
    assert client.asked(), "a WebSocket opened that nobody had asked for"
    assert len(client.answers) == count, "a WebSocket opened, but not for the last request"
    came, told = client.stream.behind, client.answers[-1][1]
    request_id: bytes = _ID.findall(client.sent[: len(client.sent) - len(told)])[-1]
    server = reached[request_id]
    assert (server.line, server.key) == client.handshake(), "a client was told of somebody else's WebSocket"
    assert server.to_client is not None, "a client was told of a switch that no server made"
    assert came.startswith(server.to_server), "other bytes came to the server than were sent"
    assert server.to_client.startswith(told), "other bytes came to the client than were sent"
    if client.unread is not None:
        assert len(server.to_server) == len(came) - client.unread, "bytes of the client are missing"
        assert len(told) == len(server.to_client), "bytes of the server are missing"
    return request_id
