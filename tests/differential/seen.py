"""What one proxy did with one row: what came out at its other end, what it answered, and whether it closed.

Law: plain facts, read leniently and without the code under test, since other proxies frame in their own ways.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass

#: Seconds without a byte after which nothing more is expected.
QUIET = 0.35
#: Seconds for one row, whatever happens.
LONGEST = 3.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LINE = re.compile(rb"([^\r\n ]+ [^\r\n]*) HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True)
class Seen:
    """``reached``: method and target of every request that the upstream received; ``statuses``: of the answers."""

    reached: tuple[str, ...]
    statuses: tuple[int, ...]
    closed: bool

    def __str__(self) -> str:
        answers = " ".join(map(str, self.statuses)) or "no answer"
        through = ", ".join(_short(line) for line in self.reached) or "nothing"
        return f"{answers}{', closed' if self.closed else ''}: {through}"


def _short(line: str) -> str:
    line = line.replace("|", "\\|").replace("`", "'")
    return f"`{line}`" if len(line) <= 40 else f"`{line[:37]}…`"


class Recorder:
    """An upstream that answers every request alike and keeps what it was sent, connection by connection."""

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def forget(self) -> None:
        """Begin anew; connections that are open go on into a list of nobody."""
        self.received = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: bytearray | None = None
        owner: list[bytearray] | None = None
        answered = 0
        with suppress(OSError):
            while data := await reader.read(65536):
                if owner is not self.received or mine is None:
                    owner, mine, answered = self.received, bytearray(), 0
                    owner.append(mine)
                mine += data
                whole = len(requests_in(bytes(mine)))
                writer.write(OK * (whole - answered))
                answered = whole
        writer.close()


def requests_in(data: bytes) -> list[str]:
    """Method and target of each request in what an upstream received, read as a usual server would."""
    found: list[str] = []
    while (end := data.find(b"\r\n\r\n")) >= 0:
        line = _LINE.match(data)
        found.append(line[1].decode("latin-1") if line else "?")
        head, data = data[: end + 2].lower(), data[end + 4 :]
        if re.search(rb"\r\ntransfer-encoding:[^\r]*chunked", head):
            behind = _behind_chunks(data)
            if behind is None:
                found.pop()
                break
            data = behind
        elif length := re.search(rb"\r\ncontent-length: *(\d+)", head):
            size = int(length[1].lstrip(b"0")[:18] or b"0")
            if len(data) < size:
                found.pop()
                break
            data = data[size:]
    return found


def _behind_chunks(data: bytes) -> bytes | None:
    while (end := data.find(b"\r\n")) >= 0:
        size = re.match(rb"[0-9A-Fa-f]+", data)
        if size is None:
            return None
        length = int(size[0], 16)
        if not length:
            trailers = data[end:].find(b"\r\n\r\n")
            return data[end + trailers + 4 :] if trailers >= 0 else None
        data = data[end + length + 4 :]
    return None


def statuses_in(data: bytes) -> tuple[int, ...]:
    """The final statuses in what a client received."""
    found = [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3})[ \r]", data)]
    return tuple(status for status in found if status >= 200)


async def look(port: int, sent: bytes, recorder: Recorder) -> Seen:
    """Send a row's bytes to a proxy and see what becomes of them."""
    recorder.forget()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    received, closed = b"", False
    with suppress(OSError):
        writer.write(sent)
    loop = asyncio.get_running_loop()
    give_up = loop.time() + LONGEST
    while loop.time() < give_up:
        try:
            data = await asyncio.wait_for(reader.read(65536), QUIET if received else 2 * QUIET)
        except TimeoutError:
            break
        except OSError:
            closed = True
            break
        if not data:
            closed = True
            break
        received += data
    writer.transport.abort()
    await asyncio.sleep(0.03)
    reached = tuple(line for connection in recorder.received for line in requests_in(bytes(connection)))
    return Seen(reached, statuses_in(received), closed)
