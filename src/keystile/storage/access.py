"""Sessions, one-time links and management tokens, in the file of the passwords.

Law: rows and statements. No rule is checked here (``management/access.py``) and no secret is seen: whoever asks
hands in its SHA-256. What slows down attempts and what an API repeats lie in the same file (``attempts.py``,
``remembered.py``). Every time is in Unix seconds; every method may raise StoreError.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from keystile.storage.asking import Asking, Row
from keystile.storage.connection import Connection
from keystile.storage.doorbell import LOCK_TIMEOUT
from keystile.storage.errors import StoreError
from keystile.storage.passwords import passwords_of, prepared
from keystile.storage.turn import in_turn

log = logging.getLogger(__name__)
NOTES_PAUSE = 60.0
"""Seconds without another note after one that could not be kept."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in with a browser. ``id`` names it on pages and says nothing of its secret."""

    id: str
    account_id: str
    created: float
    seen: float
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class ManagementToken:
    """A credential for the management API. ``expires`` None: never. ``used_from`` is an IP address."""

    id: str
    account_id: str
    name: str
    hint: str
    created: float
    expires: float | None
    used_at: float | None = None
    used_from: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link; ``account_id`` '' makes the first operator, another sets that account's password."""

    account_id: str
    expires: float


_SESSION = "SELECT id, account_id, created, seen, address, agent FROM sessions"
_TOKEN = "SELECT id, account_id, name, hint, created, expires, used, used_from FROM tokens"
# Only while the password is the one that was looked at: a change meanwhile must not leave a session behind.
_ADD_SESSION = """INSERT INTO sessions (id, account_id, created, seen, address, agent, digest)
    SELECT ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM passwords WHERE account_id = ?2 AND version = ?8)
    RETURNING id"""
_SESSIONS_BEYOND = """DELETE FROM sessions WHERE account_id = ?1 AND id NOT IN
    (SELECT id FROM sessions WHERE account_id = ?1 ORDER BY seen DESC LIMIT ?2)"""
_ADD_TOKEN = """INSERT INTO tokens (id, account_id, name, hint, created, expires, digest)
    SELECT ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM tokens WHERE account_id = ?2) < ?8 RETURNING id"""


