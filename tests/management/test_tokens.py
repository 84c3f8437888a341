from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.keys.errors import KeyRuleBroken
from keystile.management.access import AccessRefused, Identity
from keystile.management.tokens import ANSWERED_WITHIN, MOST_TOKENS, REMEMBERED_FOR, SEEN_EVERY
from keystile.storage.access import ManagementToken
from keystile.storage.remembered import Remembered
from tests.management.coming_in import ANN, BOB, BY, HOME, OFFICE, Door, door


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(here: Door) -> Identity:
    await here.account()
    return (await here.enter()).identity


async def create(
    here: Door, identity: Identity, name: str = "nightly", expires: float | None = None
) -> tuple[ManagementToken, str]:
    return await here.access.create_token(identity, name, expires, **BY)


async def test_a_token_is_shown_once_and_then_by_its_last_five(here: Door, ann: Identity) -> None:
    token, secret = await create(here, ann)
    assert re.fullmatch("kst_[0-9a-f]{64}", secret)
    assert token.hint == secret[-5:]
    assert await here.access.tokens(ann.account) == (token,)
    held = here.on_disk()
    assert secret.encode() not in held
    assert secret[4:].encode() not in held
    assert ("token.created", ANN, "test") in await here.told()


async def test_a_token_says_whose_it_is(here: Door, ann: Identity) -> None:
    token, secret = await create(here, ann, expires=here.clock.now + 60)
    assert await here.access.token(secret, HOME) == Identity(ann.account, "token", "", token.id, here.clock.now + 60)


async def test_only_the_secret_is_a_token(here: Door, ann: Identity) -> None:
    token, secret = await create(here, ann)
    session = await here.enter()
    for wrong in ("", "kst_", token.id, secret[4:], secret.upper(), secret + " ", "kst_" + "0" * 64, session.secret):
        assert await here.access.token(wrong) is None
    assert await here.access.session(secret) is None


async def test_a_token_ends_at_its_expiry(here: Door, ann: Identity) -> None:
    _, secret = await create(here, ann, expires=here.clock.now + 60)
    here.clock.now += 59.9
    assert await here.access.token(secret)
    here.clock.now += 0.1
    assert await here.access.token(secret) is None
    assert len(await here.access.tokens(ann.account)) == 1


@pytest.mark.parametrize("expires", [-1.0, 0.0, float("nan"), float("inf"), 1e300])
async def test_an_expiry_that_is_none_is_refused(here: Door, ann: Identity, expires: float) -> None:
    with pytest.raises(KeyRuleBroken):
        await create(here, ann, expires=expires)
    with pytest.raises(KeyRuleBroken):
        await create(here, ann, name="\n")
    assert await here.access.tokens(ann.account) == ()


async def test_a_token_ends_with_its_account(here: Door, ann: Identity) -> None:
    _, secret = await create(here, ann)
    await here.keys.delete_account(ANN, **BY)
    assert await here.access.token(secret) is None


async def test_a_token_outlives_sessions_and_a_new_password(here: Door, ann: Identity) -> None:
    _, secret = await create(here, ann)
    await here.access.sign_out(ann)
    await here.passwords.set_password(ann.account.id, "another password")
    assert await here.access.token(secret)


async def test_a_last_use_is_written_once_a_minute_and_when_the_address_is_another(here: Door, ann: Identity) -> None:
    _, secret = await create(here, ann)
    begun = here.clock.now

    async def used() -> tuple[float | None, str | None]:
        (token,) = await here.access.tokens(ann.account)
        return token.used_at, token.used_from

    assert await used() == (None, None)
    await here.access.token(secret, HOME)
    here.clock.now += SEEN_EVERY - 1
    await here.access.token(secret, HOME)
    assert await used() == (begun, HOME)
    await here.access.token(secret, OFFICE)
    assert await used() == (here.clock.now, OFFICE)


