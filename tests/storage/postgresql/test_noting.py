from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.secret import digest, mark
from keystile.keys.store import Use
from keystile.storage.asking import Row
from keystile.storage.postgresql.connection import Connection
from keystile.storage.postgresql.noting import added, latest
from keystile.storage.postgresql.store import PostgresStore
from tests.storage.engines import PostgresEngine
from tests.storage.ground import ANN, BY, writing

places = st.tuples(st.sampled_from("abc"), st.integers(5, 7), st.sampled_from(["", "key-expired"]))
uses = st.tuples(st.sampled_from("abc"), st.sampled_from([1.0, 2.0, 3.0]), st.text("12", max_size=2), st.just(""))


async def test_a_batch_is_as_many_statements_however_many_rows_it_has(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hosts note one after the other: what each asks within its turn keeps all others waiting."""
    asked: list[str] = []
    ask, many = Connection.ask, Connection.many

    async def count_ask(self: Connection, sql: str, values: Sequence[object] = ()) -> list[Row]:
        asked.append(sql)
        return await ask(self, sql, values)

    async def count_rows(self: Connection, sql: str, rows: Iterable[Sequence[object]]) -> None:
        some = list(rows)
        asked.extend([sql] * len(some))
        await many(self, sql, some)

    monkeypatch.setattr(Connection, "ask", count_ask)
    monkeypatch.setattr(Connection, "many", count_rows)
    async with writing(engine) as service:
        made = [await service.create(ANN, f"k{number}", **BY) for number in range(10)]
        for each in made:
            await service.change(ANN, each.key.name, 60.0, **BY)
        store = service._store
        assert isinstance(store, PostgresStore)
        told = [(each.key.id, 5.0, "192.0.2.1", mark(digest(each.secret.encode()))) for each in made]
        asked.clear()
        await store.record_uses(told)
        assert len(asked) == 3  # of the keys, who has two secrets, of these
        asked.clear()
        await store.record_usage([(key, hour, "", 1) for key, *_ in told for hour in range(100)])
        assert len(asked) == 1
        assert engine.run("SELECT count(*) FROM secret_uses WHERE at = 5") == [(10,)]
        assert engine.run("SELECT count(*), sum(requests) FROM usage") == [(1000, 1000)]


@given(st.lists(uses))
def test_the_latest_of_each_key_is_kept_and_of_uses_at_one_time_the_first(some: list[Use]) -> None:
    found = latest(some)
    assert [key for key, _, _ in found] == list(dict.fromkeys(use[0] for use in some))
    for key, at, address in found:
        of_key = [use for use in some if use[0] == key]
        assert at == max(use[1] for use in of_key)
        assert address == next(use[2] for use in of_key if use[1] == at)


@given(st.lists(st.tuples(places, st.integers(0, 9))), st.randoms(use_true_random=False))
def test_sums_are_added_by_place_in_whatever_order_they_come(
    some: list[tuple[tuple[str, int, str], int]], dice: random.Random
) -> None:
    found = added([(*place, requests) for place, requests in some])
    assert {place[:3]: place[3] for place in found} == {
        place: sum(requests for other, requests in some if other == place) for place, _ in some
    }
    assert len(found) == len({place for place, _ in some})
    dice.shuffle(some)
    assert sorted(added([(*place, requests) for place, requests in some])) == sorted(found)
