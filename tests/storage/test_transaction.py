from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from keystile.keys.key import Account, ApiKey
from keystile.keys.networks import EVERYWHERE
from keystile.keys.secret import mark
from keystile.storage.store import Store
from tests.storage.engines import Engine

ACCOUNT = Account("a", "ann@x.org", False, 0.0)
KEY = ApiKey("k", "a", "ann@x.org", "main", "00001", frozenset({"A"}), EVERYWHERE, None, 0.0, False)
DIGESTS = [bytes([number]) * 32 for number in range(4)]


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        async with store.change() as tx:
            await tx.add_account(ACCOUNT)
            await tx.add_key(KEY, DIGESTS[0])
        yield store


async def digests(store: Store) -> list[tuple[object, ...]]:
    return await store._reads.ask("SELECT digest, hint, until FROM digests ORDER BY until IS NOT NULL")


async def test_a_transaction_sees_what_it_has_done(store: Store) -> None:
    async with store.change() as tx:
        await tx.add_key(replace(KEY, id="l", name="other"), DIGESTS[1])
        assert await tx.count_keys("a") == 2
        assert await tx.knows_digest(DIGESTS[1])
        assert not await tx.knows_digest(DIGESTS[2])
        assert await tx.account("ann@x.org") == await tx.account_by_id("a") == ACCOUNT
        assert await tx.account_by_id("ann@x.org") is None


async def test_a_digest_is_replaced_at_once_or_kept_for_a_while(store: Store) -> None:
    async with store.change() as tx:
        await tx.replace_digest(replace(KEY, hint="00002", old_until=50.0), DIGESTS[1])
    assert await digests(store) == [(DIGESTS[1], "00002", None), (DIGESTS[0], "00001", 50.0)]
    async with store.change() as tx:
        await tx.replace_digest(replace(KEY, hint="00003", old_until=60.0), DIGESTS[2])
    assert await digests(store) == [(DIGESTS[2], "00003", None), (DIGESTS[1], "00002", 60.0)]
    async with store.change() as tx:
        await tx.replace_digest(replace(KEY, hint="00004"), DIGESTS[3])
    assert await digests(store) == [(DIGESTS[3], "00004", None)]


async def test_a_digest_opens_its_own_key_while_it_is_good(store: Store) -> None:
    async with store.change() as tx:
        await tx.add_key(replace(KEY, id="l", name="other"), DIGESTS[2])
        await tx.replace_digest(replace(KEY, hint="00002", old_until=50.0), DIGESTS[1])
        opened = [await tx.opens("k", digest, now) for digest in DIGESTS for now in (49.9, 50.0)]
    assert opened == [True, False, True, True, False, False, False, False]


async def test_nothing_of_a_removed_account_remains(store: Store) -> None:
    await store.record_uses([("k", 1.0, "192.0.2.1", mark(DIGESTS[0]))])
    async with store.change() as tx:
        await tx.remove_account("a")
    for table in ("accounts", "keys", "digests", "last_uses", "secret_uses"):
        assert await store._reads.ask(f"SELECT * FROM {table}") == []


async def test_a_rule_that_was_forgotten_is_held_by_the_schema(store: Store, engine: Engine) -> None:
    async def add(key: ApiKey, digest: bytes) -> None:
        async with store.change() as tx:
            await tx.add_key(key, digest)

    other = replace(KEY, id="l", name="other")
    for key, digest in (
        (replace(other, name="main"), DIGESTS[1]),
        (other, DIGESTS[0]),
        (other, b"too short"),
        (replace(other, account_id="nobody"), DIGESTS[1]),
    ):
        with pytest.raises(engine.broken_rule):
            await add(key, digest)
    assert len(await store.keys()) == 1
    await add(other, DIGESTS[1])
