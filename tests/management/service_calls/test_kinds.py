from __future__ import annotations

from typing import Any

import pytest

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey
from keystile.management.service_calls.acting import Acting, acting
from keystile.management.service_calls.errors import Refused
from keystile.management.service_calls.kinds import ApiKeys, Credentials, SmtpCredentials
from keystile.management.service_calls.payload import Payload
from tests.management.service_calls.conftest import Socket
from tests.storage.ground import ANN

By = tuple[ApiKey, str]


async def by_of(calls: Socket, by: By) -> Acting:
    return await acting(calls.fields(*by), calls.store, frozenset(), calls.clock.now)


def both(calls: Socket) -> list[tuple[Credentials, str]]:
    return [(ApiKeys(calls.keys), "n@x.org"), (SmtpCredentials(calls.smtp), "n@x.org")]


async def test_a_replacement_replaces_everything(calls: Socket, manager: By) -> None:
    by = await by_of(calls, manager)
    for kind, name in both(calls):
        await kind.make(by, Payload(name, ("ViewContacts",), ("10.0.0.0/8",), 5000.0))
        other = await kind.replace(by, name, Payload("m@x.org", (), (), None))
        assert (other["Name"], other["Expires"], other["RestrictAccessToIPRange"]) == ("m@x.org", None, [])
        assert other["AccessLevel"] in ([], "SendSmtp")
        assert "Token" not in other


async def test_what_is_not_there_is_not_found_and_a_name_that_none_could_have_neither(
    calls: Socket, manager: By
) -> None:
    by = await by_of(calls, manager)
    for kind, _ in both(calls):
        for name in ("nobody", "", "x" * 200, "a\x00b", "\ud800"):
            wanted = Payload("n@x.org", (), (), None)
            for call in (kind.one(by, name), kind.delete(by, name), kind.replace(by, name, wanted)):
                with pytest.raises(Refused) as refused:
                    await call
                assert refused.value.kind.status == 404


async def test_every_change_is_bounded_by_the_key_that_asks(calls: Socket, manager: By) -> None:
    strong = await by_of(calls, manager)
    weak = await by_of(calls, await calls.key("weak", "ModifyAccessTokens"))
    for kind, name in both(calls):
        await kind.make(strong, Payload(name, ("ViewContacts",), (), None))
        attempts: list[Any] = [
            kind.make(weak, Payload("o@x.org", ("ViewContacts",), (), None)),
            kind.replace(weak, name, Payload(name, (), ("10.0.0.1",), None)),
            kind.delete(weak, name),
        ]
        for attempt in attempts:
            with pytest.raises(KeyRuleBroken) as broken:
                await attempt
            assert broken.value.code == "beyond_authority"
        assert len(await kind.every(strong)) >= 1


async def test_a_change_is_told_in_the_audit_table_with_the_key_that_asked(calls: Socket, manager: By) -> None:
    by = await by_of(calls, manager)
    for kind, name in both(calls):
        await kind.make(by, Payload(name, (), (), None))
        await kind.delete(by, name)
    events = await calls.keys.events(4)
    assert {(event.actor, event.origin) for event in events} == {(ANN, by.origin)}
