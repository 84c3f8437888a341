"""Bodies on the wire: chunked reading and writing (RFC 9112 §7.1).

Law: sizes and boundaries only. A reader is fed what arrived and says what of
it is body; it never holds more than one unfinished line. Bodies with a
Content-Length are counted by the connections themselves.
"""

from __future__ import annotations

from typing import Final

from keystile.wire.faults import Fault, WireError
from keystile.wire.grammar import CHUNK_LINE, TRAILER

#: Bytes a chunk's size line may have. Extensions have no use here; the bound stops those that come as bodies.
MAX_CHUNK_LINE: Final = 256
#: Bytes that all extensions of one body may have together (a body made of extensions is an attack: CVE-2023-39326).
MAX_EXTENSIONS: Final = 16 * 1024
#: Bytes that the trailer section may have.
MAX_TRAILERS: Final = 8 * 1024

LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """``data`` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# What comes next. Plain numbers for speed; see ``ChunkedReader``.
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3


class ChunkedReader:
    """Reads one chunked body.

    ``feed`` returns the body bytes in what arrived. When ``done``, ``rest`` holds what came after the body.
    Raises ``WireError`` (``BAD_FRAMING``) at the first byte that breaks the rules.
    """

    __slots__ = ("_extensions", "_held", "_left", "_part", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._part = _SIZE
        self._left = 0
        self._held = b""
        self._extensions = 0
        self._trailers = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Body bytes in ``data`` (may be empty)."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            if self._part is _DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._part = _DATA_END
                continue
            advanced = self._read_line(data, position)
            if advanced == position:
                self._held = data[position:]
                break
            position = advanced
        if self.done:
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, data: bytes, position: int) -> int:
        """Read one of the lines around data; the position after it, or the same where it has not ended yet."""
        if self._part is _DATA_END:
            return self._read_data_end(data, position)
        bound = MAX_CHUNK_LINE if self._part is _SIZE else MAX_TRAILERS
        end = data.find(b"\r\n", position, position + bound + 2)
        if end < 0:
            # A bare LF can never become part of a valid line: say so now rather than wait for more.
            unfinished = len(data) - position - data.endswith(b"\r")
            if unfinished > bound or data.find(b"\n", position) >= 0:
                raise WireError(Fault.BAD_FRAMING, "A line between chunks is not well-formed.")
            return position
        if self._part is _SIZE:
            self._read_size(data, position, end)
        else:
            self._read_trailer(data, position, end)
        return end + 2

    def _read_data_end(self, data: bytes, position: int) -> int:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._part = _SIZE
            return position + 2
        if end == b"\r":
            return position
        raise WireError(Fault.BAD_FRAMING, "A chunk is longer than its size says.")

    def _read_size(self, data: bytes, position: int, end: int) -> None:
        line = CHUNK_LINE.fullmatch(data, position, end)
        if line is None:
            raise WireError(Fault.BAD_FRAMING, "A chunk size is not well-formed.")
        self._extensions += end - line.end(1)
        if self._extensions > MAX_EXTENSIONS:
            raise WireError(Fault.BAD_FRAMING, "The chunk extensions are too long.")
        self._left = int(line[1], 16)
        self._part = _DATA if self._left else _TRAILERS

    def _read_trailer(self, data: bytes, position: int, end: int) -> None:
        if position == end:
            self.done = True
            return
        self._trailers += end - position
        if self._trailers > MAX_TRAILERS or TRAILER.fullmatch(data, position, end) is None:
            raise WireError(Fault.BAD_FRAMING, "A trailer field is not well-formed, or there are too many.")
