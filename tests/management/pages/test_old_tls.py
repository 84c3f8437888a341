from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystile.config.model import Certificate, Legacy, Listener, Rehearsal, Settings, Tls
from keystile.management.pages.old_tls import SINCE, endings, next_end
from tests.management.documented import HOSTILE
from tests.management.pages.ground import BOB, NOW, pages
from tests.management.pages.reading import harmless
from tests.management.running import running
from tests.relay.running import settings

PAIR = Certificate(Path("a.pem"), Path("a.key"))
DAY = NOW + 1000


def listener(retire_at: float, *rehearsals: Rehearsal, host: str = "192.0.2.1") -> Listener:
    return Listener(host, 443, Tls((PAIR,), legacy=Legacy("1.0", retire_at, rehearsals)))


def with_listeners(*listeners: Listener) -> Settings:
    return replace(settings(9), listeners=listeners)


def test_an_end_is_to_come_until_its_first_second() -> None:
    past, coming = Rehearsal(DAY - 30, DAY - 20), Rehearsal(DAY - 15, DAY - 5)
    wanted = with_listeners(listener(DAY, past, coming, host="::1"), Listener("192.0.2.1", 80), listener(DAY + 9))
    [first, second] = endings(wanted, DAY - 10)
    assert (first.listener, first.over, first.rehearsals) == ("[::1]:443", False, (coming,))
    assert (second.listener, second.retire_at) == ("192.0.2.1:443", DAY + 9)
    assert next_end(wanted, DAY - 1) == DAY
    assert next_end(wanted, DAY) == DAY + 9
    assert next_end(wanted, DAY + 9) is next_end(with_listeners(), 0.0) is None


async def test_the_owner_of_a_key_is_told_and_nobody_else(tmp_path: Path) -> None:
    async with pages(tmp_path, listeners=(listener(DAY),)) as site:
        ann, bob = await site.person(), await site.person(BOB)
        key = await ann.key("till 4")
        seen = [(key.id, "1.0", "203.0.113.9", NOW - 180, 7), (key.id, "1.1", "203.0.113.8", NOW - SINCE - 1, 1)]
        await site.services.store.record_old_tls(seen)
        told = await ann.get("/keys")
        for text in ("still use old TLS versions", "till 4", "TLS 1.0 from <code>203.0.113.9</code>", "3 minutes ago"):
            assert text in told
        assert "203.0.113.8" not in told
        assert "old TLS" not in await bob.get("/keys")
        site.clock.now = DAY
        assert "old TLS" not in await ann.get("/keys")


async def test_without_a_listener_that_takes_them_nobody_is_told(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        ann = await site.person()
        key = await ann.key()
        await site.services.store.record_old_tls([(key.id, "1.0", "203.0.113.9", NOW, 7)])
        assert "old TLS" not in await ann.get("/keys")


async def test_an_operator_sees_who_and_until_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as app:
        await app.account("op@example.com", operator=True)
        await app.sign_in("op@example.com")
        path = "/operator/old-tls"
        nothing = harmless(await app.page(path)).text
        assert "No listener accepts older versions." in nothing
        assert "Nobody has, in the last 30 days" in nothing
        assert "Who still uses them" not in harmless(await app.page("/operator")).text

        now = app.services.clock()
        wanted = replace(app.services.settings, listeners=(listener(now + 86400, Rehearsal(now + 10, now + 20)),))
        looked = replace(app.services, settings=wanted)
        for place in ("old_tls", "operators"):
            monkeypatch.setattr(f"keystile.management.pages.{place}.services", lambda request: looked)
        made = (await app.services.keys.create("op@example.com", HOSTILE[:50], actor="t", origin="t")).key
        seen = [(made.id, "1.0", f"203.0.113.{n}", now - n, 1234) for n in range(3)]
        await app.services.store.record_old_tls(seen)
        shown = harmless(await app.page(path)).text
        for text in ("192.0.2.1:443 , TLS 1.0 and up", "Rehearsal", "3 in all", "op@example.com", "1,234"):
            assert text in shown, shown
        assert "Who still uses them" in harmless(await app.page("/operator")).text