class AccessFile:
    """Where these rows lie: one writes at a time, readers see only what is committed."""

    def __init__(self, writes: Asking, reads: Asking, patience: float = LOCK_TIMEOUT) -> None:
        self._turn = asyncio.Lock()
        self._patience = patience
        self._notes_from = float("-inf")
        self._writes = writes
        self._reads = reads

    @classmethod
    def beside(cls, store: Path) -> AccessFile:
        """The file beside the store at ``store``."""
        path = passwords_of(store)
        return cls(Connection(path, "synchronous = FULL"), Connection(path, "query_only = ON"))

    async def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one statement."""
        await self._reads.renew()
        return await self._reads.ask(sql, values)

    async def write(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement by itself; return what it returns."""
        async with self._in_turn():
            await self._writes.renew()
            return await self._writes.ask(sql, values)

    async def note(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run one statement that keeps what is only good to know; that it cannot is logged, and no error.

        Whoever reads does not wait for those who write, nor again and again for a file that cannot be written: what
        is left out now is noted the next time.
        """
        if self._turn.locked() or time.monotonic() < self._notes_from:
            return
        try:
            await self.write(sql, values)
        except StoreError as error:
            self._notes_from = time.monotonic() + NOTES_PAUSE
            log.warning("who was here last cannot be noted for now: %s", error)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Asking]:
        """Return one transaction; raising in the block undoes all of it."""
        async with self._in_turn():
            try:
                await self._writes.begin()
                yield self._writes
                await self._writes.commit()
            except BaseException:
                await self._writes.roll_back()
                raise

    def _in_turn(self) -> AbstractAsyncContextManager[None]:
        return in_turn(self._turn, self._patience, self._writes.place)

    async def close(self) -> None:
        """Close both connections."""
        await self._writes.close()
        await self._reads.close()


class AccessStore:
    """Sessions, links and tokens. Make one with ``open``."""

    def __init__(self, file: AccessFile) -> None:
        self.file = file

    @classmethod
    async def open(cls, store: Path) -> AccessStore:
        """Open the file beside the store, making it (0600) or bringing it to this schema where needed."""
        await asyncio.to_thread(prepared, store)
        return cls(AccessFile.beside(store))

    async def close(self) -> None:
        """Close the file."""
        await self.file.close()

    # Sessions

    async def add_session(self, session: Session, digest: bytes, version: int, most: int) -> bool:
        """Keep a session and at most ``most`` of the account; False when the password is another by now."""
        row = (session.id, session.account_id, session.created, session.seen, session.address, session.agent)
        added = await self.file.write(_ADD_SESSION, (*row, digest, version))
        await self.file.write(_SESSIONS_BEYOND, (session.account_id, most))
        return bool(added)

    async def session(self, digest: bytes) -> Session | None:
        """Return the session of this secret's digest, as it is: whether it has ended is not looked at."""
        found = await self.file.read(f"{_SESSION} WHERE digest = ?", (digest,))
        return Session(*found[0]) if found else None

    async def sessions(self, account_id: str) -> tuple[Session, ...]:
        """Return the account's sessions, the last seen first."""
        found = await self.file.read(f"{_SESSION} WHERE account_id = ? ORDER BY seen DESC", (account_id,))
        return tuple(Session(*row) for row in found)

    async def see_session(self, session_id: str, at: float, address: str) -> None:
        """Note when and from where a session was last used; no error where that cannot be."""
        await self.file.note("UPDATE sessions SET seen = ?, address = ? WHERE id = ?", (at, address, session_id))

    async def end_session(self, session_id: str) -> None:
        """Forget a session; none is no error."""
        await self.file.write("DELETE FROM sessions WHERE id = ?", (session_id,))

    async def end_others(self, account_id: str, but: str) -> int:
        """Forget all sessions of the account but this one; return how many."""
        sql = "DELETE FROM sessions WHERE account_id = ? AND id != ? RETURNING id"
        return len(await self.file.write(sql, (account_id, but)))

    async def drop_sessions(self, created_before: float, seen_before: float) -> None:
        """Forget sessions that are over."""
        await self.file.write("DELETE FROM sessions WHERE created < ? OR seen < ?", (created_before, seen_before))

    # Links

    async def put_link(self, digest: bytes, link: Link, unless_good_at: float | None = None) -> bool:
        """Keep a link in place of an earlier one for the same account; False where that one stays, as it is good then.

        ``unless_good_at``: Unix seconds; None: in any case.
        """
        async with self.file.change() as connection:
            good = "SELECT 1 FROM links WHERE account_id = ? AND expires > ?"
            if unless_good_at is not None and await connection.ask(good, (link.account_id, unless_good_at)):
                return False
            await connection.ask("DELETE FROM links WHERE account_id = ?", (link.account_id,))
            values = (digest, link.account_id, link.expires)
            await connection.ask("INSERT INTO links (digest, account_id, expires) VALUES (?, ?, ?)", values)
        return True

    async def link(self, digest: bytes) -> Link | None:
        """Return the link of this token's digest, as it is: whether it is over is not looked at."""
        found = await self.file.read("SELECT account_id, expires FROM links WHERE digest = ?", (digest,))
        return Link(*found[0]) if found else None

    async def has_link_of(self, account_id: str) -> bool:
        """Whether there is a link of the account ('': the one that makes the first operator), over or not."""
        return bool(await self.file.read("SELECT 1 FROM links WHERE account_id = ?", (account_id,)))

    async def take_link(self, digest: bytes) -> bool:
        """Forget a link; only one who asks gets True."""
        return bool(await self.file.write("DELETE FROM links WHERE digest = ? RETURNING account_id", (digest,)))

    async def drop_links(self, now: float) -> None:
        """Forget links that are over."""
        await self.file.write("DELETE FROM links WHERE expires <= ?", (now,))

    async def drop_link_of(self, account_id: str) -> None:
        """Forget the account's link ('': the one that makes the first operator); none is no error."""
        await self.file.write("DELETE FROM links WHERE account_id = ?", (account_id,))

    # Tokens

    async def add_token(self, token: ManagementToken, digest: bytes, most: int) -> bool:
        """Keep a token; False when the account has ``most`` already."""
        row = (token.id, token.account_id, token.name, token.hint, token.created, token.expires)
        return bool(await self.file.write(_ADD_TOKEN, (*row, digest, most)))

    async def token(self, digest: bytes) -> ManagementToken | None:
        """Return the token of this secret's digest, as it is: whether it has expired is not looked at."""
        found = await self.file.read(f"{_TOKEN} WHERE digest = ?", (digest,))
        return ManagementToken(*found[0]) if found else None

    async def tokens(self, account_id: str) -> tuple[ManagementToken, ...]:
        """Return the account's tokens, the newest first."""
        found = await self.file.read(f"{_TOKEN} WHERE account_id = ? ORDER BY created DESC, id", (account_id,))
        return tuple(ManagementToken(*row) for row in found)

    async def use_token(self, token_id: str, at: float, address: str) -> None:
        """Note when and from where a token was last used; no error where that cannot be."""
        await self.file.note("UPDATE tokens SET used = ?, used_from = ? WHERE id = ?", (at, address, token_id))

    async def delete_token(self, account_id: str, token_id: str) -> bool:
        """Forget a token of the account; False when it has none of that id."""
        sql = "DELETE FROM tokens WHERE account_id = ? AND id = ? RETURNING id"
        return bool(await self.file.write(sql, (account_id, token_id)))

    async def delete_tokens(self, account_id: str) -> None:
        """Forget all tokens of the account."""
        await self.file.write("DELETE FROM tokens WHERE account_id = ?", (account_id,))
