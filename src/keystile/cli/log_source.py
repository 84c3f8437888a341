"""Lines of a log: from a stream, from a file, and from a file that is written, moved away and begun anew.

Law: bytes in, lines out, each with its end if it has one. What stands in them is not looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from keystile.cli.terminal import CommandFailed

LONGEST = 1 << 20
"""Bytes after which a line is cut, so that a file without any does not fill the memory."""
EVERY = 0.25
"""Seconds between two looks at a file that is followed."""


def of_stream(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of ``stream``, as they come."""
    return iter(lambda: stream.readline(LONGEST), b"")


def of_file(file: Path) -> Iterator[bytes]:
    """The lines that are there. Raises CommandFailed."""
    with _opened(file) as stream:
        yield from of_stream(stream)


def followed(file: Path, pause: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """The lines that are there, and those that will be, under whatever file has the name then. Raises CommandFailed."""
    stream = _opened(file)
    begun = b""  # a line of which the end has not been written yet
    try:
        while True:
            for piece in of_stream(stream):
                begun += piece
                if begun.endswith(b"\n") or len(begun) >= LONGEST:
                    line, begun = begun, b""
                    yield line
            newer = _newer(file, stream)
            if newer is None:
                pause(EVERY)
                continue
            # What was written to the old one between the last read and now is read before it is left.
            left, stream = stream, newer
            with left:
                yield from filter(None, (begun + left.readline(LONGEST), *of_stream(left)))
            begun = b""
    finally:
        stream.close()


def _newer(file: Path, stream: BinaryIO) -> BinaryIO | None:
    """The file that has the name now, where it is another one, or was cut; None while it is the same."""
    here = os.fstat(stream.fileno())
    try:
        there = file.stat()
        if os.path.samestat(here, there) and there.st_size >= stream.tell():
            return None
        return file.open("rb")
    except OSError:
        return None  # between two steps of a rotation


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise CommandFailed(f"{file}: cannot be read: {error.strerror}") from None
