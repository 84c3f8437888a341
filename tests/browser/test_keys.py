"""The life of a key in a real browser: from the empty list to the history of a deleted one."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex

import pytest
from playwright.async_api import expect

from tests.browser.running import Site, Visitor, browser, site, visiting
from tests.process.running import until

pytestmark = pytest.mark.timeout(180)
KEY = re.compile(r"^[0-9A-F]{96}$")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def where(running: Site) -> Site:
    """The gateway of all these tests, with an account of this one's own."""
    owner = f"{token_hex(4)}@example.com"
    running.gateway.create_account(owner)
    return replace(running, owner=owner)


async def create(visitor: Visitor, name: str) -> str:
    """Make a key with View only, as a person does; its secret."""
    page = visitor.page
    await page.get_by_role("link", name="Create").first.click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill(name)
    await form.get_by_label("View only").check()
    await form.get_by_role("button", name="Create API key").click()
    return await shown(visitor)


async def shown(visitor: Visitor) -> str:
    """The key in the popup."""
    secret = await visitor.page.get_by_role("dialog").get_by_label("The API key").inner_text()
    assert KEY.match(secret)
    return secret


async def close(visitor: Visitor) -> None:
    """The deliberate act."""
    popup = visitor.page.get_by_role("dialog")
    await popup.get_by_label("I have copied the key").check()
    await popup.get_by_role("button", name="Done").click()
    await expect(popup).to_have_count(0)


async def test_the_whole_life_of_a_key(where: Site) -> None:
    async with browser() as opened, visiting(opened, where, permissions=["clipboard-read", "clipboard-write"]) as one:
        page = one.page
        await one.sign_in()
        await one.shot("1-empty")
        await expect(page.get_by_text("You have no API key yet")).to_be_visible()
        await expect(page.get_by_text("not an SMTP credential")).to_be_visible()

        # Custom permissions and a restriction.
        await page.get_by_role("link", name="Create your first API key").click()
        form = page.get_by_role("dialog")
        await expect(form.get_by_label("Name")).to_be_focused()
        await form.get_by_label("Name").fill("Shop <b>orders</b>")
        await form.get_by_label("Custom").check()
        await form.get_by_role("searchbox").fill("contacts")
        await form.get_by_label("View Contacts", exact=True).check()
        await form.get_by_label("Usable from").fill("not an address")
        await expect(form.locator("#networks-error")).to_contain_text("not an address")
        await form.get_by_label("Usable from").fill("")
        await form.get_by_role("button", name="Use my address").click()
        await expect(form.get_by_label("Usable from")).to_have_value(re.compile(r"^127\.0\.0\.1\s*$"))
        await one.shot("2-create")
        assert await one.violations() == []
        await form.get_by_role("button", name="Create API key").click()

        # The popup: copied, and not closed by accident.
        secret = await shown(one)
        await one.shot("3-popup")
        assert await one.violations() == []
        await page.get_by_role("button", name="Copy").click()
        assert await page.evaluate("navigator.clipboard.readText()") == secret
        await page.keyboard.press("Escape")
        await expect(page.get_by_label("The API key")).to_be_visible()
        await page.get_by_role("button", name="Done").click()
        await expect(page.get_by_label("The API key")).to_be_visible()

        assert where.call(secret) == 200
        assert where.call(secret, "/v4/campaigns") == 403
        assert where.call(secret, source="127.0.0.2") == 403

        await close(one)
        await page.reload()
        assert secret not in await page.content()
        row = page.get_by_role("row", name=re.compile("orders"))
        await expect(row).to_contain_text(f"•••…{secret[-5:]}")
        await expect(row).to_contain_text("127.0.0.1")
        await expect(page.get_by_text("1 of 15")).to_be_visible()
        await one.shot("4-list")

        # Edit: one permission more.
        await row.get_by_role("link", name="Edit").click()
        form = page.get_by_role("dialog")
        await form.get_by_label("View Campaigns", exact=True).check()
        await form.get_by_role("button", name="Save").click()
        await expect(page.locator("#main").get_by_text("has been saved")).to_be_visible()
        assert where.call(secret, "/v4/campaigns") == 200

        # Change: the old one is refused at the next request.
        await row.get_by_role("link", name="Change").click()
        await page.get_by_role("dialog").get_by_role("button", name="Change API key").click()
        changed = await shown(one)
        assert changed != secret
        assert (where.call(secret), where.call(changed)) == (401, 200)
        await close(one)

        # Delete: names what it was used for.
        await row.get_by_role("link", name="Delete").click()
        form = page.get_by_role("dialog")
        await expect(form).to_contain_text("Last used")
        await one.shot("5-delete")
        await form.get_by_role("button", name="Delete API key").click()
        await expect(page.get_by_text("You have no API key yet")).to_be_visible()
        assert where.call(changed) == 401

        await page.get_by_role("link", name="History").click()
        table = page.get_by_role("table")
        for what in ("created", "edited", "changed", "deleted"):
            await expect(table).to_contain_text(re.compile(what, re.IGNORECASE))
        text = await page.content()
        assert secret not in text
        assert changed not in text
        await one.shot("6-history")


