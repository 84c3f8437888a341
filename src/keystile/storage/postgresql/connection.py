"""One connection to a PostgreSQL database, made anew when it was lost.

Law: this file knows psycopg and no table. Every question has an end: one that the server does not answer within
``PATIENCE`` is cut off with its connection, wherever the server or the network has stopped.

Why psycopg and not asyncpg: no request waits for this connection, so there is nothing that the faster one could make
faster; libpq reads the addresses, TLS options and password files that operators of PostgreSQL know; and it is typed.

A question goes on when whoever asked is cancelled, as with SQLite: nobody waits for its answer then, and what comes
after it on this connection (a roll-back, say) waits for its end.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncRawCursor

from keystile.storage.asking import Row
from keystile.storage.doorbell import LOCK_TIMEOUT
from keystile.storage.errors import StoreUnreadable, unreadable
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.faults import told_by
from keystile.storage.postgresql.placeholders import translated
from keystile.storage.settled import settled

PATIENCE = 15.0
"""Seconds that a question may take."""
SCHEMA: Final = "keystile"
KEYS, ACCESS, USES, MIGRATION = 1, 2, 3, 4
"""Whose turn it is, over all hosts: to change keys; what lets people in; to note uses; the schema."""
LOCK_SPACE: Final = 0x4B53544C
_SHUT_BOTH: Final = 2  # SHUT_RDWR
_libc = ctypes.CDLL(None)
_SESSION: Final = f"""SET search_path = {SCHEMA}, pg_temp; SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s'; SET client_min_messages = 'warning'"""
T = TypeVar("T")


class Connection:
    """A connection with these settings (SQL), made when first used.

    ``lock``: what changes something takes its turn by it, over all hosts, and waits ``lock_timeout`` seconds for that.
    ``repeats``: a question that found the connection lost is asked again on a new one; for those who only read.
    """

    def __init__(
        self,
        database: Database,
        *settings: str,
        lock: int | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        repeats: bool = False,
    ) -> None:
        self.database = database
        self._settings = "; ".join((_SESSION, *settings))
        self._repeats = repeats
        self._lock = lock
        self._begin_by = "BEGIN"
        if lock is not None:
            wait = f"SET LOCAL lock_timeout = {max(1, round(lock_timeout * 1000))}"
            turn = f"SELECT pg_advisory_xact_lock({LOCK_SPACE}, {lock})"
            if lock == USES:
                # No key goes while its use is noted, and neither waits for a row that the other holds.
                turn += f"; SELECT pg_advisory_xact_lock_shared({LOCK_SPACE}, {KEYS})"
            self._begin_by = f"BEGIN; {wait}; {turn}; SET LOCAL lock_timeout = 0"
        self._alone = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._begun = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connection: psycopg.AsyncConnection[Row] | None = None

    @property
    def place(self) -> str:
        """The database, as a URL without a password."""
        return str(self.database)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as anybody has noticed."""
        return self._connection is not None and not self._connection.closed

    async def ask(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one statement; outside of a transaction one that changes something is one by itself."""
        return await self._apart(self._fetch(sql, values) if self._begun else self._by_itself(sql, values))

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of the rows; within a transaction."""
        await self._apart(self._run_many(sql, list(rows)))

    async def begin(self) -> None:
        """Begin to write, when it is our turn."""
        await self._apart(self._begin())
        self._begun = True

    async def commit(self) -> None:
        """Commit. When it fails by the way to the database, nobody can say whether it happened."""
        self._begun = False
        await self._apart(self._commit())

    async def roll_back(self) -> None:
        """Undo the transaction, if there is one, even when the caller is being cancelled."""
        self._begun = False
        await settled(self._roll_back())

    async def renew(self) -> None:
        """Connect where there is no connection; not for the middle of a transaction."""
        if not self.is_open:
            await self._apart(self._connect())

    async def listen(self, channel: str) -> None:
        """Be told of notifications of ``channel`` from now on."""
        await self.ask(f"LISTEN {channel}")

    async def notified(self, within: float) -> bool:
        """Wait for a notification for so many seconds; say whether there was one. Raises StoreError when lost."""
        with told_by(self.database):
            found = [each async for each in self._opened().notifies(timeout=within, stop_after=1)]
        return bool(found)

    def cut(self) -> None:
        """End it from our side: whoever waits for it hears that it is lost, though the server says nothing."""
        if self.is_open:
            _libc.shutdown(self._opened().fileno(), _SHUT_BOTH)

    async def close(self) -> None:
        """Close; the next use opens again."""
        await settled(self._close())

    # What a task of its own does

    async def _apart(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """Whoever still waits for it hears of a fault; where nobody does, nobody has to."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _by_itself(self, sql: str, values: Sequence[object]) -> list[Row]:
        async with self._alone:
            if self._lock is None or sql.startswith("SELECT"):
                return await self._asked_again(sql, values)
            await self._begin()
            try:
                found = await self._fetch(sql, values)
            except BaseException:
                await self._undo()
                raise
            await self._commit()
            return found

    async def _asked_again(self, sql: str, values: Sequence[object]) -> list[Row]:
        had = self.is_open
        try:
            return await self._fetch(sql, values)
        except StoreUnreadable:
            if not (self._repeats and had and not self.is_open):
                raise
            return await self._fetch(sql, values)

    async def _fetch(self, sql: str, values: Sequence[object]) -> list[Row]:
        await self._connect()
        with told_by(self.database), self._bounded():
            cursor = await self._opened().execute(translated(sql), values or None)
            return await cursor.fetchall() if cursor.description else []

    async def _run_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with told_by(self.database), self._bounded():
            await self._opened().cursor().executemany(translated(sql), rows)

    async def _begin(self) -> None:
        """Once more on a new connection where the old one was lost while nobody looked: nothing has happened yet."""
        had = self.is_open
        try:
            await self._begin_once()
        except StoreUnreadable:
            if not had or self.is_open:
                raise
            await self._begin_once()

    async def _begin_once(self) -> None:
        await self._connect()
        try:
            with told_by(self.database), self._bounded():
                await self._opened().execute(self._begin_by.encode())
        except BaseException:
            await self._undo()
            raise

    async def _commit(self) -> None:
        with told_by(self.database), self._bounded():
            cursor = await self._opened().execute("COMMIT")
            if cursor.statusmessage != "COMMIT":
                raise unreadable(self.place, "a change that had failed was to be committed")

    async def _roll_back(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._undo()

    async def _undo(self) -> None:
        """A connection that cannot even do that is closed, which does it too."""
        if not self.is_open or self._opened().info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            return
        try:
            with self._bounded():
                await self._opened().execute("ROLLBACK")
        except psycopg.Error:
            await self._opened().close()

    async def _close(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> None:
        async with self._connecting:
            if not self.is_open:
                await self._connect_anew()

    async def _connect_anew(self) -> None:
        parameters: dict[str, Any] = dict(self.database.parameters())
        # Nothing is prepared: a schema that is brought up under us would make what was prepared wrong.
        settings: dict[str, Any] = {"autocommit": True, "cursor_factory": AsyncRawCursor, "prepare_threshold": None}
        with told_by(self.database):
            made = await psycopg.AsyncConnection[Row].connect("", **settings, **parameters)
            try:
                await made.execute(self._settings.encode())
            except BaseException:
                await made.close()
                raise
        self._connection = made

    def _opened(self) -> psycopg.AsyncConnection[Row]:
        assert self._connection is not None
        return self._connection

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        cutting = asyncio.get_running_loop().call_later(PATIENCE, self.cut)
        try:
            yield
        finally:
            cutting.cancel()
