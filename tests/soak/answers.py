"""Answers, and requests, read from bytes: one at a time, in whatever pieces they come.

Law: bytes only, and nothing of the product's own readers: what judges the gateway's framing must not share its faults.
Long bodies are not kept: of a body there is its ``size``, its CRC-32 and how it begins.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked *\r")
REQUEST_ID = re.compile(rb"(?i)\r\nx-request-id: *([0-9a-f]{20})")
KEPT = 1024
"""Bytes of a body that are kept."""


@dataclass(slots=True)
class Answer:
    """``head`` with its empty line; ``start``: how the body begins; ``surplus``: what came after it."""

    head: bytes
    size: int = 0
    crc: int = 0
    start: bytes = b""
    surplus: bytes = b""

    @property
    def status(self) -> int:
        """Of an answer, not of a request."""
        return int(self.head[9:12])

    @property
    def relay(self) -> bytes:
        """The digits of its request id that are one relay's own; empty where there are none."""
        found = REQUEST_ID.search(self.head)
        return found[1] if found else b""

    def field(self, name: bytes) -> bytes:
        """The value of a field; empty where there is none."""
        found = re.search(rb"(?i)\r\n%b: *([^\r]*)" % re.escape(name), self.head)
        return found[1] if found else b""


class AnswerReader:
    """``feed`` returns an answer when it is whole. Bodies end by length, by the last chunk, or there is none."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._answer: Answer | None = None
        self._left = 0
        self._in_chunks = False

    @property
    def begun(self) -> bool:
        """Whether bytes of an answer are there that is not whole."""
        return self._answer is not None or bool(self._held)

    @property
    def head(self) -> bytes:
        """Of what is being read; empty while it is not there."""
        return self._answer.head if self._answer is not None else b""

    def feed(self, data: bytes) -> Answer | None:
        """Take in what has come."""
        self._held += data
        if self._answer is None and not self._read_head():
            return None
        whole = self._read_chunks() if self._in_chunks else self._read_length()
        if not whole:
            return None
        answer, self._answer = self._answer, None
        assert answer is not None
        answer.surplus = bytes(self._held)
        self._held.clear()
        return answer

    def _read_head(self) -> bool:
        end = self._held.find(b"\r\n\r\n") + 4
        if end < 4:
            return False
        head = bytes(self._held[:end])
        del self._held[:end]
        self._answer = Answer(head)
        self._in_chunks = CHUNKED.search(head) is not None
        length = LENGTH.search(head)
        self._left = int(length[1]) if length else 0
        return True

    def _read_length(self) -> bool:
        self._left -= self._take(self._left)
        return not self._left

    def _read_chunks(self) -> bool:
        """``_left``: bytes of the present chunk and the line end after it; the last chunk's are that line end only."""
        while True:
            if self._left > 2:
                self._left -= self._take(self._left - 2)
            if self._left > 2 or len(self._held) < self._left:
                return False
            del self._held[: self._left]
            self._left = 0
            end = self._held.find(b"\r\n")
            if end < 0:
                return False
            size = int(self._held[:end], 16)
            if not size:
                return self._read_last(end + 2)
            del self._held[: end + 2]
            self._left = size + 2

    def _read_last(self, end: int) -> bool:
        """The gateway sends no trailers: an empty line is all that follows."""
        if len(self._held) < end + 2:
            return False
        del self._held[: end + 2]
        return True

    def _take(self, most: int) -> int:
        answer = self._answer
        assert answer is not None
        piece = bytes(self._held[:most])
        del self._held[:most]
        answer.size += len(piece)
        answer.crc = zlib.crc32(piece, answer.crc)
        if len(answer.start) < KEPT:
            answer.start += piece[: KEPT - len(answer.start)]
        return len(piece)
