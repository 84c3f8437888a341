"""The contract of a store: what every engine keeps, asked of each of them (``engines.py``)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable

import pytest

from keystile.keys.audit import What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account
from keystile.keys.secret import digest, mark
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.keys.store import OldTlsUse, Recent
from keystile.storage.doorbell import Doorbell
from keystile.storage.errors import StoreBusy
from keystile.storage.store import Store
from tests.storage.engines import Engine
from tests.storage.ground import ANN, BY, Clock, run_writer, start_writer, writing


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(store: Store, clock: Clock) -> KeyService:
    service = KeyService(store, clock)
    await service.create_account(ANN, **BY)
    return service


async def test_what_was_kept_is_there_when_the_store_is_opened_again(engine: Engine) -> None:
    async with writing(engine) as service:
        created = await service.create(ANN, "main", ["A", "B"], ["10.0.0.0/8", "2001:db8::1"], 2000.5, **BY)
    async with writing(engine) as service:
        assert await service.list() == (created.key,)


async def test_fifteen_keys_are_exact_with_many_processes(engine: Engine) -> None:
    async with writing(engine):
        pass
    writers = [start_writer(engine, "create", f"w{number}-", "8") for number in range(5)]
    made = [int(writer.communicate(timeout=90)[0]) for writer in writers]
    assert sum(made) == 15
    async with writing(engine) as service:
        assert len(await service.list(ANN)) == 15


async def test_many_processes_may_make_the_store_at_once(engine: Engine) -> None:
    async def make() -> str:
        async with await engine.open() as store:
            return (await store._reads.ask("SELECT value FROM meta"))[0][0]  # type: ignore[no-any-return]

    assert len(set(await asyncio.gather(*(make() for _ in range(8))))) == 1


async def test_a_block_that_raises_leaves_nothing_and_does_not_ring(service: KeyService, store: Store) -> None:
    before = store._bell.count()

    async def half() -> None:
        async with store.change() as tx:
            await tx.add_account(Account("b", "bob@x.org", False, 0.0))
            assert await tx.account("bob@x.org")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await half()
    assert await store.account("bob@x.org") is None
    assert store._bell.count() == before


async def test_what_is_not_committed_is_not_seen(service: KeyService, store: Store) -> None:
    async with store.change() as tx:
        await tx.add_account(Account("b", "bob@x.org", False, 0.0))
        assert await store.account("bob@x.org") is None
    assert await store.account("bob@x.org")


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_cancelled_change_is_done_and_rung_or_not_done(
    service: KeyService, store: Store, turns: int
) -> None:
    """Wherever the cancellation falls: what is committed has rung, and the next change finds the way free."""
    before = store._bell.count()
    task = asyncio.create_task(service.create(ANN, "main", **BY))
    for _ in range(turns):
        await asyncio.sleep(0.0002)
    task.cancel()
    await asyncio.wait([task])
    assert bool(await service.list()) == (store._bell.count() != before)
    await service.create(ANN, "other", **BY)


async def test_another_process_that_keeps_the_lock_makes_the_store_busy(engine: Engine) -> None:
    async with writing(engine):
        pass
    async with await engine.open(lock_timeout=0.05) as store:
        service = KeyService(store)
        await service.list()
        with engine.locked():
            with pytest.raises(StoreBusy):
                await service.create(ANN, "main", **BY)
            assert await service.list() == ()
        await service.create(ANN, "main", **BY)


async def test_last_uses_are_kept_never_go_back_and_never_ring(service: KeyService, store: Store) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    rung = store._bell.count()
    uses = [(key.id, 50.0, "192.0.2.1", ""), (key.id, 60.0, "192.0.2.2", ""), ("gone", 1.0, "192.0.2.3", "ff" * 16)]
    await store.record_uses(uses)
    await store.record_uses([(key.id, 55.0, "192.0.2.4", "")])
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.last_used_from, found.version) == (60.0, "192.0.2.2", 1)
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store._reads.ask("SELECT * FROM last_uses") == []


async def test_each_secret_of_an_overlap_has_a_last_use_of_its_own(service: KeyService, store: Store) -> None:
    first = await service.create(ANN, "main", **BY)
    key, old = first.key, mark(digest(first.secret.encode()))
    await store.record_uses([(key.id, 50.0, "192.0.2.1", old)])
    assert (await service.find_by_name(ANN, "main")).old_last_used_at is None  # it is the current one
    second = await service.change(ANN, "main", 60.0, **BY)
    assert (second.key.old_last_used_at, second.key.old_last_used_from) == (50.0, "192.0.2.1")
    new = mark(digest(second.secret.encode()))
    await store.record_uses([(key.id, 60.0, "192.0.2.2", new), (key.id, 55.0, "192.0.2.3", old)])
    await store.record_uses([(key.id, 52.0, "192.0.2.4", old)])  # of a slower relay: older
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.last_used_from) == (60.0, "192.0.2.2")
    assert (found.old_last_used_at, found.old_last_used_from) == (55.0, "192.0.2.3")
    # Changed again: the old one is the one before, and what is told late of the first is nobody's.
    third = await service.change(ANN, "main", 60.0, **BY)
    await store.record_uses([(key.id, 70.0, "192.0.2.5", old)])
    found = await service.find_by_name(ANN, "main")
    assert (third.key.old_last_used_at, found.old_last_used_at, found.last_used_at) == (60.0, 60.0, 70.0)


async def test_the_last_use_of_a_secret_that_becomes_old_is_its_keys_own(
    service: KeyService, store: Store, clock: Clock
) -> None:
    first = await service.create(ANN, "main", **BY)
    key, was = first.key, mark(digest(first.secret.encode()))
    second = await service.change(ANN, "main", 60.0, **BY)
    assert second.key.old_last_used_at is None
    await store.record_uses([(key.id, clock.now - 1, "192.0.2.1", was)])  # told late
    assert (await service.find_by_name(ANN, "main")).old_last_used_at == clock.now - 1
    # The second one was never used: that its key was, by the first, says nothing of it.
    third = await service.change(ANN, "main", 60.0, **BY)
    assert (third.key.last_used_at, third.key.old_last_used_at) == (clock.now - 1, None)
    # After the time in which both were good the key's uses are those of its one secret again.
    clock.now += 61
    await store.record_uses([(key.id, clock.now, "192.0.2.2", mark(digest(third.secret.encode())))])
    fourth = await service.change(ANN, "main", 60.0, **BY)
    assert (fourth.key.old_last_used_at, fourth.key.old_last_used_from) == (clock.now, "192.0.2.2")


async def test_what_was_used_before_a_change_at_once_says_nothing_of_the_new_secret(
    service: KeyService, store: Store, clock: Clock
) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    await store.record_uses([(key.id, clock.now - 1, "192.0.2.1", "")])
    await service.change(ANN, "main", **BY)  # a leaked one is gone at once
    third = await service.change(ANN, "main", 60.0, **BY)
    assert third.key.last_used_at == clock.now - 1
    assert (third.key.old_last_used_at, third.key.old_last_used_from) == (None, None)
    clock.now += 61
    used = await service.change(ANN, "main", **BY)
    await store.record_uses([(key.id, clock.now, "192.0.2.2", mark(digest(used.secret.encode())))])
    after = await service.change(ANN, "main", 60.0, **BY)
    assert (after.key.old_last_used_at, after.key.old_last_used_from) == (clock.now, "192.0.2.2")


async def test_no_row_is_written_for_the_secret_of_a_key_that_has_one_only(service: KeyService, store: Store) -> None:
    key = await service.create(ANN, "main", **BY)
    await store.record_uses([(key.key.id, 50.0, "192.0.2.1", mark(digest(key.secret.encode())))])
    assert await store._reads.ask("SELECT * FROM secret_uses") == []


async def test_uses_and_changes_at_once_do_not_disturb_each_other(service: KeyService, store: Store) -> None:
    key = (await service.create(ANN, "main", **BY)).key

    async def use() -> None:
        for number in range(20):
            await store.record_uses([(key.id, float(number), "192.0.2.1", "")])

    async def edit() -> None:
        for number in range(20):
            await service.edit(ANN, "main", scopes=[f"S{number}"], **BY)

    await asyncio.gather(use(), use(), edit())
    found = await service.find_by_name(ANN, "main")
    assert (found.last_used_at, found.version) == (19.0, 21)


async def test_the_audit_table_is_append_only(service: KeyService, engine: Engine) -> None:
    for sql in engine.audit_attacks:
        with pytest.raises(engine.broken_rule, match="append-only"):
            engine.run(sql)
    assert len(await service.events()) == 1


async def test_a_change_log_row_tells_of_every_way_a_key_can_change(service: KeyService, store: Store) -> None:
    async def told() -> list[tuple[str, str]]:
        rows = await store._reads.ask("SELECT key_id, kind FROM changes WHERE seq > ? ORDER BY seq", (place[0],))
        place[0] += len(rows)
        return list(dict.fromkeys((row[0], row[1]) for row in rows))

    place = [1]
    key = (await service.create(ANN, "main", **BY)).key.id
    assert await told() == [(key, "put")]
    await service.edit(ANN, "main", scopes=["A"], **BY)
    assert await told() == [(key, "put")]
    await service.change(ANN, "main", 60, **BY)
    assert await told() == [(key, "put")]
    await service.change(ANN, "main", **BY)
    assert await told() == [(key, "put")]
    await service.delete(ANN, "main", **BY)
    assert await told() == [(key, "revoke")]
    other = (await service.import_key(ANN, "old", "ab" * 32, "12345", **BY)).key.id
    await service.delete_account(ANN, **BY)
    assert await told() == [(other, "put"), (other, "revoke")]


async def test_only_what_concerns_keys_rings(service: KeyService, store: Store) -> None:
    """Each ring has every relay look into the store: signing in and SMTP credentials are no reason."""
    smtp = SmtpService(store)
    await service.create(ANN, "main", **BY)

    async def rings(work: Awaitable[object]) -> bool:
        before = store._bell.count()
        await work
        return store._bell.count() != before

    quiet = [
        service.note(What.PASSWORD_SET, ANN, **BY),
        service.create_account("bob@x.org", **BY),
        smtp.create(ANN, "m@x.org", **BY),
        smtp.edit(ANN, "m@x.org", networks=["::1"], **BY),
        smtp.change(ANN, "m@x.org", **BY),
        smtp.delete(ANN, "m@x.org", **BY),
        service.edit(ANN, "main", scopes=[], **BY),  # alters nothing
        service.delete_account("bob@x.org", **BY),
    ]
    assert [await rings(work) for work in quiet] == [False] * len(quiet)
    loud = [
        service.edit(ANN, "main", scopes=["A"], **BY),
        service.change(ANN, "main", 60.0, **BY),
        service.change(ANN, "main", **BY),
        service.create(ANN, "other", **BY),
        service.import_key(ANN, "old", "ab" * 32, "12345", **BY),
        service.delete(ANN, "main", **BY),
        service.delete_account(ANN, **BY),
    ]
    assert [await rings(work) for work in loud] == [True] * len(loud)


async def test_whoever_writes_next_rings_for_a_writer_that_was_killed(service: KeyService, engine: Engine) -> None:
    """Even where what it writes itself concerns no key."""
    await service.create(ANN, "main", **BY)
    bell = Doorbell(engine.path)
    before = bell.count()
    assert run_writer(engine, "die-before-ringing", "main") == -9
    assert bell.count() == before
    await service.note(What.PASSWORD_SET, ANN, **BY)
    assert bell.count() != before
    bell.close()


async def test_a_rule_that_is_broken_passes_through_the_store(service: KeyService) -> None:
    with pytest.raises(KeyRuleBroken):
        await service.create_account(ANN, **BY)
    await service.create_account("bob@x.org", **BY)


async def test_a_killed_writer_leaves_all_of_a_change_or_nothing(engine: Engine) -> None:
    async with writing(engine) as service:
        await service.create(ANN, "main", **BY)
        assert run_writer(engine, "die-before-committing", "main") == -9
        assert len(await service.list()) == 1
        await service.edit(ANN, "main", scopes=["A"], **BY)  # and the lock was let go
        assert run_writer(engine, "die-before-ringing", "main") == -9
        assert await service.list() == ()
        assert (await service.events(1))[0].what == "key.deleted"
    await engine.examine()


async def test_what_was_answered_is_there_whenever_the_writer_is_killed(engine: Engine) -> None:
    dice = random.Random(7)
    async with writing(engine) as service:
        await service.create(ANN, "main", **BY)
        for _ in range(6):
            with start_writer(engine, "edit-for-ever", "main") as writer:
                assert writer.stdout is not None
                answered = writer.stdout.readline()
                await asyncio.sleep(dice.uniform(0, 0.05))
                writer.kill()
                answered = (answered + writer.stdout.read()).splitlines()[-1]
            kept = await service.find_by_name(ANN, "main")
            # The last one may have been committed and not answered any more.
            assert kept.version in (int(answered), int(answered) + 1)
            assert (await service.events(1))[0].details.endswith(" ".join(kept.scopes))
    await engine.examine()


async def test_fifteen_smtp_credentials_are_exact_with_many_processes(engine: Engine) -> None:
    async with writing(engine):
        pass
    writers = [start_writer(engine, "create-smtp", f"w{number}-", "8") for number in range(5)]
    made = [int(writer.communicate(timeout=90)[0]) for writer in writers]
    assert sum(made) == 15
    async with await engine.open() as store:
        assert await store.count_smtp_credentials() == 15


async def test_keys_are_counted_by_account(service: KeyService, store: Store) -> None:
    assert (await store.keys_by_account(), await store.count_keys()) == ({}, 0)
    await service.create_account("bob@x.org", **BY)
    await service.create_account("eve@x.org", **BY)
    for name in ("a", "b"):
        await service.create(ANN, name, **BY)
    await service.create("bob@x.org", "a", **BY)
    ann, bob, _ = await store.accounts()
    assert await store.keys_by_account() == {ann.id: 2, bob.id: 1}
    assert (await store.count_keys(), await store.count_keys(ann.id), await store.count_accounts()) == (3, 2, 3)


async def test_usage_of_many_keys_is_one_question(service: KeyService, store: Store) -> None:
    ids = [(await service.create(ANN, name, **BY)).key.id for name in ("a", "b")]
    sums = [(ids[0], 5, "", 2), (ids[1], 5, "", 3), (ids[1], 6, "key-expired", 1)]
    await store.record_usage(sums)
    asked = [*ids, *(f"none {number}" for number in range(40_000))]  # more than SQLite takes as values
    assert sorted(await store.usage_of(asked, 0)) == sorted(sums)
    assert await store.usage_of([ids[1]], 6) == ((ids[1], 6, "key-expired", 1),)
    assert await store.recent(asked, 5) == {ids[0]: Recent(2, 0), ids[1]: Recent(3, 1)}
    assert await store.recent([], 0) == {}


async def test_who_calls_over_old_tls_is_added_up_bounded_and_ends_with_its_key(
    service: KeyService, store: Store
) -> None:
    await service.create_account("bob@example.com", **BY)
    key = (await service.create(ANN, "main", **BY)).key
    other = (await service.create("bob@example.com", "else", **BY)).key
    rung = store._bell.count()
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 50.0, 2), ("gone", "1.0", "192.0.2.1", 50.0, 1)])
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 60.0, 3), (other.id, "1.1", "192.0.2.2", 55.0, 1)])
    await store.record_old_tls([(key.id, "1.0", "192.0.2.1", 40.0, 1)])  # of a slower relay
    mine = OldTlsUse(ANN, key.id, "main", key.hint, "1.0", "192.0.2.1", 50.0, 60.0, 6)
    theirs = OldTlsUse("bob@example.com", other.id, "else", other.hint, "1.1", "192.0.2.2", 55.0, 55.0, 1)
    assert await store.old_tls(0.0, 10) == (mine, theirs)
    assert await store.old_tls(60.0, 10) == await store.old_tls(0.0, 1) == (mine,)
    assert await store.old_tls(0.0, 10, other.account_id) == (theirs,)
    await store.record_old_tls([(key.id, "1.1", f"198.51.100.{n}", 100.0 + n, 1) for n in range(100)])
    kept = await store.old_tls(0.0, 1000, key.account_id)
    assert [one.last_at for one in kept] == [199.0 - n for n in range(20)]
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store.old_tls(0.0, 10) == (theirs,)


async def test_usage_is_added_up_ends_with_its_key_and_never_rings(service: KeyService, store: Store) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    rung = store._bell.count()
    await store.record_usage([(key.id, 5, "", 2), (key.id, 6, "scope-missing", 1), ("gone", 5, "", 9)])
    await store.record_usage([(key.id, 5, "", 3)])
    assert await store.usage(key.id, 0) == ((key.id, 5, "", 5), (key.id, 6, "scope-missing", 1))
    assert await store.usage(key.id, 6) == ((key.id, 6, "scope-missing", 1),)
    assert await store.usage("gone", 0) == ()
    assert store._bell.count() == rung
    await service.delete(ANN, "main", **BY)
    assert await store.usage(key.id, 0) == ()
