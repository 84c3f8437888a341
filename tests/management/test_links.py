from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.keys.errors import KeyRuleBroken
from keystile.management.access import AccessRefused
from keystile.management.links import LINK_LIFE
from keystile.storage.setup_link import setup_file_of
from tests.management.coming_in import ANN, BOB, BY, HOME, NEW, NOBODY, PASSWORD, Door, door


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as opened:
        yield opened


async def over(here: Door, token: str, email: str | None = None) -> bool:
    """Whether a link is no longer good, by looking and by using it."""
    if await here.access.link(token):
        await here.access.use_link(token, NEW, email)
        return False
    with pytest.raises(AccessRefused) as caught:
        await here.access.use_link(token, NEW, email)
    return caught.value.code == "link_over"


# A new password


async def test_a_link_sets_the_password_and_ends_every_session(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    token = await here.access.make_link(ANN, **BY)
    assert await here.lasts(signed_in)
    assert await here.access.use_link(token, NEW, address=HOME) == account
    assert not await here.lasts(signed_in)
    assert await here.access.sign_in(ANN, PASSWORD, HOME) is None
    await here.enter(password=NEW)


async def test_making_and_using_a_link_are_in_the_audit_table(here: Door) -> None:
    await here.account()
    await here.access.use_link(await here.access.make_link(ANN, **BY), NEW, address=HOME)
    assert (await here.told())[:2] == [
        ("account.password_link_used", ANN, "one-time link, from 192.0.2.1"),
        ("account.password_link_made", ANN, "test"),
    ]


async def test_an_account_without_a_password_gets_its_first_by_a_link(here: Door) -> None:
    await here.keys.create_account(ANN, False, **BY)
    await here.access.use_link(await here.access.make_link(ANN, **BY), NEW)
    await here.enter(password=NEW)


async def test_a_link_is_good_once(here: Door) -> None:
    await here.account()
    token = await here.access.make_link(ANN, **BY)
    await here.access.use_link(token, NEW)
    assert await over(here, token)


async def test_of_many_who_use_a_link_at_once_one_does(here: Door) -> None:
    await here.account()
    token = await here.access.make_link(ANN, **BY)
    work = (here.access.use_link(token, f"{NEW} {number}") for number in range(10))
    answers = await asyncio.gather(*work, return_exceptions=True)
    used = [number for number, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    assert len(used) == 1
    assert {str(answer) for answer in answers if isinstance(answer, AccessRefused)}
    await here.enter(password=f"{NEW} {used[0]}")


@pytest.mark.parametrize(("seconds", "ended"), [(LINK_LIFE - 1, False), (LINK_LIFE, True)])
async def test_a_link_is_good_for_an_hour(here: Door, seconds: float, ended: bool) -> None:
    await here.account()
    token = await here.access.make_link(ANN, **BY)
    here.clock.now += seconds
    assert await over(here, token) is ended


async def test_looking_at_a_link_does_not_use_it_up(here: Door) -> None:
    account = await here.account()
    token = await here.access.make_link(ANN, **BY)
    for _ in range(3):
        link = await here.access.link(token)
        assert link is not None
        assert await here.access.account_of_link(link) == account
    assert not await over(here, token)


async def test_a_password_that_is_no_good_does_not_use_a_link_up(here: Door) -> None:
    await here.account()
    token = await here.access.make_link(ANN, **BY)
    with pytest.raises(AccessRefused) as caught:
        await here.access.use_link(token, "short")
    assert caught.value.code == "bad_password"
    assert not await over(here, token)


async def test_a_newer_link_ends_an_older_one(here: Door) -> None:
    await here.account()
    await here.account(BOB)
    first, bobs = await here.access.make_link(ANN, **BY), await here.access.make_link(BOB, **BY)
    second = await here.access.make_link(ANN, **BY)
    assert [await over(here, token) for token in (first, second, bobs)] == [True, False, False]


async def test_a_new_password_by_another_way_ends_a_link(here: Door) -> None:
    account = await here.account()
    token = await here.access.make_link(ANN, **BY)
    await here.passwords.set_password(account.id, PASSWORD)
    assert await over(here, token)


async def test_a_password_set_while_a_link_is_being_used_stays(here: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await here.account()
    token = await here.access.make_link(ANN, **BY)
    hashed = here.passwords._hash

    async def meanwhile(password: str) -> str:
        monkeypatch.undo()
        await here.passwords.set_password(account.id, "set by command")
        return await hashed(password)

    monkeypatch.setattr(here.passwords, "_hash", meanwhile)
    with pytest.raises(AccessRefused):
        await here.access.use_link(token, NEW)
    await here.enter(password="set by command")


async def test_a_link_ends_with_its_account(here: Door) -> None:
    account = await here.account()
    token = await here.access.make_link(ANN, **BY)
    await here.keys.delete_account(ANN, **BY)
    assert await over(here, token)
    await here.access.forget_account(account)
    await here.account()
    assert await over(here, token)


async def test_nobody_gets_a_link_for_an_account_that_is_not_there(here: Door) -> None:
    with pytest.raises(KeyRuleBroken, match="no account"):
        await here.access.make_link(NOBODY, **BY)


@pytest.mark.parametrize("token", ["", "0" * 64, "kst_", "\ud800", "x" * 100_000])
async def test_what_is_no_link_is_over(here: Door, token: str) -> None:
    assert await over(here, token, ANN)


async def test_a_link_is_in_no_file(here: Door) -> None:
    await here.account()
    token = await here.access.make_link(ANN, **BY)
    assert token.encode() not in here.on_disk()
    assert bytes.fromhex(token) not in here.on_disk()


async def test_a_link_can_end_management_tokens_too(here: Door) -> None:
    account = await here.account()
    await here.access.create_token((await here.enter()).identity, "nightly", None, **BY)
    await here.access.use_link(await here.access.make_link(ANN, **BY), NEW)
    assert len(await here.access.tokens(account)) == 1
    await here.access.use_link(await here.access.make_link(ANN, **BY), NEW, end_tokens=True)
    assert await here.access.tokens(account) == ()


# The first operator


async def test_the_first_operator_makes_an_account_by_a_link(here: Door) -> None:
    token = await here.access.make_setup_link()
    assert token is not None
    account = await here.access.use_link(token, PASSWORD, " Ann@Example.com ", address=HOME)
    assert (account.email, account.operator) == (ANN, True)
    assert (await here.enter()).identity.account == account
    assert ("account.created", ANN, "one-time link, from 192.0.2.1") in await here.told()


async def test_where_there_is_an_operator_there_is_no_setup_link(here: Door) -> None:
    await here.account(BOB)
    token = await here.access.make_setup_link()
    assert token is not None
    await here.account(operator=True)
    assert await over(here, token, NOBODY)
    assert await here.access.make_setup_link() is None


async def test_a_setup_link_is_good_once_for_an_hour_and_a_newer_one_ends_it(here: Door) -> None:
    first, second = await here.access.make_setup_link(), await here.access.make_setup_link()
    assert first is not None
    assert second is not None
    assert await over(here, first, ANN)
    here.clock.now += LINK_LIFE
    assert await over(here, second, ANN)
    third = await here.access.make_setup_link()
    assert third is not None
    assert not await over(here, third, ANN)
    assert await over(here, third, BOB)


async def test_of_many_who_use_a_setup_link_at_once_one_becomes_operator(here: Door) -> None:
    token = await here.access.make_setup_link()
    assert token is not None
    work = (here.access.use_link(token, PASSWORD, f"{number}@example.com") for number in range(10))
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert len([answer for answer in answers if not isinstance(answer, BaseException)]) == 1
    assert len([account for account in await here.store.accounts() if account.operator]) == 1
    assert len(await here.store.accounts()) == 1


@pytest.mark.parametrize(("email", "code"), [("", "bad_email"), ("none", "bad_email"), (BOB, "account_exists")])
async def test_an_address_that_is_no_good_does_not_use_a_setup_link_up(here: Door, email: str, code: str) -> None:
    await here.account(BOB)
    token = await here.access.make_setup_link()
    assert token is not None
    with pytest.raises(KeyRuleBroken) as caught:
        await here.access.use_link(token, PASSWORD, email)
    assert caught.value.code == code
    assert (await here.keys.find_account(BOB)).operator is False
    assert not await over(here, token, ANN)


async def test_without_a_terminal_the_setup_link_goes_into_a_file_that_its_use_removes(here: Door) -> None:
    said = await here.access.offer_setup_link("https://keys.example.com", io.StringIO())
    file = setup_file_of(here.path)
    link = file.read_text("utf-8").strip()
    assert said is not None
    assert str(file) in said
    assert link.startswith("https://keys.example.com/link?token=")
    token = link.partition("token=")[2]
    assert token not in said
    await here.access.use_link(token, PASSWORD, ANN)
    assert not file.exists()


async def test_a_host_that_starts_leaves_the_link_of_another_and_renews_its_own(here: Door) -> None:
    page, file = "https://keys.example.com", setup_file_of(here.path)

    async def start() -> str | None:
        return await here.access.offer_setup_link(page, io.StringIO(), shared=True)

    token = await here.access.make_setup_link()  # another host, or a terminal
    assert token
    said = await start()
    assert said is not None
    assert "keystile accounts setup-link" in said
    assert await here.access.link(token)
    assert not file.exists()
    file.write_text(f"{page}/link?token={'0' * 64}\n")  # left by an earlier start
    await start()
    assert await here.access.link(token)

    here.clock.now += LINK_LIFE
    assert "is in" in str(await start())
    mine = file.read_text().strip().partition("token=")[2]
    assert await here.access.link(mine)
    await start()
    assert not await here.access.link(mine)  # its own is its to replace, as without other hosts
    assert await here.access.link(file.read_text().strip().partition("token=")[2])
    await here.account(operator=True)
    assert await start() is None


async def test_of_many_hosts_that_start_at_once_one_offers_a_link(here: Door) -> None:
    made = await asyncio.gather(*(here.access._put("", unless_there_is_one=True) for _ in range(8)))
    assert sorted(map(bool, made)) == [False] * 7 + [True]
    assert await here.access.link(max(made))


async def test_who_takes_over_offers_no_setup_link_where_one_was_offered(here: Door) -> None:
    """A reload, an upgrade, a restart: a newer link would end the one that the operator has."""
    first = await here.access.offer_setup_link("https://keys.example.com", io.StringIO(), anew=False)
    assert first is not None, "the one before it died before it could"
    text = setup_file_of(here.path).read_text()
    assert await here.access.offer_setup_link("https://keys.example.com", io.StringIO(), anew=False) is None
    here.clock.now += 2 * LINK_LIFE
    assert await here.access.offer_setup_link("https://keys.example.com", io.StringIO(), anew=False) is None
    assert setup_file_of(here.path).read_text() == text
    assert await here.access.offer_setup_link("https://keys.example.com", io.StringIO()) is not None
    assert setup_file_of(here.path).read_text() != text


async def test_a_file_with_a_link_does_not_outlast_the_need_for_it(here: Door) -> None:
    await here.access.offer_setup_link("https://keys.example.com", io.StringIO())
    await here.account(operator=True)
    assert await here.access.offer_setup_link("https://keys.example.com", io.StringIO()) is None
    assert not setup_file_of(here.path).exists()


@pytest.mark.parametrize("step", ["create_account", "note_password_set", "set_password"])
async def test_a_setup_link_that_was_cut_off_anywhere_leads_to_an_operator_all_the_same(
    here: Door, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed, or a store that was busy for too long, before each of the steps."""

    async def cut(*_: object, **__: object) -> None:
        raise RuntimeError("cut off")

    token = await here.access.make_setup_link()
    assert token is not None
    with monkeypatch.context() as patch:
        patch.setattr(here.passwords if step == "set_password" else here.keys, step, cut)
        with pytest.raises(RuntimeError, match="cut off"):
            await here.access.use_link(token, PASSWORD, ANN)
    again = token if await here.access.link(token) else await here.access.make_setup_link()
    assert again is not None
    await here.access.use_link(again, PASSWORD, ANN)
    assert (await here.enter()).identity.account.operator
    assert len(await here.store.accounts()) == 1


async def test_tokens_are_ended_before_the_password_is_set(here: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in between, the link is still good, and what was asked for can be done again."""
    account = await here.account()
    await here.access.create_token((await here.enter()).identity, "nightly", None, **BY)
    token = await here.access.make_link(ANN, **BY)

    async def cut(*_: object, **__: object) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(here.passwords, "set_password", cut)
        with pytest.raises(RuntimeError, match="cut off"):
            await here.access.use_link(token, NEW, end_tokens=True)
    assert await here.access.tokens(account) == ()
    await here.access.use_link(token, NEW, end_tokens=True)
    assert await here.enter(password=NEW)


@pytest.mark.parametrize(("ahead", "ended"), [(1.0, False), (LINK_LIFE / 2, False), (86400.0, True)])
async def test_a_link_made_by_a_clock_that_was_ahead_is_not_good_for_longer_by_as_much(
    here: Door, ahead: float, ended: bool
) -> None:
    await here.account()
    here.clock.now += ahead
    token = await here.access.make_link(ANN, **BY)
    here.clock.now -= ahead
    assert (await here.access.link(token) is None) is ended
    here.clock.now += ahead
    assert await here.access.link(token) is not None
    here.clock.now += 365 * 86400
    assert await here.access.link(token) is None
    here.clock.now -= 365 * 86400
    assert await here.access.link(token) is not None, "it was not used, and its hour is not over"
