"""What batches of uses and of sums leave in a store, however an engine writes them: row by row, or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.keys.store import UsageSum, Use
from keystile.storage.asking import Row
from keystile.storage.postgresql.tables import KEYS_TABLES
from keystile.storage.store import Store
from tests.storage.engines import Engine, PostgresEngine, SqliteEngine
from tests.storage.postgres_server import Server

TABLES = {table.name: table for table in KEYS_TABLES}
NOTED = ("last_uses", "secret_uses", "usage")
ONE, TWO, ALIKE, GONE = "key with one secret", "key with two", "another, whose two begin alike", "key that is gone"


def secret(start: str) -> bytes:
    """A digest that begins so (hexadecimal)."""
    return bytes.fromhex(start.ljust(64, "7"))


FIRST, SECOND = secret("a1"), secret("b2")
LIKE_THIS, LIKE_THAT = secret("c30001"), secret("c30002")
KEYS = {ONE: [secret("d4")], TWO: [SECOND, FIRST], ALIKE: [LIKE_THAT, LIKE_THIS]}
"""The current secret of each, and the old one."""


def mark(digest: bytes, length: int = 16) -> str:
    return digest[:length].hex()


def fill(engine: Engine) -> None:
    """Write an account and its keys."""

    def add(name: str, *row: Any) -> None:
        flags = isinstance(engine, PostgresEngine)
        engine.run(TABLES[name].writing, TABLES[name].as_flags(row) if flags else row)

    add("accounts", "a", "ann@x.org", 0, 0.0)
    for number, (key, digests) in enumerate(KEYS.items()):
        add("keys", key, "a", f"k{number}", "", "", None, 0.0, 1)
        for digest, until in zip(digests, (None, 5000.0), strict=False):
            add("digests", digest, key, "12345", 0, until)


async def noted(store: Store) -> dict[str, list[Row]]:
    """What has been noted."""
    return {name: await store._reads.ask(TABLES[name].reading) for name in NOTED}


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        fill(engine)
        yield store


async def test_of_a_key_twice_in_one_batch_the_latest_use_is_kept_and_of_two_at_once_the_first(store: Store) -> None:
    uses = [(ONE, 50.0, "192.0.2.1", ""), (TWO, 60.0, "192.0.2.2", ""), (ONE, 60.0, "192.0.2.3", "")]
    uses += [(ONE, 60.0, "192.0.2.4", ""), (ONE, 55.0, "192.0.2.5", ""), (TWO, 60.0, "192.0.2.6", "")]
    await store.record_uses(uses)
    assert (await noted(store))["last_uses"] == [(ONE, 60.0, "192.0.2.3"), (TWO, 60.0, "192.0.2.2")]
    await store.record_uses([(ONE, 60.0, "192.0.2.7", ""), (TWO, 59.0, "192.0.2.7", ""), (TWO, 61.0, "192.0.2.8", "")])
    assert (await noted(store))["last_uses"] == [(ONE, 60.0, "192.0.2.3"), (TWO, 61.0, "192.0.2.8")]


async def test_of_a_secret_twice_in_one_batch_the_latest_use_is_kept_and_of_two_at_once_the_first(
    store: Store,
) -> None:
    """By one mark, and by two of which one is the beginning of the other."""
    for short in (16, 2):
        uses = [(TWO, 50.0, "192.0.2.1", mark(FIRST)), (TWO, 60.0, "192.0.2.2", mark(FIRST, short))]
        uses += [(TWO, 60.0, "192.0.2.3", mark(FIRST)), (TWO, 55.0, "192.0.2.4", mark(FIRST))]
        await store.record_uses(uses)
        assert (await noted(store))["secret_uses"] == [(FIRST, 60.0, "192.0.2.2")]


async def test_a_use_is_noted_of_every_secret_of_its_key_that_its_mark_fits_and_of_no_other_keys(
    store: Store,
) -> None:
    uses = [(ALIKE, 50.0, "192.0.2.1", "c3"), (ALIKE, 60.0, "192.0.2.2", mark(LIKE_THAT)), (TWO, 70.0, "::1", "c3")]
    await store.record_uses([*uses, (ONE, 80.0, "::1", mark(FIRST)), (GONE, 80.0, "::1", mark(FIRST))])
    assert (await noted(store))["secret_uses"] == [(LIKE_THIS, 50.0, "192.0.2.1"), (LIKE_THAT, 60.0, "192.0.2.2")]


async def test_sums_of_one_place_twice_in_one_batch_are_both_added(store: Store) -> None:
    sums = [(ONE, 5, "", 2), (ONE, 5, "", 3), (ONE, 6, "", 1), (ONE, 5, "key-expired", 1), (GONE, 5, "", 4)]
    expected = [(ONE, 5, "", 5), (ONE, 5, "key-expired", 1), (ONE, 6, "", 1)]
    await store.record_usage(sums)
    assert (await noted(store))["usage"] == expected
    await store.record_usage(sums)
    assert (await noted(store))["usage"] == [(*place, 2 * requests) for *place, requests in expected]


async def test_numbers_of_any_size_and_whole_seconds_go_in_with_others(store: Store) -> None:
    await store.record_uses([(ONE, 5, "192.0.2.1", mark(FIRST)), (TWO, 5.5, "192.0.2.2", mark(FIRST))])
    await store.record_usage([(ONE, 5, "", 1), (TWO, 500_000, "", 2**40), (ONE, 6, "", 2**62)])
    assert await noted(store) == {
        "last_uses": [(ONE, 5.0, "192.0.2.1"), (TWO, 5.5, "192.0.2.2")],
        "secret_uses": [(FIRST, 5.5, "192.0.2.2")],
        "usage": [(ONE, 5, "", 1), (ONE, 6, "", 2**62), (TWO, 500_000, "", 2**40)],
    }


async def test_texts_go_in_as_they_are(store: Store) -> None:
    odd = ["{}", 'a"b', "a,b", "NULL", "", "\\", "é", "'; --"]
    await store.record_usage([(ONE, 5, why, 1) for why in odd] + [(why, 5, "", 1) for why in odd])
    assert sorted(why for _, _, why, _ in (await noted(store))["usage"]) == sorted(odd)
    await store.record_uses([(ONE, float(at), address, "") for at, address in enumerate(odd)])
    assert (await noted(store))["last_uses"] == [(ONE, 7.0, "'; --")]


async def test_batches_without_anything_in_them_and_of_gone_keys_only_leave_nothing(store: Store) -> None:
    await store.record_uses([])
    await store.record_usage([])
    await store.record_uses([(GONE, 5.0, "192.0.2.1", mark(FIRST))])
    await store.record_usage([(GONE, 5, "", 1)])
    assert await noted(store) == {name: [] for name in NOTED}


async def test_a_mark_that_is_none_leaves_nothing_of_its_batch(store: Store) -> None:
    for wrong in ("a", "no", "00" * 33):
        with pytest.raises(ValueError, match=r"hexadecimal|negative"):
            await store.record_uses([(TWO, 5.0, "192.0.2.1", mark(FIRST)), (TWO, 6.0, "192.0.2.1", wrong)])
    assert await noted(store) == {name: [] for name in NOTED}


Batch = list[Use] | list[UsageSum]
MARKS = ["", "a1", "c3", "c30001", *(mark(each) for each in (FIRST, SECOND, LIKE_THIS, LIKE_THAT, *KEYS[ONE]))]
some_key = st.sampled_from([*KEYS, GONE])
some_use = st.tuples(
    some_key,
    st.sampled_from([1.0, 2.0, 2.0000000000000004, 3.0]),
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    st.sampled_from(MARKS),
)
some_sum = st.tuples(some_key, st.sampled_from([5, 6]), st.sampled_from(["", "key-expired"]), st.integers(0, 2**40))
batches = st.lists(st.one_of(st.lists(some_use, max_size=12), st.lists(some_sum, max_size=12)), max_size=5)


@dataclass(frozen=True)
class Both:
    """The same keys in each engine."""

    runner: asyncio.Runner
    stores: Sequence[Store]

    async def after(self, wanted: Sequence[Batch]) -> list[dict[str, list[Row]]]:
        """What each engine holds when these have been written."""
        found = []
        for store in self.stores:
            async with store._noted() as connection:
                for name in NOTED:
                    await connection.ask(f"DELETE FROM {name}")
            for batch in wanted:
                await self._write(store, batch)
            found.append(await noted(store))
        return found

    @staticmethod
    async def _write(store: Store, batch: Batch) -> None:
        if batch and isinstance(batch[0][3], int):
            await store.record_usage(batch)
        else:
            await store.record_uses(batch)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    engines: list[Engine] = [SqliteEngine(folder / "keystile.db")]
    engines.append(PostgresEngine(postgres.database(), folder / "keystile-mirror.db"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stores = [runner.run(_opened(engine)) for engine in engines]
        yield Both(runner, stores)
        for store in stores:
            runner.run(store.close())


async def _opened(engine: Engine) -> Store:
    store = await engine.open()
    fill(engine)
    return store


@settings(max_examples=60)
@given(batches)
def test_both_engines_hold_the_same_after_the_same_batches(both: Both, wanted: list[Batch]) -> None:
    ours, theirs = both.runner.run(both.after(wanted))
    assert ours == theirs
