from __future__ import annotations

from keystile.keys.audit import What
from keystile.keys.keyring import KeyRow
from keystile.storage import rows
from tests.storage.engines import Engine
from tests.storage.ground import ANN, BY, writing


def test_a_row_of_a_key_becomes_a_key() -> None:
    row = ("k", "a", ANN, "main", "12345", "A B", "10.0.0.1", 5.0, 1.0, 1, 3, 2.0, "192.0.2.1", 4.0, "54321")
    key = rows.api_key((*row, 3.0, "192.0.2.2"))
    assert (key.scopes, key.networks.texts, key.imported, key.version) == (frozenset("AB"), ("10.0.0.1",), True, 3)
    assert (key.last_used_at, key.last_used_from, key.old_until, key.old_hint) == (2.0, "192.0.2.1", 4.0, "54321")
    assert (key.old_last_used_at, key.old_last_used_from) == (3.0, "192.0.2.2")


def test_a_row_of_an_event_becomes_an_event() -> None:
    event = rows.event((7, 1.0, "me", "here", "key.created", ANN, "k", "main", "12345", "new"))
    assert (event.seq, event.what, event.key_hint, event.details) == (7, What.KEY_CREATED, "12345", "new")


async def test_the_columns_for_a_keyring_are_those_it_expects(engine: Engine) -> None:
    async with writing(engine) as service:
        key = (await service.import_key(ANN, "main", "ab" * 32, "12345", ["A"], **BY)).key
        await service.change(ANN, "main", 60, **BY)
    (row,) = map(KeyRow._make, engine.run(rows.HELD_KEYS))
    assert (row.id, row.account, row.name, row.scopes, row.networks) == (key.id, ANN, "main", "A", "")
    assert (row.digest == b"\xab" * 32, row.old_digest, row.old_until) == (False, b"\xab" * 32, 1060.0)


async def test_questions_find_one_all_or_nothing(engine: Engine) -> None:
    async with writing(engine) as service:
        created = await service.create(ANN, "main", **BY)
        reading = service._store
        owner = created.key.account_id
        assert await reading.key(owner, "main") == created.key
        assert await reading.key(owner, "Main") is None
        assert await reading.key_by_id(created.key.id) == created.key
        assert await reading.key_by_id("main") is None
        assert await reading.count_keys(owner) == await reading.count_keys() == 1
        assert await reading.count_keys("nobody") == 0
        assert await reading.keys(owner) == await reading.keys() == (created.key,)
        assert await reading.keys("nobody") == ()
        assert await reading.account("nobody@x.org") is None
