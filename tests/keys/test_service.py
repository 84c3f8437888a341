from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keystile.keys.audit import What
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.secret import has_check_digits, hint
from keystile.keys.service import UNCHANGED, KeyService
from keystile.keys.store import Recent
from keystile.storage.store import Store
from tests.storage.engines import Engine

BY: dict[str, Any] = {"actor": "operator (command line)", "origin": "console"}
ANN = "ann@x.org"


def contents(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        yield store


@pytest.fixture
async def service(store: Store, clock: Clock) -> KeyService:
    service = KeyService(store, clock, known_scopes=frozenset({"ViewContacts", "Export"}))
    await service.create_account(ANN, **BY)
    return service


class Broken:
    """``with broken("code"):`` the block must break that rule."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, fault: object, trace: object) -> bool:
        assert isinstance(fault, KeyRuleBroken), f"{self.code} was expected, not {fault!r}"
        assert fault.code == self.code
        return True


async def test_a_created_key_shows_its_secret_once_and_all_it_was_given(service: KeyService) -> None:
    created = await service.create("Ann@X.org", " main ", ["Export"], ["10.0.0.0/8"], 2000.0, **BY)
    assert has_check_digits(created.secret.encode())
    assert created.key.hint == hint(created.secret)
    assert created.warnings == ()
    found = await service.find_by_name(ANN, "main")
    assert found == created.key
    assert (found.account_email, found.scopes, found.networks.texts) == (
        ANN,
        frozenset({"Export"}),
        ("10.0.0.0/8",),
    )
    assert (found.expires, found.created, found.imported, found.version) == (2000.0, 1000.0, False, 1)


async def test_a_scope_that_no_route_uses_is_kept_with_a_warning(service: KeyService, store: Store) -> None:
    created = await service.create(ANN, "main", ["Export", "Exprot"], **BY)
    assert created.key.scopes == {"Export", "Exprot"}
    assert created.warnings == ("no route uses the scope Exprot",)
    edited = await service.edit(ANN, "main", networks=["10.0.0.1"], **BY)
    assert edited.warnings == created.warnings
    silent = KeyService(store)
    assert (await silent.create(ANN, "other", ["Exprot"], **BY)).warnings == ()


async def test_names_are_taken_once_per_account(service: KeyService) -> None:
    await service.create(ANN, "main", **BY)
    with Broken("name_taken"):
        await service.create(ANN, "main ", **BY)
    await service.create_account("bob@x.org", **BY)
    await service.create("bob@x.org", "main", **BY)
    await service.create(ANN, "other", **BY)
    with Broken("name_taken"):
        await service.edit(ANN, "other", new_name="main", **BY)


async def test_an_account_owns_fifteen_keys_and_no_more(service: KeyService) -> None:
    for number in range(15):
        await service.create(ANN, f"k{number}", **BY)
    with Broken("too_many_keys"):
        await service.create(ANN, "one more", **BY)
    with Broken("too_many_keys"):
        await service.import_key(ANN, "one more", "ab" * 32, "ABABA", **BY)
    await service.delete(ANN, "k3", **BY)
    await service.create(ANN, "one more", **BY)


async def test_fifteen_is_exact_when_many_ask_at_once(service: KeyService) -> None:
    asked = [service.create(ANN, f"k{number}", **BY) for number in range(40)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, KeyRuleBroken)]
    assert {answer.code for answer in refused} == {"too_many_keys"}
    assert len(refused) == 25
    assert len(await service.list(ANN)) == 15


async def test_what_is_not_there_is_said_so(service: KeyService) -> None:
    with Broken("no_such_account"):
        await service.create("bob@x.org", "main", **BY)
    with Broken("no_such_account"):
        await service.list("bob@x.org")
    with Broken("no_such_account"):
        await service.find_account("bob@x.org")
    for ask in (service.find_by_name(ANN, "x"), service.edit(ANN, "x", **BY), service.change(ANN, "x", **BY)):
        with Broken("no_such_key"):
            await ask
    with Broken("no_such_key"):
        await service.delete(ANN, "x", **BY)


async def test_an_edit_replaces_what_it_gives_and_leaves_the_rest(service: KeyService) -> None:
    before = (await service.create(ANN, "main", ["Export"], ["10.0.0.1"], 2000.0, **BY)).key
    after = (await service.edit(ANN, "main", scopes=["ViewContacts"], **BY)).key
    assert (after.scopes, after.version) == (frozenset({"ViewContacts"}), 2)
    assert (after.name, after.networks, after.expires) == (before.name, before.networks, before.expires)
    after = (await service.edit(ANN, "main", new_name="first", networks=[], expires=None, **BY)).key
    assert (after.name, after.networks.texts, after.expires, after.version) == ("first", (), None, 3)
    assert await service.find_by_name(ANN, "first") == after


async def test_an_edit_that_changes_nothing_is_no_event(service: KeyService) -> None:
    key = (await service.create(ANN, "main", ["Export"], **BY)).key
    events = len(await service.events())
    assert (await service.edit(ANN, "main", scopes=["Export"], expires=UNCHANGED, **BY)).key == key
    assert len(await service.events()) == events


async def test_a_stale_version_is_a_conflict(service: KeyService) -> None:
    await service.create(ANN, "main", **BY)
    await service.edit(ANN, "main", scopes=["Export"], version=1, **BY)
    with Broken("conflict"):
        await service.edit(ANN, "main", scopes=[], version=1, **BY)
    with Broken("conflict"):
        await service.change(ANN, "main", version=1, **BY)
    with Broken("conflict"):
        await service.delete(ANN, "main", version=1, **BY)
    await service.delete(ANN, "main", version=2, **BY)


async def test_an_expiry_lies_ahead_but_an_expired_key_can_be_edited(service: KeyService, clock: Clock) -> None:
    with Broken("expiry_in_the_past"):
        await service.create(ANN, "main", expires=1000.0, **BY)
    await service.create(ANN, "main", expires=1001.0, **BY)
    clock.now = 1002.0
    kept = await service.edit(ANN, "main", new_name="late", **BY)
    assert kept.key.expires == 1001.0
    assert "expired" in kept.warnings[0]
    with Broken("expiry_in_the_past"):
        await service.edit(ANN, "late", expires=1001.5, **BY)
    assert (await service.edit(ANN, "late", expires=None, **BY)).warnings == ()


async def test_a_change_gives_a_new_secret_and_leaves_everything_else(service: KeyService) -> None:
    first = await service.create(ANN, "main", ["Export"], ["10.0.0.1"], 2000.0, **BY)
    second = await service.change(ANN, "main", **BY)
    assert second.secret != first.secret
    assert (second.key.hint, second.key.version) == (hint(second.secret), 2)
    assert (second.key.id, second.key.scopes, second.key.networks, second.key.expires) == (
        first.key.id,
        first.key.scopes,
        first.key.networks,
        first.key.expires,
    )
    assert (second.key.old_until, second.key.old_hint) == (None, None)


async def test_a_change_may_overlap(service: KeyService, clock: Clock) -> None:
    first = await service.create(ANN, "main", **BY)
    second = await service.change(ANN, "main", 60.0, **BY)
    assert (second.key.old_until, second.key.old_hint) == (1060.0, first.key.hint)
    assert await service.find_by_name(ANN, "main") == second.key
    clock.now = 1060.0
    assert (await service.find_by_name(ANN, "main")).old_until is None
    assert (await service.list(ANN))[0].old_hint is None
    with Broken("bad_overlap"):
        await service.change(ANN, "main", -1.0, **BY)


async def test_a_key_is_imported_by_digest_and_hint_and_changed_to_one_of_ours(service: KeyService) -> None:
    kept = await service.import_key(ANN, "old", "AB" * 32, "x1Y2z", ["Export"], **BY)
    assert (kept.key.imported, kept.key.hint) == (True, "x1Y2z")
    with Broken("digest_taken"):
        await service.import_key(ANN, "again", "ab" * 32, "x1Y2z", **BY)
    changed = await service.change(ANN, "old", 60.0, **BY)
    assert not changed.key.imported
    with Broken("digest_taken"):  # in its overlap it still belongs to the key
        await service.import_key(ANN, "again", "ab" * 32, "x1Y2z", **BY)
    await service.change(ANN, "old", **BY)
    await service.import_key(ANN, "again", "ab" * 32, "x1Y2z", **BY)


async def test_every_event_tells_who_what_when_and_from_where(service: KeyService, clock: Clock) -> None:
    clock.now = 1234.0
    created = await service.create(ANN, "main", ["Export"], actor=ANN, origin="192.0.2.1")
    await service.note_password_set(ANN, **BY)
    await service.edit(ANN, "main", scopes=[], **BY)
    await service.change(ANN, "main", 60, **BY)
    await service.import_key(ANN, "old", "ab" * 32, "12345", **BY)
    await service.delete(ANN, "main", **BY)
    events = await service.events()
    assert [event.what for event in events] == [
        What.KEY_DELETED,
        What.KEY_IMPORTED,
        What.KEY_CHANGED,
        What.KEY_EDITED,
        What.PASSWORD_SET,
        What.KEY_CREATED,
        What.ACCOUNT_CREATED,
    ]
    first = events[5]
    assert (first.at, first.actor, first.origin, first.account) == (1234.0, ANN, "192.0.2.1", ANN)
    assert (first.key_id, first.key_name, first.key_hint) == (created.key.id, "main", created.key.hint)
    assert events[3].details == "scopes: Export → none"
    page = await service.events(limit=2, before=events[1].seq)
    assert page == events[2:4]


async def test_what_breaks_a_rule_leaves_no_trace(service: KeyService, store: Store) -> None:
    before = await service.events()
    for facts in ({"scopes": ["a b"]}, {"networks": ["x"]}, {"name": ""}, {"expires": 1.0}):
        given: dict[str, Any] = {"name": "main", **facts}
        with pytest.raises(KeyRuleBroken):
            await service.create(ANN, **given, **BY)
    assert await service.events() == before
    assert await service.list() == ()


async def test_no_secret_is_in_any_file_of_the_store(service: KeyService, tmp_path: Path) -> None:
    secrets = [(await service.create(ANN, "main", **BY)).secret, (await service.change(ANN, "main", 60, **BY)).secret]
    for content in contents(tmp_path):
        assert not [secret for secret in secrets if secret.encode() in content]


# -- by id, and what was asked ---------------------------------------------------------------------------------


async def test_a_key_is_found_edited_changed_and_deleted_by_its_id(service: KeyService) -> None:
    key = (await service.create(ANN, "main", **BY)).key
    assert await service.find(ANN, key.id) == key
    edited = await service.edit(ANN, key_id=key.id, new_name="other", version=1, **BY)
    assert (edited.key.name, edited.key.version) == ("other", 2)
    changed = await service.change(ANN, key_id=key.id, overlap=60.0, **BY)
    assert (changed.key.id, changed.key.old_hint) == (key.id, key.hint)
    assert (await service.delete(ANN, key_id=key.id, version=3, **BY)).id == key.id
    with Broken("no_such_key"):
        await service.find(ANN, key.id)
    with Broken("no_such_key"):
        await service.delete(ANN, key_id=key.id, **BY)


async def test_of_200_creates_at_once_exactly_15_are_made(service: KeyService) -> None:
    asked = [service.create(ANN, f"k{number}", **BY) for number in range(200)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    codes = [getattr(answer, "code", None) for answer in answers]
    assert (codes.count(None), codes.count("too_many_keys")) == (15, 185)
    assert len(await service.list(ANN)) == 15


async def test_the_events_of_one_account_are_a_page_at_a_time(service: KeyService) -> None:
    await service.create_account("bob@x.org", **BY)
    for number in range(3):
        await service.create(ANN, f"k{number}", **BY)
        await service.create("bob@x.org", f"k{number}", **BY)
    anns = await service.events(account="Ann@X.org")
    assert [event.key_name for event in anns] == ["k2", "k1", "k0", None]
    assert {event.account for event in anns} == {ANN}
    assert await service.events(2, anns[0].seq, account=ANN) == anns[1:3]
    assert await service.events(account="nobody@x.org") == ()
    assert len(await service.events()) == 8
    for limit, before in ((0, None), (-1, None), (5, 0), (5, -(2**70))):
        assert await service.events(limit, before) == ()
    assert len(await service.events(2**70, 2**70)) == 8


async def test_what_was_asked_with_the_keys_of_an_account(service: KeyService, store: Store) -> None:
    await service.create_account("bob@x.org", **BY)
    first, second = [(await service.create(ANN, name, **BY)).key.id for name in ("a", "b")]
    bobs = (await service.create("bob@x.org", "a", **BY)).key.id
    counted = [(first, 5, "", 2), (first, 6, "", 3), (first, 6, "scope-missing", 4), (bobs, 6, "", 9)]
    await store.record_usage(counted)
    assert sorted(await service.usage(ANN, 0)) == sorted(counted[:3])
    assert await service.recent(ANN, 0) == {first: Recent(5, 4)}
    assert await service.recent(ANN, 6) == {first: Recent(3, 4)}
    assert second not in await service.recent(ANN, 0)
    assert await service.usage(ANN, 7) == ()
    with Broken("no_such_account"):
        await service.usage("nobody@x.org", 0)


async def test_an_exposed_secret_is_an_event_once_for_each_secret(service: KeyService) -> None:
    made = (await service.create(ANN, "main", **BY)).key
    assert [await service.report_exposed(made.id) for _ in range(3)] == [True, False, False]
    changed = (await service.change(ANN, "main", **BY)).key
    assert await service.report_exposed(made.id)
    told = [event for event in await service.events() if event.what is What.KEY_EXPOSED]
    assert [(event.account, event.key_hint) for event in told] == [(ANN, changed.hint), (ANN, made.hint)]
    assert not await service.report_exposed("gone")
