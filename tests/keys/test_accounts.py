from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.keys.accounts import AccountService
from keystile.keys.audit import What
from keystile.keys.service import KeyService
from keystile.storage.sqlite import SqliteStore
from tests.keys.test_service import ANN, BY, Broken


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with await SqliteStore.open(tmp_path / "keystile.db") as store:
        yield store


@pytest.fixture
async def service(store: SqliteStore) -> KeyService:
    service = KeyService(store)
    await service.create_account(ANN, **BY)
    return service


async def test_an_account_is_made_once_in_whatever_case(service: KeyService) -> None:
    with Broken("account_exists"):
        await service.create_account("ANN@x.org", **BY)
    with Broken("bad_email"):
        await service.create_account("ann", **BY)
    bob = await service.create_account("bob@x.org", operator=True, **BY)
    assert await service.find_account("BOB@x.org") == bob
    assert [(account.email, account.operator) for account in await service.list_accounts()] == [
        (ANN, False),
        ("bob@x.org", True),
    ]


async def test_an_account_is_deleted_with_its_keys(service: KeyService) -> None:
    await service.create_account("bob@x.org", **BY)
    await service.create("bob@x.org", "main", **BY)
    await service.create(ANN, "main", **BY)
    await service.create(ANN, "other", **BY)
    await service.delete_account(ANN, **BY)
    assert [key.account_email for key in await service.list()] == ["bob@x.org"]
    told = [(event.what, event.key_name) for event in (await service.events())[:3]]
    assert told == [(What.ACCOUNT_DELETED, None), (What.KEY_DELETED, "other"), (What.KEY_DELETED, "main")]
    with Broken("no_such_account"):
        await service.delete_account(ANN, **BY)


async def test_what_is_done_elsewhere_to_an_account_is_noted(store: SqliteStore, service: KeyService) -> None:
    accounts = AccountService(store, lambda: 77.0)
    await accounts.note(What.TOKEN_CREATED, "Ann@X.org", "token: nightly", actor=ANN, origin="192.0.2.1")
    event = (await service.events(1))[0]
    assert (event.what, event.at, event.actor, event.account) == (What.TOKEN_CREATED, 77.0, ANN, ANN)
    assert (event.details, event.key_id) == ("token: nightly", None)
    with Broken("no_such_account"):
        await accounts.note(What.PASSWORD_SET, "bob@x.org", **BY)
