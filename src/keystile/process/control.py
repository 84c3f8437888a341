"""The control socket: how ``keystile status`` asks a running gateway, and how a second one is kept away.

Law: a Unix socket beside the store (``<store>.control``, 0600) on which the supervisor answers every
connection with one JSON object and closes. Whoever connects may say ``reload``, or ``diff`` and the path of a file
to be compared with what is in force; else they only look. Only the owner of the store (and root) can connect.
Whether a gateway runs is decided by a file lock (``<store>.running``), which ends with its holder however
that ends; a socket file without a holder is a leftover and is replaced.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
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

    def __init__(self, store: Path) -> None:
        self._path = control_path(store)
        self._lock = _lock_of(store)
        self._server: asyncio.Server | None = None

    async def start(self, status: Callable[[], dict[str, Any]], reload: Answer, compare: Compare) -> None:
        """Answer from now on, with what ``status`` says then, or what comes of ``reload`` or ``compare``."""

        async def told(word: bytes, what: bytes) -> dict[str, Any]:
            if word == b"diff":
                return await compare(os.fsdecode(what))
            return await reload() if word == b"reload" else status()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            word, _, what = (await _word(reader)).partition(b" ")
            await _answer(writer, await told(word, what))

        self._server = await asyncio.start_unix_server(answer, sock=unix.bound(self._path))

    def close(self) -> None:
        """Answer no more, and let another gateway have the store."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        os.close(self._lock)


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
