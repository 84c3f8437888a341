from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.keys import finding
from keystile.keys.key import Account, ApiKey
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.storage.sqlite import SqliteStore
from tests.keys.test_service import ANN, BY, Broken

BOB = "bob@x.org"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with await SqliteStore.open(tmp_path / "keystile.db") as store:
        yield store


@pytest.fixture
async def ann(store: SqliteStore) -> Account:
    service = KeyService(store)
    await service.create_account(BOB, **BY)
    return await service.create_account(ANN, **BY)


@pytest.fixture
async def key(store: SqliteStore, ann: Account) -> ApiKey:
    return (await KeyService(store).create(ANN, "main", **BY)).key


async def test_a_key_is_found_by_id_or_by_name(store: SqliteStore, ann: Account, key: ApiKey) -> None:
    assert await finding.find_key(store, ann, None, key.id) == key
    assert await finding.find_key(store, ann, " main ", None) == key
    assert await finding.find_key(store, ann, "main", key.id) == key


async def test_the_id_decides_and_a_name_that_is_no_longer_true_is_a_conflict(
    store: SqliteStore, ann: Account, key: ApiKey
) -> None:
    """A tab that still shows the old name must not hit the key that has it now."""
    service = KeyService(store)
    await service.edit(ANN, "main", new_name="second", **BY)
    other = (await service.create(ANN, "main", **BY)).key
    with Broken("conflict"):
        await service.delete(ANN, "main", key_id=key.id, **BY)
    assert await service.delete(ANN, key_id=key.id, **BY)
    assert await service.list(ANN) == (other,)


async def test_a_key_of_another_account_is_not_there(store: SqliteStore, ann: Account, key: ApiKey) -> None:
    bob = await finding.find_account(store, BOB)
    with Broken("no_such_key"):
        await finding.find_key(store, bob, None, key.id)
    with Broken("no_such_key"):
        await finding.find_key(store, bob, "main", None)


async def test_an_smtp_credential_of_another_account_is_not_there(store: SqliteStore, ann: Account) -> None:
    smtp = SmtpService(store)
    mail = (await smtp.create(ANN, "mail@x.org", **BY)).credential
    bob = await finding.find_account(store, BOB)
    for name, credential_id in ((None, mail.id), ("mail@x.org", None), ("mail@x.org", mail.id)):
        assert await finding.find_smtp(store, ann, name, credential_id) == mail
        with Broken("no_such_credential"):
            await finding.find_smtp(store, bob, name, credential_id)
    with Broken("no_such_credential"):
        await smtp.delete(BOB, credential_id=mail.id, **BY)
    with Broken("conflict"):
        await finding.find_smtp(store, ann, "other@x.org", mail.id)


@pytest.mark.parametrize("key_id", ["", "nothing", "\ud800", "é", "\0", "x" * 10_000])
async def test_whatever_is_asked_for_instead_of_an_id_is_not_there(
    store: SqliteStore, ann: Account, key_id: str
) -> None:
    with Broken("no_such_key"):
        await finding.find_key(store, ann, None, key_id)
    with Broken("no_such_credential"):
        await finding.find_smtp(store, ann, None, key_id)


async def test_a_version_that_was_left_behind_is_a_conflict(key: ApiKey) -> None:
    assert finding.at_version(key, None) is finding.at_version(key, 1) is key
    with Broken("conflict"):
        finding.at_version(key, 2)


async def test_neither_a_name_nor_an_id_is_a_fault_of_the_caller(store: SqliteStore, ann: Account) -> None:
    with pytest.raises(TypeError):
        await finding.find_key(store, ann, None, None)
