"""One call: its bytes, the connection that it goes over, and what came of it.

Law: the caller's side only. An answer must name the request that it answers (the servers repeat X-Chaos-Id), be whole,
and be alone; whatever is otherwise is an outcome that begins with ``WRONG``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import zlib
from collections.abc import Callable

from tests.chaos.kinds import CUT, LEFT, NO_ANSWER, NO_CONNECTION, WRONG
from tests.chaos.ledger import Entry, Ledger
from tests.soak.answers import Answer
from tests.soak.client import ENDED, Client

PATIENCE = 20.0
"""Seconds without an answer or an end; nothing here lasts so long."""
PROBLEM = "urn:keystile:problem:"


class Line(Client):
    """A connection that notes what comes unasked. ``tunnel``: what has come, once it is one; ``heard``: set by that."""

    def __init__(self) -> None:
        super().__init__()
        self.surplus = b""
        self.tunnel: bytearray | None = None
        self.heard = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if self.tunnel is None:
            super().data_received(data)
        else:
            self.tunnel += data
            self.heard.set()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.heard.set()

    async def hears(self, size: int) -> bool:
        """Wait until so much has come through the tunnel; False where it ends before."""
        assert self.tunnel is not None
        while len(self.tunnel) < size and not self.ended:
            self.heard.clear()
            await self.heard.wait()
        return len(self.tunnel) >= size

    def too_much(self, data: bytes) -> None:
        self.surplus += data[:200]

    def hang_up(self) -> None:
        """No request goes over it any more."""
        self.ended = True
        self.close()


def head(entry: Entry, method: str, path: str, key: bytes, more: bytes = b"") -> bytes:
    """The head of a request; ``more``: whole lines."""
    secret = b"X-Api-Key: %b\r\n" % key if key else b""
    return b"%b %b HTTP/1.1\r\nHost: chaos.example\r\n%bX-Chaos-Id: %d\r\n%b\r\n" % (
        method.encode(),
        path.encode(),
        secret,
        entry.number,
        more,
    )


def outcome_of(entry: Entry, answer: Answer, surplus: bytes, body: bytes = b"") -> str:
    """The status as a word, or what is wrong with the answer; ``body``: what was sent, where the server tells it back.

    Also notes the type of a refusal in the entry.
    """
    status = str(answer.status)
    if surplus:
        return f"{WRONG}{surplus[:60]!r} came besides {status}"
    if answer.start.startswith(b'{"type"') or b"problem+json" in answer.head:
        entry.problem = _problem_of(answer)
        return status
    if answer.field(b"X-Chaos-Id") != str(entry.number).encode():
        return f"{WRONG}{status} to request {answer.field(b'X-Chaos-Id').decode() or '?'}"
    if answer.status == 200 and answer.field(b"X-Chaos-Crc") != str(answer.crc).encode():
        return f"{WRONG}{answer.size} bytes of another body"
    if body and answer.status == 200 and answer.start != b"%d %d" % (len(body), zlib.crc32(body)):
        return f"{WRONG}the server got {answer.start!r} of {len(body)} bytes"
    return status


def _problem_of(answer: Answer) -> str:
    try:
        return str(json.loads(answer.start)["type"]).removeprefix(PROBLEM)
    except (ValueError, KeyError, TypeError):
        return f"unreadable: {answer.start[:60]!r}"


class Calls:
    """Calls that are written into the ledger. ``met``: is told which relay a line leads to."""

    def __init__(self, ledger: Ledger, met: Callable[[bytes, tuple[str, int]], None]) -> None:
        self.ledger = ledger
        self._met = met

    async def connect(
        self, entry: Entry | None, port: int, source: str, context: ssl.SSLContext | None = None
    ) -> Line | None:
        """A line, or None (and the end of the entry) where none can be had."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await Line.connect(port, source, context)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            if entry is not None:
                entry.note = f"{type(error).__name__}: {error}"
                self.ledger.end(entry, time.monotonic(), NO_CONNECTION)
            return None

    async def ask(self, entry: Entry, line: Line, data: bytes, body: bytes = b"") -> str:
        """Send this, wait, and end the entry; ``body`` as for ``outcome_of``."""
        outcome = await self.answered(entry, line, data, body)
        self.ledger.end(entry, time.monotonic(), outcome)
        return outcome

    async def answered(self, entry: Entry, line: Line, data: bytes, body: bytes = b"") -> str:
        """The same, but the entry goes on."""
        entry.client, entry.relay = line.address, line.relay
        try:
            async with asyncio.timeout(PATIENCE):
                status = await line.ask_bytes(data)
        except TimeoutError:
            outcome = NO_ANSWER
        else:
            outcome = self._outcome(entry, line, status, body)
        if outcome.startswith((NO_ANSWER, WRONG)) or (line.answer and says_close(line.answer)):
            line.hang_up()
        return outcome

    def _outcome(self, entry: Entry, line: Line, status: int, body: bytes) -> str:
        if status == ENDED or line.answer is None:
            entry.note += " within its answer" if line.reader.begun else ""
            return CUT
        if line.relay and not entry.relay:
            entry.relay = line.relay
            self._met(line.relay, line.address)
        return outcome_of(entry, line.answer, line.surplus, body)

    def leave(self, entry: Entry, line: Line) -> None:
        """Hang up; the entry ends with it unless it has ended before."""
        if not entry.outcome:
            self.ledger.end(entry, time.monotonic(), LEFT)
        line.hang_up()


def says_close(answer: Answer) -> bool:
    """Whether no request may follow on its connection."""
    return answer.field(b"Connection").lower() == b"close"
