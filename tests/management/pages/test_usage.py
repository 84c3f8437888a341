from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystile.keys.key import ApiKey
from keystile.management import chart
from keystile.management.pages import usage
from keystile.relay.refusal import Refusal
from tests.management.pages.reading import harmless
from tests.management.running import Managed, running

EMAIL = "a@example.com"


async def key(app: Managed, name: str = "Shop", email: str = EMAIL) -> ApiKey:
    made = await app.services.keys.create(email, name, ["ViewContacts"], actor="test", origin="test")
    return made.key


def hour(app: Managed) -> int:
    return int(app.services.clock() // 3600)


async def test_without_keys_the_page_says_what_it_is_for(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.sign_in(EMAIL)

        assert "Nothing to count yet" in harmless(await app.page("/usage")).text


async def test_the_chart_has_a_title_a_description_and_the_same_numbers_as_a_table(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.sign_in(EMAIL)
        one, now = await key(app), hour(app)
        asked = [(now, "", 1234), (now, "scope-missing", 7), (now - 30, "", 5), (now, "new-one", 2)]
        await app.services.store.record_usage([(one.id, *each) for each in asked])
        page = harmless(await app.page("/usage"))

        [svg] = [attrs for attrs in page.all("svg") if attrs.get("role") == "img"]
        labels = svg["aria-labelledby"].split()
        assert [tag for tag, attrs in page.elements if attrs.get("id") in labels] == ["title", "desc"]
        assert "1,239 passed on, 9 refused. Busiest:" in page.text
        assert "the key lacked a permission 7" in page.text
        assert "new one 2" in page.text
        assert f"{chart.hour_text(now)} 1,234 9" in page.text
        assert f"{chart.hour_text(now - 30)} 5 0" in page.text


async def test_periods_can_be_chosen_and_anything_else_is_the_usual_one(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.sign_in(EMAIL)
        one, now = await key(app), hour(app)
        await app.services.store.record_usage([(one.id, now - 24 * 20, "", 3), (one.id, now - 20, "", 4)])

        assert "4 passed on" in harmless(await app.page("/usage?days=1")).text
        assert "7 passed on" in harmless(await app.page("/usage?days=30")).text
        for odd in ("", "?days=2", "?days=-1", "?days=x", "?page=0", "?page=99", "?page=x"):
            page = harmless(await app.page(f"/usage{odd}"))
            [current] = [attrs for attrs in page.all("a") if attrs.get("aria-current") == "true"]
            assert current["href"].startswith("/usage?days=7")


async def test_somebody_sees_only_keys_of_their_own_account(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.account("b@example.com")
        theirs, mine = await key(app, "Theirs", "b@example.com"), await key(app, "Mine")
        await app.services.store.record_usage([(theirs.id, hour(app), "", 9)])
        await app.sign_in(EMAIL)

        assert "Theirs" not in await app.page("/usage")
        assert "Mine" in await app.page(f"/usage?key={mine.id}")
        assert "Theirs" not in await app.page(f"/usage?key={theirs.id}", 404)


async def test_who_has_not_signed_in_is_led_to_the_sign_in_page(tmp_path: Path) -> None:
    async with running(tmp_path) as app, app.client.get(f"{app.url}/usage", allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"].startswith("/sign-in")


@pytest.mark.parametrize("count", [2, 15])
async def test_a_page_of_keys_that_were_busy_every_hour_stays_small(tmp_path: Path, count: int) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.sign_in(EMAIL)
        # Heights that change with every hour are the worst for a path.
        why, hours = ("", "scope-missing"), chart.window(hour(app), 30)
        keys = [await key(app, "&" * 97 + str(n)) for n in range(count)]
        for one in keys:
            sums = [(one.id, each, slug, 10**8 * (1 + each % 7)) for each in hours for slug in why]
            await app.services.store.record_usage(sums)

        for days in usage.PERIODS:
            shown = harmless(await app.page(f"/usage?days={days}"))
            harmless(await app.page(f"/usage?days={days}&key={keys[0].id}"))
            assert len([1 for attrs in shown.all("svg") if attrs.get("role")]) == min(count, usage.PAGE)
        last = harmless(await app.page("/usage?page=99"))
        assert len([1 for attrs in last.all("svg") if attrs.get("role")]) == (count % usage.PAGE or usage.PAGE)


async def test_one_key_is_shown_by_the_hour(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await app.account(EMAIL)
        await app.sign_in(EMAIL)
        keys = [await key(app, f"key {n}") for n in range(3)]
        await app.services.store.record_usage([(one.id, hour(app), "", 1) for one in keys])

        assert "per 6 hours" in await app.page("/usage")
        page = await app.page(f"/usage?key={keys[1].id}")
        assert "per hour" in page
        assert re.findall("key [0-9]", harmless(page).text) == ["key 1", "key 1"]


def test_every_refusal_of_the_relay_has_plain_words() -> None:
    without_a_key = {"api-key-required", "invalid-api-key"}

    assert {refusal.slug for refusal in Refusal} - without_a_key == set(usage.WHY)
    assert usage.why("something-new") == "something new"
