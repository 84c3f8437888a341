from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from keystile.management.access import (
    IDLE_SESSION,
    LONGEST_SESSION,
    MOST_SESSIONS,
    Access,
    AccessRefused,
    SignedIn,
    SlowDown,
)
from keystile.management.tokens import SEEN_EVERY
from keystile.storage.asking import Asking, Row
from keystile.storage.passwords import passwords_of
from tests.management.coming_in import (
    ANN,
    BOB,
    ELSEWHERE,
    HOME,
    NEW,
    NOBODY,
    OFFICE,
    PASSWORD,
    WRONG,
    Door,
    door,
)
from tests.management.running import running


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as opened:
        yield opened


async def refused(work: object) -> str:
    with pytest.raises(AccessRefused) as caught:
        await work  # type: ignore[misc]
    return str(caught.value.code)


# Signing in


async def test_the_right_password_begins_a_session(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    identity = await here.access.session(signed_in.secret)
    assert identity == signed_in.identity
    assert identity is not None
    assert (identity.account, identity.kind) == (account, "session")


async def test_an_address_is_found_in_any_spelling(here: Door) -> None:
    await here.account()
    assert await here.lasts(await here.enter(" Ann@Example.COM "))


@pytest.mark.parametrize("email", [ANN, NOBODY, "no address", "", "\ud800", "x" * 100_000])
@pytest.mark.parametrize("password", [WRONG, "", "\ud800", "\0", "x" * 100_000])
async def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(
    here: Door, email: str, password: str
) -> None:
    await here.account()
    assert await here.access.sign_in(email, password, HOME) is None


async def test_an_unknown_account_makes_for_the_same_work(here: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.account()
    work: list[str] = []
    matches, hashed = here.passwords._matches, here.passwords._hash

    def matching(hashed: str, password: str) -> bool:
        work.append("verify")
        return matches(hashed, password)

    async def hashing(password: str) -> str:
        work.append("hash")
        return await hashed(password)

    file = here.access._rows.file
    change, read = file.change, file.read

    def changing() -> AbstractAsyncContextManager[Asking]:
        work.append("change")
        return change()

    async def reading(sql: str, values: Sequence[object] = ()) -> list[Row]:
        work.append(sql)
        return await read(sql, values)

    monkeypatch.setattr(here.passwords, "_matches", matching)
    monkeypatch.setattr(here.passwords, "_hash", hashing)
    monkeypatch.setattr(file, "change", changing)
    monkeypatch.setattr(file, "read", reading)
    await here.access.sign_in(ANN, WRONG, HOME)
    known, work[:] = list(work), []
    await here.access.sign_in(NOBODY, WRONG, HOME)
    assert work == known
    assert work.count("verify") == 1


async def test_an_unknown_account_is_slowed_down_like_a_known_one(here: Door) -> None:
    await here.account()
    answers = {
        email: [await here.access.sign_in(email, WRONG, address) for _ in range(7)]
        for email, address in ((ANN, HOME), (NOBODY, OFFICE), ("no address", ELSEWHERE))
    }
    assert answers[ANN] == answers[NOBODY] == answers["no address"]
    assert answers[ANN] == [None] * 5 + [SlowDown(1)] * 2


async def test_each_sign_in_has_a_session_of_its_own(here: Door) -> None:
    await here.account()
    first, second = await here.enter(), await here.enter()
    assert first.secret != second.secret
    assert first.identity.id != second.identity.id
    assert first.identity.csrf != second.identity.csrf
    assert await here.lasts(first)


async def test_secrets_of_sessions_are_in_no_file_and_no_text(here: Door) -> None:
    await here.account()
    signed_in = await here.enter()
    held = here.on_disk()
    for secret in (signed_in.secret, signed_in.identity.csrf):
        assert secret.encode() not in held
        assert bytes.fromhex(secret) not in held
        assert secret not in repr(signed_in)
    assert signed_in.secret not in signed_in.identity.csrf


async def test_a_session_is_told_by_its_secret_alone(here: Door) -> None:
    await here.account()
    signed_in = await here.enter()
    identity = signed_in.identity
    for wrong in ("", "0" * 64, identity.id, identity.csrf, signed_in.secret.upper(), signed_in.secret + "\n"):
        assert await here.access.session(wrong) is None


async def test_a_sign_in_and_a_sign_out_are_in_the_audit_table_and_failures_are_counted(here: Door) -> None:
    await here.account()
    await here.access.sign_in(ANN, WRONG, HOME)
    await here.access.sign_out((await here.enter()).identity, origin="page from 192.0.2.1")
    assert [event for event in await here.told() if event[0].startswith("account.signed")] == [
        ("account.signed_out", ANN, "page from 192.0.2.1"),
        ("account.signed_in", ANN, "page from 192.0.2.1"),
    ]
    assert (here.access.sign_ins, here.access.failures, here.access.slowed) == (1, 1, 0)


# How sessions end


async def test_a_session_survives_a_restart(tmp_path: Path) -> None:
    async with door(tmp_path) as before:
        await before.account()
        signed_in = await before.enter()
    async with door(tmp_path) as after:
        assert await after.access.session(signed_in.secret) == signed_in.identity


async def test_signing_out_ends_this_session_alone(here: Door) -> None:
    await here.account()
    first, second = await here.enter(), await here.enter()
    await here.access.sign_out(first.identity)
    assert not await here.lasts(first)
    assert await here.lasts(second)


async def test_one_can_sign_out_everywhere_else(here: Door) -> None:
    await here.account()
    await here.account(BOB)
    first, here_now, bobs = await here.enter(), await here.enter(), await here.enter(BOB)
    assert await here.access.end_other_sessions(here_now.identity) == 1
    assert [await here.lasts(each) for each in (first, here_now, bobs)] == [False, True, True]
    assert ("account.signed_out", ANN, "") in await here.told()


@pytest.mark.parametrize(("seconds", "lasts"), [(IDLE_SESSION - 1, True), (IDLE_SESSION, False)])
async def test_a_session_without_use_ends(here: Door, seconds: float, lasts: bool) -> None:
    await here.account()
    signed_in = await here.enter()
    here.clock.now += seconds
    assert await here.lasts(signed_in) is lasts


async def test_a_session_ends_however_much_it_is_used(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    begun = here.clock.now
    while here.clock.now < begun + LONGEST_SESSION:
        assert await here.lasts(signed_in)
        here.clock.now += IDLE_SESSION / 2
    assert not await here.lasts(signed_in)
    assert await here.access.sessions(account) == ()


async def test_when_a_session_was_last_used_is_written_once_a_minute(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    here.clock.now += SEEN_EVERY - 1
    await here.access.session(signed_in.secret, OFFICE)
    assert [(each.seen, each.address) for each in await here.access.sessions(account)] == [
        (here.clock.now - SEEN_EVERY + 1, HOME)
    ]
    here.clock.now += 1
    await here.access.session(signed_in.secret, OFFICE)
    assert [(each.seen, each.address) for each in await here.access.sessions(account)] == [(here.clock.now, OFFICE)]


async def test_a_new_password_by_command_ends_every_session(here: Door) -> None:
    account = await here.account()
    await here.account(BOB)
    anns, bobs = await here.enter(), await here.enter(BOB)
    await here.passwords.set_password(account.id, PASSWORD)
    assert not await here.lasts(anns)
    assert await here.lasts(bobs)


async def test_deleting_the_account_ends_every_session(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    await here.keys.delete_account(ANN, actor="test", origin="test")
    assert not await here.lasts(signed_in)
    await here.access.forget_account(account)
    with closing(sqlite3.connect(passwords_of(here.path))) as file:
        for table in ("passwords", "sessions", "links", "tokens", "known_addresses", "remembered"):
            assert file.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


async def test_an_account_made_anew_under_the_same_address_gets_no_old_session(here: Door) -> None:
    await here.account()
    signed_in = await here.enter()
    await here.keys.delete_account(ANN, actor="test", origin="test")
    await here.account()
    assert not await here.lasts(signed_in)


async def test_sessions_of_an_account_are_bounded(here: Door) -> None:
    account = await here.account()
    first = await here.enter()
    for _ in range(MOST_SESSIONS):
        here.clock.now += 1
        last = await here.enter()
    assert len(await here.access.sessions(account)) == MOST_SESSIONS
    assert not await here.lasts(first)
    assert await here.lasts(last)


async def test_a_password_changed_between_look_and_session_leaves_no_session(
    here: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await here.account()
    note = here.keys.note

    async def meanwhile(*asked: object, **by: object) -> object:
        await here.passwords.set_password(account.id, NEW)
        return await note(*asked, **by)  # type: ignore[arg-type]

    monkeypatch.setattr(here.keys, "note", meanwhile)
    assert await here.access.sign_in(ANN, PASSWORD, HOME) is None
    assert await here.access.sessions(account) == ()


async def test_an_account_deleted_between_look_and_session_is_a_wrong_password(
    here: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.account()
    note = here.keys.note

    async def meanwhile(*asked: object, **by: object) -> object:
        await here.keys.delete_account(ANN, actor="test", origin="test")
        return await note(*asked, **by)  # type: ignore[arg-type]

    monkeypatch.setattr(here.keys, "note", meanwhile)
    assert await here.access.sign_in(ANN, PASSWORD, HOME) is None


async def test_what_a_browser_calls_itself_is_kept_in_short(here: Door) -> None:
    account = await here.account()
    answer = await here.access.sign_in(ANN, PASSWORD, HOME, "x" * 10_000)
    assert isinstance(answer, SignedIn)
    assert len((await here.access.sessions(account))[0].agent) == 200


# Changing the password


async def test_a_new_password_ends_every_session_and_begins_one_here(here: Door) -> None:
    await here.account()
    elsewhere, mine = await here.enter(), await here.enter()
    changed = await here.access.change_password(mine.identity, PASSWORD, NEW, HOME)
    assert isinstance(changed, SignedIn)
    assert [await here.lasts(each) for each in (elsewhere, mine, changed)] == [False, False, True]
    assert await here.access.sign_in(ANN, PASSWORD, HOME) is None
    assert await here.lasts(await here.enter(password=NEW))
    assert ("account.password_set", ANN, "page from 192.0.2.1") in await here.told()


async def test_the_current_password_is_needed_and_guessing_it_is_slowed_down(here: Door) -> None:
    await here.account()
    mine = await here.enter()
    for _ in range(5):
        assert await refused(here.access.change_password(mine.identity, WRONG, NEW, HOME)) == "wrong_password"
    assert await here.access.change_password(mine.identity, PASSWORD, NEW, HOME) == SlowDown(1)
    assert await here.lasts(mine)


@pytest.mark.parametrize("bad", ["", "short", "x" * 1025])
async def test_a_new_password_that_is_no_good_changes_nothing(here: Door, bad: str) -> None:
    await here.account()
    mine = await here.enter()
    assert await refused(here.access.change_password(mine.identity, PASSWORD, bad, HOME)) == "bad_password"
    assert await here.lasts(mine)
    assert await here.lasts(await here.enter())


async def test_of_two_changes_at_once_one_is_refused(here: Door) -> None:
    await here.account()
    mine = await here.enter()
    answers = await asyncio.gather(
        here.access.change_password(mine.identity, PASSWORD, NEW, HOME),
        here.access.change_password(mine.identity, PASSWORD, NEW + "!", HOME),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["AccessRefused", "SignedIn"]


async def test_a_new_password_can_end_management_tokens_too(here: Door) -> None:
    account = await here.account()
    mine = await here.enter()
    await here.access.create_token(mine.identity, "nightly", actor=ANN, origin="test")
    changed = await here.access.change_password(mine.identity, PASSWORD, NEW, HOME)
    assert isinstance(changed, SignedIn)
    assert len(await here.access.tokens(account)) == 1
    await here.access.change_password(changed.identity, NEW, PASSWORD, HOME, end_tokens=True)
    assert await here.access.tokens(account) == ()


async def test_a_token_neither_changes_a_password_nor_ends_sessions(here: Door) -> None:
    await here.account()
    mine = await here.enter()
    _, secret = await here.access.create_token(mine.identity, "nightly", actor=ANN, origin="test")
    token = await here.access.token(secret)
    assert token is not None
    assert await refused(here.access.change_password(token, PASSWORD, NEW, HOME)) == "session_needed"
    assert await refused(here.access.end_other_sessions(token)) == "session_needed"
    assert await refused(here.access.sign_out(token)) == "session_needed"


async def test_an_access_opens_its_own_passwords(here: Door, tmp_path: Path) -> None:
    access = await Access.open(here.path, here.keys, here.store)
    assert await access.session("0" * 64) is None
    await access.close()


async def test_an_account_is_deleted_though_its_password_cannot_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The account is gone by then: to say that nothing has changed would not be true."""
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.05)
    async with running(tmp_path) as app:
        account = await app.account("bob@example.com")
        file = passwords_of(app.services.settings.store)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await app.services.access.forget_account(account)
    assert "what a deleted account signed in with cannot be forgotten" in caplog.text


# -- the clock jumps -------------------------------------------------------------------------------------

DAY = 86400.0


async def test_a_session_that_ended_by_a_clock_that_was_ahead_counts_again_when_it_is_set_right(here: Door) -> None:
    account = await here.account()
    signed_in = await here.enter()
    here.clock.now += 365 * DAY
    assert not await here.lasts(signed_in)
    assert await here.access.sessions(account) == ()
    here.clock.now -= 365 * DAY
    assert await here.lasts(signed_in)
    here.clock.now += IDLE_SESSION
    assert not await here.lasts(signed_in), "and ends when it would have"


async def test_who_signs_in_by_a_clock_that_is_ahead_sweeps_away_what_has_ended_by_it(here: Door) -> None:
    await here.account()
    earlier = await here.enter()
    here.clock.now += 365 * DAY
    later = await here.enter()
    here.clock.now -= 365 * DAY
    assert [await here.lasts(each) for each in (earlier, later)] == [False, False], "both sign in again"
    assert await here.lasts(await here.enter())


@pytest.mark.parametrize(("ahead", "lasts"), [(60.0, True), (DAY - 1, True), (DAY + 1, False), (365 * DAY, False)])
async def test_a_session_made_by_a_clock_that_was_far_ahead_does_not_outlast_others(
    here: Door, ahead: float, lasts: bool
) -> None:
    account = await here.account()
    here.clock.now += ahead
    signed_in = await here.enter()
    here.clock.now -= ahead
    assert await here.lasts(signed_in) is lasts
    assert len(await here.access.sessions(account)) == lasts


async def test_a_use_by_a_clock_that_was_ahead_makes_no_session_last_for_ever(here: Door) -> None:
    await here.account()
    signed_in = await here.enter()
    here.clock.now += IDLE_SESSION - 1
    assert await here.lasts(signed_in), "and it is written when"
    here.clock.now -= IDLE_SESSION - 1
    assert await here.lasts(signed_in)
    here.clock.now += LONGEST_SESSION
    assert not await here.lasts(signed_in)