async def test_a_deleted_token_is_refused_at_once(here: Door, ann: Identity) -> None:
    token, secret = await create(here, ann)
    assert await here.access.delete_token(ann, token.id, **BY) == token
    assert await here.access.token(secret) is None
    assert ("token.deleted", ANN, "test") in await here.told()
    with pytest.raises(AccessRefused, match="no such token"):
        await here.access.delete_token(ann, token.id, **BY)


async def test_nobody_deletes_the_token_of_another(here: Door, ann: Identity) -> None:
    token, secret = await create(here, ann)
    await here.account(BOB, operator=True)
    bob = (await here.enter(BOB)).identity
    with pytest.raises(AccessRefused) as caught:
        await here.access.delete_token(bob, token.id, **BY)
    assert caught.value.code == "no_such_token"
    assert await here.access.token(secret)


async def test_a_token_makes_no_token_and_ends_none_but_itself(here: Door, ann: Identity) -> None:
    other, _ = await create(here, ann, "other")
    mine, secret = await create(here, ann, "mine")
    token = await here.access.token(secret)
    assert token is not None
    for work in (create(here, token), here.access.delete_token(token, other.id, **BY)):
        with pytest.raises(AccessRefused) as caught:
            await work
        assert caught.value.code == "session_needed"
    await here.access.delete_token(token, mine.id, **BY)
    assert await here.access.tokens(ann.account) == (other,)


async def test_tokens_of_an_account_are_bounded_however_many_are_made_at_once(here: Door, ann: Identity) -> None:
    made = await asyncio.gather(*(create(here, ann) for _ in range(40)), return_exceptions=True)
    assert len([each for each in made if not isinstance(each, BaseException)]) == MOST_TOKENS
    assert len(await here.access.tokens(ann.account)) == MOST_TOKENS
    refused = [each for each in made if isinstance(each, AccessRefused)]
    assert {each.code for each in refused} == {"too_many_tokens"}


# Answers to repeat


async def test_of_many_with_one_idempotency_key_at_once_one_begins(here: Door) -> None:
    answers = await asyncio.gather(*(here.access.claim("a", "key", b"request") for _ in range(20)))
    assert answers.count(None) == 1
    assert answers.count(Remembered(b"request", 0, "")) == 19


async def test_what_another_host_has_begun_is_being_answered_for_as_long_as_it_may_take(here: Door) -> None:
    access = here.access
    access.host = "one"
    await access.claim("a", "key", b"request")
    known = await access.claim("a", "key", b"request")
    assert known is not None
    assert not access.is_being_answered(known)  # of this host the process knows, and it has not said so
    access.host = "two"
    assert access.is_being_answered(known)
    here.clock.now += ANSWERED_WITHIN
    assert not access.is_being_answered(known)
    here.clock.now -= ANSWERED_WITHIN
    await access.remember("a", "key", b"request", 201, "k1")
    done = await access.recall("a", "key")
    assert done is not None
    assert not access.is_being_answered(done)


async def test_an_answer_is_repeated_for_a_day(here: Door) -> None:
    assert await here.access.claim("a", "key", b"request") is None
    await here.access.remember("a", "key", b"request", 201, "k1")
    here.clock.now += REMEMBERED_FOR
    assert await here.access.recall("a", "key") == Remembered(b"request", 201, "k1")
    here.clock.now += 1
    assert await here.access.recall("a", "key") is None
    assert await here.access.claim("a", "key", b"another") is None


async def test_an_idempotency_key_is_its_accounts_own_and_in_no_file(here: Door) -> None:
    await here.access.claim("a", "a-key-somebody-chose", b"request")
    assert await here.access.recall("b", "a-key-somebody-chose") is None
    assert b"a-key-somebody-chose" not in here.on_disk()


async def test_what_was_not_done_is_forgotten(here: Door) -> None:
    await here.access.claim("a", "key", b"request")
    await here.access.forget("a", "key")
    assert await here.access.claim("a", "key", b"another") is None
