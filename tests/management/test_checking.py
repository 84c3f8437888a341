from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.management import checking
from keystile.management.access import SignedIn, SlowDown
from keystile.management.slowdown import LONGEST
from keystile.storage.attempts import AttemptStore
from tests.management.coming_in import ANN, BOB, ELSEWHERE, HOME, NOBODY, OFFICE, PASSWORD, WRONG, Clock, Door, door


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as opened:
        yield opened


async def tries(here: Door, email: str, address: str, times: int = 1, password: str = WRONG) -> list[object]:
    return [await here.access.sign_in(email, password, address) for _ in range(times)]


async def test_even_the_right_password_waits_where_too_many_were_wrong(here: Door) -> None:
    await here.account()
    assert await tries(here, ANN, HOME, 5) == [None] * 5
    assert await tries(here, ANN, HOME, password=PASSWORD) == [SlowDown(1)]
    here.clock.now += 1
    await here.enter()


async def test_attempts_within_the_delay_are_not_counted(here: Door) -> None:
    await here.account()
    await tries(here, ANN, HOME, 5)
    assert await tries(here, ANN, HOME, 50) == [SlowDown(1)] * 50
    here.clock.now += 1
    assert await tries(here, ANN, HOME, 2) == [None, SlowDown(2)]


async def test_an_account_is_slowed_down_whatever_number_of_addresses_is_used(here: Door) -> None:
    await here.account()
    answers = [await here.access.sign_in(ANN, WRONG, f"203.0.113.{host}") for host in range(50)]
    assert answers == [None] * 5 + [SlowDown(1)] * 45


async def test_an_address_is_slowed_down_whatever_number_of_accounts_is_tried(here: Door) -> None:
    answers = [await here.access.sign_in(f"{number}@example.com", WRONG, ELSEWHERE) for number in range(50)]
    assert answers == [None] * 20 + [SlowDown(1)] * 30
    await here.account()
    await here.enter(address=HOME)


async def test_the_addresses_of_one_ipv6_network_are_one_client(here: Door) -> None:
    answers = [await here.access.sign_in(f"{number}@example.com", WRONG, f"2001:db8::{number}") for number in range(30)]
    assert answers == [None] * 20 + [SlowDown(1)] * 10


async def test_attempts_at_once_are_counted_one_by_one(here: Door) -> None:
    await here.account()
    answers = await asyncio.gather(*(here.access.sign_in(ANN, WRONG, f"203.0.113.{host}") for host in range(40)))
    assert answers.count(None) == 5
    assert answers.count(SlowDown(1)) == 35


async def test_a_right_guess_among_many_at_once_is_not_found_beyond_the_free_ones(here: Door) -> None:
    await here.account()
    guesses = [WRONG] * 10 + [PASSWORD]
    answers = await asyncio.gather(*(here.access.sign_in(ANN, guess, ELSEWHERE) for guess in guesses))
    assert not [answer for answer in answers if isinstance(answer, SignedIn)]


async def test_an_attacker_elsewhere_does_not_shut_the_owner_out(here: Door) -> None:
    await here.account()
    await here.enter(address=HOME)
    for _ in range(200):
        await tries(here, ANN, ELSEWHERE)
        here.clock.now += 60
    # Held off everywhere else …
    assert isinstance((await tries(here, ANN, OFFICE, password=PASSWORD))[0], SlowDown)
    # … but not where the account has signed in from, a typing mistake included.
    assert await tries(here, ANN, HOME) == [None]
    await here.enter(address=HOME)


async def test_a_known_address_is_slowed_down_by_its_own_failures(here: Door) -> None:
    await here.account()
    await here.enter(address=HOME)
    assert await tries(here, ANN, HOME, 6) == [None] * 5 + [SlowDown(1)]
    await here.enter(address=OFFICE)


async def test_an_address_is_known_to_the_account_that_signed_in_from_it_alone(here: Door) -> None:
    await here.account()
    await here.account(BOB)
    await here.enter(BOB, address=ELSEWHERE)
    await tries(here, ANN, HOME, 5)
    assert await tries(here, ANN, ELSEWHERE, password=PASSWORD) == [SlowDown(1)]


async def test_an_address_is_not_known_for_ever(here: Door) -> None:
    await here.account()
    await here.enter(address=HOME)
    here.clock.now += checking.KNOWN_FOR + 1
    await tries(here, ANN, ELSEWHERE, 5)
    assert await tries(here, ANN, HOME, password=PASSWORD) == [SlowDown(1)]


async def test_signing_in_to_an_account_of_ones_own_does_not_undo_failures_at_others(here: Door) -> None:
    await here.account(BOB)
    for number in range(19):
        await tries(here, f"{number}@example.com", ELSEWHERE)
        await here.enter(BOB, address=ELSEWHERE)
    assert await tries(here, NOBODY, ELSEWHERE) == [None]
    assert isinstance((await tries(here, BOB, ELSEWHERE, password=PASSWORD))[0], SlowDown)


