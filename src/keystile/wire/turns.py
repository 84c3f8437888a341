"""Taking turns: a connection whose bytes come as fast as they are read lets the others go first.

Law: libuv reads a ready socket up to 32 times before it looks at another (``uv__read`` in its ``unix/stream.c``), and
uvloop 256,000 bytes each time. So one fast upload would have eight megabytes of every turn of the loop: 26 ms in which
nobody else is served, and which look like overload (measured, docs/performance.md). Reading that is paused while a read
is handed over ends libuv's row of reads; it goes on in the next turn, after everybody else.
"""

from __future__ import annotations

from asyncio import Transport, get_running_loop
from typing import Final, Protocol

#: A read of so many bytes has filled uvloop's buffer, and more may wait; a shorter one ends the row itself. Its TLS
#: hands over a little less than it has read.
LONG_READ: Final = 240_000
#: Long reads in a row, a megabyte together. One body after the other costs less than all a little at a time.
ROW: Final = 4


class Reader(Protocol):
    """What reads from a transport.

    ``deaf``: it does not want to read at present. ``row``: its long reads since it last let others go first.
    """

    deaf: bool
    row: int


def long_read(reader: Reader, transport: Transport) -> None:
    """To be told of each, before what was read is used: that may end the transport."""
    reader.row += 1
    if reader.row >= ROW:
        reader.row = 0
        transport.pause_reading()
        get_running_loop().call_soon(_go_on, reader, transport)


def _go_on(reader: Reader, transport: Transport) -> None:
    if not reader.deaf and not transport.is_closing():
        transport.resume_reading()