async def test_the_sixteenth_key_is_explained(where: Site) -> None:
    for number in range(14):
        where.gateway.create_key(f"k{number:02}", "ViewContacts", account=where.owner)
    async with browser() as opened, visiting(opened, where) as one:
        await one.sign_in()
        await create(one, "the fifteenth")
        await close(one)
        await expect(one.page.get_by_text("15 of 15")).to_be_visible()
        await one.page.get_by_role("link", name="Create API key").click(force=True)
        await expect(one.page.get_by_text("All 15 API keys are in use")).to_be_visible()
        await one.shot("7-full")
        assert await one.violations() == []


async def test_all_of_it_with_the_keyboard_alone(where: Site) -> None:
    async with browser() as opened, visiting(opened, where) as one:
        page = one.page
        await one.sign_in()
        await tab_to(one, "Create your first API key")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()
        await page.keyboard.type("by keyboard")
        await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowUp")  # View only, which is the first
        await page.keyboard.press("Enter")
        secret = await shown(one)
        await tab_to(one, "I have copied the key and keep it in a safe place")
        await page.keyboard.press("Space")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert where.call(secret) == 200
        # Escape closes a dialog, and the focus is where it was.
        await tab_to(one, "Delete by keyboard")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert await focused(one) == "Delete by keyboard"


async def focused(visitor: Visitor) -> str:
    """The words on what has the focus."""
    read = """() => {
        const it = document.activeElement
        const words = it.labels?.length ? it.labels[0] : it
        return words.innerText.replace(/\\s+/g, " ").trim()
    }"""
    return str(await visitor.page.evaluate(read))


async def tab_to(visitor: Visitor, words: str) -> None:
    """Press Tab until something with these words has the focus."""
    for _ in range(80):
        if await focused(visitor) == words:
            return
        await visitor.page.keyboard.press("Tab")
    pytest.fail(f"no way to {words!r} by keyboard; the focus ended at {await focused(visitor)!r}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_at_360_pixels_and_in_both_schemes(where: Site, scheme: str) -> None:
    more = ["--allow", "127.0.0.1"]
    where.gateway.create_key("orders", "ViewContacts", "ModifyContacts", more=more, account=where.owner)
    boss = f"boss-{where.owner}"
    create_operator = ("accounts", "create", boss, "--operator", "--password-stdin")
    assert where.gateway.run(*create_operator, stdin="a long password\n").code == 0
    paths = ["/keys", "/keys/new", "/history", "/usage", "/reference", "/account", "/operator", "/operator/accounts"]
    async with browser() as opened, visiting(
        opened, where, viewport={"width": 360, "height": 740}, color_scheme=scheme
    ) as one:
        await one.page.goto(where.url)
        assert await one.violations() == []
        await one.sign_in(boss, "a long password")
        await create(one, "mine")
        await close(one)
        for path in paths:
            answer = await one.page.goto(where.url + path)
            assert answer is not None
            assert answer.status == 200, path
            assert len(await answer.body()) < 50 * 1024, path
            assert await one.page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert await one.violations() == []
            await one.shot(f"{scheme}-360-{path.strip('/').replace('/', '-')}")


async def test_two_tabs_lose_nothing_of_each_other(where: Site) -> None:
    where.gateway.create_key("shared", "ViewContacts", account=where.owner)
    async with browser() as opened, visiting(opened, where) as one:
        await one.sign_in()
        await one.page.get_by_role("link", name="Edit").first.click()
        form = one.page.get_by_role("dialog")
        await form.get_by_label("Name").fill("mine")
        more = ("--scope", "ViewContacts", "--scope", "ViewCampaigns")
        where.gateway.keys("edit", "shared", *more, account=where.owner)
        await form.get_by_role("button", name="Save").click()
        await expect(form).to_contain_text("altered after you opened this form")
        await expect(form.get_by_label("Name")).to_have_value("mine")
        await form.get_by_role("button", name="Save").click()
        await expect(one.page.locator("#main").get_by_text("has been saved")).to_be_visible()
        assert sorted(where.gateway.listed("mine", account=where.owner)["scopes"]) == ["ViewCampaigns", "ViewContacts"]


async def test_an_open_page_goes_on_after_management_was_killed(where: Site) -> None:
    async with browser() as opened, visiting(opened, where) as one:
        await one.sign_in()
        [before] = where.gateway.pids("management")
        os.kill(before, signal.SIGKILL)
        until(lambda: where.gateway.pids("management") not in ([], [before]), within=20)
        until(lambda: '"ok"' in where.gateway.look("/health"), within=20)
        secret = await create(one, "after the kill")
        assert where.call(secret) == 200
        await close(one)


async def test_without_scripts_it_all_works_too(where: Site) -> None:
    async with browser() as opened, visiting(opened, where, java_script_enabled=False) as one:
        page = one.page
        await one.sign_in()
        await page.get_by_role("link", name="Create your first API key").click()
        await page.get_by_label("Name").fill("plain")
        await page.get_by_label("View only").check()
        await page.get_by_role("button", name="Create API key").click()
        secret = await page.get_by_label("The API key").inner_text()
        assert where.call(secret.strip()) == 200
        await page.get_by_label("I have copied the key").check()
        await page.get_by_role("button", name="Done").click()
        await expect(page.get_by_role("row", name=re.compile("plain"))).to_contain_text(secret.strip()[-5:])

