from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keystile.keys.service import KeyService
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore
from tests.soak.changes import NETWORK, Changer, Changes, check
from tests.soak.gateway import ACCOUNT

BY: dict[str, Any] = {"actor": "soak", "origin": "127.0.0.1"}


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """With the keys w-kept and w-edited, and one that was deleted."""
    path = tmp_path / "keystile.db"
    async with await SqliteStore.open(path) as opened:
        service = KeyService(opened)
        await service.create_account(ACCOUNT, **BY)
        for name in ("w-kept", "w-edited", "w-gone"):
            await service.create(ACCOUNT, name, **BY)
        await service.edit(ACCOUNT, "w-edited", networks=[NETWORK], **BY)
        await service.delete(ACCOUNT, "w-gone", **BY)
    await (await Passwords.open(path)).close()
    return path


def answered(store: Path) -> Changes:
    """All as it is there; the secret of w-kept is SECRET."""
    with closing(sqlite3.connect(store)) as opened, opened:
        (key,) = opened.execute("SELECT id FROM keys WHERE name = 'w-kept'").fetchone()
        digest = hashlib.sha256(b"SECRET").digest()
        opened.execute("UPDATE digests SET digest = ? WHERE key_id = ?", (digest, key))
    return Changes(there={"w-kept": "SECRET"}, gone={"w-gone"})


def test_what_is_there_as_it_was_answered_is_no_fault(store: Path) -> None:
    assert list(check(store, answered(store))) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda found: found.there.update({"w-lost": "SECRET"}), "w-lost was answered as made, and is not there"),
        (lambda found: found.there.update({"w-edited": "SECRET"}), "w-edited was answered as made, and is not there"),
        (lambda found: found.edited.add("w-kept"), "w-kept was answered as edited, and is not"),
        (lambda found: found.gone.add("w-kept"), "w-kept was answered as deleted, and is there"),
    ],
)
def test_what_was_answered_and_is_not_there_would_be_noticed(
    store: Path, spoil: Callable[[Changes], object], said: str
) -> None:
    found = answered(store)
    spoil(found)
    assert list(check(store, found)) == [said]


@pytest.mark.parametrize(
    "half",
    [
        "DELETE FROM audit WHERE key_name = 'w-kept'",
        "DELETE FROM audit WHERE key_name = 'w-gone' AND what = 'key.deleted'",
        "DELETE FROM audit WHERE key_name = 'w-edited' AND what = 'key.edited'",
        "DELETE FROM keys WHERE name = 'w-edited'",
        "UPDATE keys SET networks = '' WHERE name = 'w-edited'",
        "PRAGMA foreign_keys = OFF; DELETE FROM accounts",
    ],
)
def test_what_is_there_by_half_would_be_noticed(store: Path, half: str) -> None:
    found = answered(store)
    with closing(sqlite3.connect(store)) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("DROP TRIGGER audit_is_not_deleted")
        opened.executescript(half)
    assert list(check(store, found))


async def test_a_change_without_an_answer_may_have_happened() -> None:
    found = Changes(there={"a": "SECRET"})

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    changer = Changer(server.sockets[0].getsockname()[1], b"", 1, found)
    assert not await changer._create("b")
    await changer._delete("a")
    assert (found.there, found.gone, found.unknown) == ({}, set(), 2)
    server.close()
