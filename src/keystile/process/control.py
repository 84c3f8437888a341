"""The control socket: how ``keystile status`` asks a running gateway, and how a second one is kept away.

Law: a Unix socket beside the store (``<store>.control``, 0600) on which the supervisor answers every
connection with one JSON object and closes. Whoever connects may say one word: ``reload``, ``diff`` and the path of a
file to be compared with what is in force, or ``upgrade``, whose answer may come from the program that is executed in
this one's place (``upgrade.py``); else they only look. Only the owner of the store (and root) can connect.
Whether a gateway runs is decided by a file lock (``<store>.running``), which ends with its holder however
that ends; a socket file without a holder is a leftover and is replaced.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from keystile.process.log import log
from keystile.wire import unix

TIMEOUT = 5.0
"""Seconds that ``ask`` waits for an answer, and the supervisor for the word."""
RELOADED_WITHIN = 60.0
"""Seconds that ``ask_to_reload`` waits."""
LONGEST_WORD = 16 * 1024
"""Bytes of what may be said: a word and a path."""
UPGRADED_WITHIN = 180.0
"""Seconds that ``ask_to_upgrade`` waits."""
PAUSED_WITHIN = 1.0
"""Seconds that questions have to be answered before this program is replaced."""
Answer = Callable[[], Awaitable[dict[str, Any]]]
Compare = Callable[[str], Awaitable[dict[str, Any]]]


class AlreadyRunning(Exception):
    """Another gateway runs on the same store."""


class NotRunning(Exception):
    """No gateway runs on this store (or it does not answer)."""


def control_path(store: Path) -> Path:
    """Where the socket of the gateway on this store lies."""
    return unix.beside(store, "control")


class Control:
    """The supervisor's side. Raises AlreadyRunning, or OSError where the store's directory is none."""

    def __init__(self, store: Path, handed: tuple[int, int] | None = None) -> None:
        """``handed``: lock and socket, where this process has them from before an upgrade."""
        self._path = control_path(store)
        self._lock = _lock_of(store) if handed is None else handed[0]
        self._socket = None if handed is None else socket.socket(fileno=handed[1])
        self._server: asyncio.Server | None = None
        self._asking = 0

    async def start(
        self,
        status: Callable[[], dict[str, Any]],
        reload: Answer,
        compare: Compare,
        upgrade: Callable[[int], Awaitable[dict[str, Any]]],
    ) -> None:
        """Answer from now on: with what ``status`` says then, or what comes of ``reload``, ``compare`` or ``upgrade``.

        ``upgrade`` is given the connection, which it may answer itself in the end.
        """

        async def told(word: bytes, what: bytes) -> dict[str, Any]:
            if word == b"diff":
                return await compare(os.fsdecode(what))
            return await reload() if word == b"reload" else status()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._asking += 1
            try:
                word, _, what = (await _word(reader)).partition(b" ")
                if word != b"upgrade":
                    await _answer(writer, await told(word, what))
            finally:
                self._asking -= 1
            if word == b"upgrade":  # ``pause`` does not wait for this answer, which may be the next program's
                await _answer(writer, await upgrade(writer.get_extra_info("socket").fileno()))

        self._answer = answer
        await self.go_on()

    async def go_on(self) -> None:
        """Answer (again), unless it has been closed meanwhile."""
        if self._lock < 0:
            return
        if self._socket is None:
            self._socket = unix.bound(self._path)
            self._socket.listen()
        self._server = await asyncio.start_unix_server(self._answer, sock=self._socket.dup())

    async def pause(self) -> None:
        """Accept nobody, who then waits; returns when those who have asked are answered, or have taken too long."""
        if self._server is not None:
            self._server.close()
        give_up = time.monotonic() + PAUSED_WITHIN
        while self._asking and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def handed(self) -> dict[str, Any]:
        """Its part of ``handover.Files``."""
        assert self._socket is not None
        return {"lock": self._lock, "control": self._socket.fileno()}

    def close(self) -> None:
        """Answer no more, and let another gateway have the store."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._socket is not None:
            self._socket.close()
        os.close(self._lock)
        self._lock = -1


async def _word(reader: asyncio.StreamReader) -> bytes:
    """The word that was said; empty where none comes."""
    try:
        return (await asyncio.wait_for(reader.read(LONGEST_WORD), TIMEOUT)).strip()
    except (OSError, TimeoutError):
        return b""


async def _answer(writer: asyncio.StreamWriter, status: dict[str, Any]) -> None:
    try:
        writer.write(json.dumps(status).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), TIMEOUT)
    except (OSError, TimeoutError) as error:
        log(f"a question for the status was not answered: {error!r}")
    finally:
        writer.close()


def _lock_of(store: Path) -> int:
    store = store.resolve()
    fd = os.open(store.with_name(f"{store.name}.running"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise AlreadyRunning(f"another gateway is running on the store {store}") from None
    return fd


def ask(store: Path) -> dict[str, Any]:
    """The status of the gateway that runs on this store. Raises NotRunning."""
    return _ask(store, b"status", TIMEOUT)


def ask_to_reload(store: Path) -> dict[str, Any]:
    """Have the gateway on this store read its configuration: ``fault`` (or None), ``number``, ``changed``.

    Raises NotRunning.
    """
    return _ask(store, b"reload", RELOADED_WITHIN)


def ask_for_difference(store: Path, file: Path) -> dict[str, Any]:
    """What would change if the gateway on this store took ``file`` (``Watch.compare``). Raises NotRunning."""
    return _ask(store, b"diff " + os.fsencode(file.absolute()), RELOADED_WITHIN)


def ask_to_upgrade(store: Path) -> dict[str, Any]:
    """Have the gateway on this store upgraded: ``fault`` (or None), and what has become of its processes.

    Raises NotRunning.
    """
    return _ask(store, b"upgrade", UPGRADED_WITHIN)


def answer_on(connection: int, status: dict[str, Any]) -> None:
    """Answer a question that was asked before this program was executed; the connection is closed."""
    with socket.socket(fileno=connection) as opened:
        try:
            opened.settimeout(TIMEOUT)
            opened.sendall(json.dumps(status).encode() + b"\n")
            opened.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log(f"whoever asked for the upgrade does not listen any more: {error}")


def _ask(store: Path, word: bytes, patience: float) -> dict[str, Any]:
    chunks = []
    try:
        with unix.short(control_path(store)) as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(path)
            connection.sendall(word)
            while chunk := connection.recv(65536):
                chunks.append(chunk)
        status = json.loads(b"".join(chunks))
    except (OSError, ValueError) as error:
        raise NotRunning(f"no gateway answers for the store {store}") from error
    if not isinstance(status, dict):
        raise NotRunning(f"no gateway answers for the store {store}")
    return status
