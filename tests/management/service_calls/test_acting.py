from __future__ import annotations

import pytest

from keystile.keys.key import ApiKey
from keystile.management.service_calls.acting import acting
from keystile.management.service_calls.errors import Refused
from tests.management.service_calls.conftest import Socket
from tests.storage.ground import ANN, BY

By = tuple[ApiKey, str]
VIEW = frozenset({"ViewAccessTokens"})


async def test_what_a_key_may_is_read_from_the_store_and_not_from_the_fields(calls: Socket) -> None:
    key, secret = await calls.key("k", "ViewAccessTokens", networks=["192.0.2.0/24"], expires=2000.0)
    fields = {**calls.fields(key, secret), "X-Keystile-Scopes": "Everything", "X-Keystile-Account": "other@x.org"}
    by = await acting(fields, calls.store, VIEW, 1000.0)
    assert by.account == ANN
    assert (by.authority.scopes, by.authority.expires) == (VIEW, 2000.0)
    assert by.authority.networks.texts == ("192.0.2.0/24",)
    assert by.origin == f"API key 'k' (…{secret[-5:]}) from 192.0.2.1"
    assert secret not in repr(by)


@pytest.mark.parametrize("name", ["X-Keystile-Key", "X-Keystile-Presented", "X-Keystile-Address"])
@pytest.mark.parametrize("value", [None, "", "zz"])
async def test_a_field_that_is_missing_or_is_none_is_nobody(
    calls: Socket, manager: By, name: str, value: str | None
) -> None:
    fields = {field: said for field, said in calls.fields(*manager).items() if field != name}
    if value is not None:
        fields[name] = value
    if (name, value) == ("X-Keystile-Presented", ""):
        return  # no digest at all opens no key: the next test has that
    with pytest.raises(Refused) as refused:
        await acting(fields, calls.store, VIEW, 1000.0)
    assert refused.value.kind.status == 401


async def test_a_secret_that_is_not_the_keys_changes_nothing(calls: Socket, manager: By) -> None:
    for presented in ("", "00" * 32):
        status, _ = await calls.ask(
            manager, "POST", "/apikeys", {"Name": "x", "AccessLevel": []}, X_Keystile_Presented=presented
        )
        assert status == 403
    assert len(await calls.keys.list(ANN)) == 1


async def test_a_key_that_is_gone_has_expired_or_may_not_come_from_there_acts_no_more(calls: Socket) -> None:
    by = await calls.key("k", "ViewAccessTokens", networks=["192.0.2.1"], expires=2000.0)
    assert (await calls.ask(by, "GET", "/apikeys"))[0] == 200
    status, said = await calls.ask(by, "GET", "/apikeys", X_Keystile_Address="192.0.2.2")
    assert (status, said["Error"]) == (403, "This API key may not be used from 192.0.2.2.")
    calls.clock.now = 2000.0
    assert (await calls.ask(by, "GET", "/apikeys"))[0] == 401
    calls.clock.now = 1000.0
    await calls.keys.delete(ANN, "k", **BY)
    status, said = await calls.ask(by, "GET", "/apikeys")
    assert (status, said["type"]) == (401, "urn:keystile:problem:invalid-api-key")