async def test_signing_in_often_is_not_slowed_down(here: Door) -> None:
    await here.account()
    for _ in range(50):
        await here.enter()


async def test_signing_in_at_once_from_several_tabs_is_not_slowed_down(here: Door) -> None:
    await here.account()
    answers = await asyncio.gather(*(here.access.sign_in(ANN, PASSWORD, HOME) for _ in range(4)))
    assert all(isinstance(answer, SignedIn) for answer in answers)
    await here.enter()


async def test_a_restart_forgets_no_failure(tmp_path: Path) -> None:
    clock = Clock()
    async with door(tmp_path, clock) as before:
        await before.account()
        await tries(before, ANN, HOME, 5)
    async with door(tmp_path, clock) as after:
        assert await tries(after, ANN, HOME, password=PASSWORD) == [SlowDown(1)]


async def test_the_longest_delay_ends_within_fifteen_minutes(here: Door) -> None:
    await here.account()
    for _ in range(40):
        await tries(here, ANN, ELSEWHERE)
        here.clock.now += LONGEST
    await tries(here, ANN, ELSEWHERE)
    here.clock.now += LONGEST
    await here.enter(address=HOME)


async def test_a_one_time_link_lets_the_owner_in_from_a_new_address_whatever_others_do(here: Door) -> None:
    await here.account()
    await tries(here, ANN, ELSEWHERE, 5)
    token = await here.access.make_link(ANN, actor="test", origin="test")
    await here.access.use_link(token, PASSWORD, address=OFFICE)
    for _ in range(6):
        await tries(here, ANN, ELSEWHERE)
    await here.enter(address=OFFICE)


async def test_a_client_without_an_address_is_never_a_known_one(here: Door) -> None:
    await here.account()
    await here.enter(address="unknown")
    await tries(here, ANN, HOME, 5)
    assert await tries(here, ANN, "unknown", password=PASSWORD) == [SlowDown(1)]


async def test_a_flood_waits_in_a_line_that_ends(here: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.account()
    monkeypatch.setattr(checking, "MOST_WAITING", 3)
    go, all_wait, waiting = asyncio.Event(), asyncio.Event(), 0
    check = here.passwords.check

    async def slowly(account_id: str | None, password: str) -> int | None:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            all_wait.set()
        await go.wait()
        return await check(account_id, password)

    monkeypatch.setattr(here.passwords, "check", slowly)
    first = [asyncio.create_task(here.access.sign_in(ANN, PASSWORD, HOME)) for _ in range(3)]
    await all_wait.wait()
    assert await here.access.sign_in(ANN, PASSWORD, HOME) == SlowDown(2)
    go.set()
    assert all(isinstance(answer, SignedIn) for answer in await asyncio.gather(*first))
    monkeypatch.undo()
    await here.enter()


async def test_failures_lie_in_few_rows_and_the_worst_are_kept(here: Door) -> None:
    few = AttemptStore(here.access._rows.file, most=40)
    here.access._checking._attempts = few
    await here.account()
    await tries(here, ANN, ELSEWHERE, 5)
    for number in range(200):
        await here.access.sign_in(f"{number}@example.com", WRONG, f"198.51.100.{number}")
    rows = await here.access._rows.file.read("SELECT count(*) FROM attempts")
    assert rows[0][0] <= 40
    assert await tries(here, ANN, HOME, password=PASSWORD) == [SlowDown(1)]


# -- the clock jumps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-365 * 86400.0, -86400.0, -60.0, 60.0, 86400.0, 365 * 86400.0])
async def test_a_clock_that_jumps_lets_the_owner_in_within_fifteen_minutes(here: Door, jump: float) -> None:
    await here.account()
    await tries(here, ANN, HOME, 5)
    assert await tries(here, ANN, HOME) == [SlowDown(1)]
    here.clock.now += jump
    here.clock.now += LONGEST
    await here.enter()


@pytest.mark.parametrize("jump", [-365 * 86400.0, -86400.0, -3600.0])
async def test_after_a_clock_was_set_back_guesses_are_as_few_as_before_and_the_right_password_is_let_in(
    here: Door, jump: float
) -> None:
    await here.account()
    await tries(here, ANN, HOME, 5)
    here.clock.now += jump
    await here.enter()  # delays of a time that has not come yet hold nobody off
    guesses = await tries(here, ANN, ELSEWHERE, 20)
    assert guesses.count(None) == 1, "as after many failures: those of before have not leaked away"


async def test_a_clock_that_jumps_ahead_forgets_failures_once_and_counts_anew(here: Door) -> None:
    await here.account()
    assert (await tries(here, ANN, HOME, 20)).count(None) == 5
    here.clock.now += 365 * 86400
    assert (await tries(here, ANN, HOME, 20)).count(None) == 5
    here.clock.now -= 365 * 86400
    assert (await tries(here, ANN, HOME, 20)).count(None) == 1
