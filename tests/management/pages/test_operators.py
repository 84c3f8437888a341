from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from keystile.management.certificates import CertificateEnd
from keystile.management.health import Health
from keystile.management.look import Configuration, Process, ServerState, Slots, Status, Traffic, UpstreamState
from keystile.storage.hosts import Host, HostSays, differences, states_of
from tests.management.documented import HOSTILE, document, document_settings, parts, real_settings
from tests.management.pages.reading import Page, harmless
from tests.management.running import Managed, running

OPERATOR = "op@example.com"
BUSY = Status(
    configuration=Configuration(7, "/etc/keystile/gateway.yaml", "/var/lib/keystile.db", (HOSTILE,)),
    health=Health((), (f"stuck: relay 12 {HOSTILE}",)),
    processes=(Process("management", 10, "up"), Process("relay", 12, "stuck", 3.4)),
    restarts=1,
    slots=Slots(25, 20, 20),
    traffic=Traffic(12_345, 25, 40, {"2xx": 12_000}, {"two_keys": 3, "scope_missing": 9}, {"TLS 1.3": 8}),
    dropped={"usage sums": 2},
    certificates=(
        CertificateEnd("listener 192.0.2.9:443", HOSTILE, (HOSTILE, *"abcd"), 1.0),
        CertificateEnd("listener 192.0.2.9:444", "b.pem", (), 9e9),
    ),
)


class Look:
    """A view of a busy gateway."""

    async def status(self) -> Status:
        return BUSY

    async def health(self) -> Health:
        return BUSY.health

    async def upstreams(self) -> tuple[UpstreamState, ...]:
        return (UpstreamState("api", (ServerState("192.0.2.1:80", ""), ServerState("192.0.2.2:80", HOSTILE))),)


async def signed_in(app: Managed) -> Managed:
    await app.account(OPERATOR, operator=True)
    await app.sign_in(OPERATOR)
    return app


async def page(app: Managed, path: str) -> Page:
    return harmless(await app.page(path))


async def operators_page(app: Managed, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an operator is shown of a gateway that does as ``Look`` says."""
    await signed_in(app)
    looked = dataclasses.replace(app.services, look=Look())
    monkeypatch.setattr("keystile.management.pages.operators.services", lambda request: looked)
    return (await page(app, "/operator")).text


async def test_an_operator_sees_how_the_gateway_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        shown = await operators_page(app, monkeypatch)

        for said in (
            "It works, but: stuck: relay 12",
            "By the busiest address 20 of 20",
            "An address has as many requests in flight as it may.",
            "Requests 12,345",
            "Accounts 1",
            "Routes 112",
            "done (2xx) 12,000",
            "the key lacked a permission 9 more than one API key was sent 3",
            "TLS 1.3 8",
            "usage sums 2",
            "Relay 12 Stuck silent for 3 s",
            "1 was started again",
            "192.0.2.1:80 Accepts connections",
            "192.0.2.2:80 Not reachable <script>alert(1)",
            "listener 192.0.2.9:443 <script>alert(1)",
            "and 1 more",
            "Mar 2255",
            "Expired",
            "Version 7 File /etc/keystile/gateway.yaml",
        ):
            assert said in shown, said


async def test_the_hosts_that_share_a_store_are_shown_and_in_what_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = HostSays("1", "one", "r", "0.1.0", "source", 3, "aaaa", "by each host", "ok", (), 60.0)
    other = dataclasses.replace(one, id="2", name=HOSTILE, settings="bbbb", health="degraded", troubles=(HOSTILE,))
    silent = dataclasses.replace(one, id="3", name="three", program="0.0.9", health="failing")
    known = [Host(each, 2, 0.0, heard, 1000.0) for each, heard in ((one, 999.0), (other, 998.0), (silent, 60.0))]
    states = states_of(known, "1")

    async def status(_: Look) -> Status:
        return dataclasses.replace(BUSY, hosts=states, host_differences=differences(states))

    monkeypatch.setattr(Look, "status", status)
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        shown = await operators_page(app, monkeypatch)
    for said in (
        "Different configurations: ",
        "bbbb on <script>alert(1)",
        "aaaa on one",
        "one This one 0.1.0, source runs since",
        "aaaa its number 3; slots counted by each host Works heard of 1 s ago",
        "bbbb Another its number 3",
        "Works, but <script>alert(1)",
        "three 0.0.9, source runs since",
        "Not heard of since 1 Jan 1970, 00:01 UTC",
    ):
        assert said in shown, said
    assert "Does not work" not in shown  # what a host said last before it went silent is not how it does
    assert "Different programs" not in shown


async def test_a_file_that_was_not_taken_is_shown_with_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = f"gateway.yaml:3: limits.max_fields: 'many' is no number\ngateway.yaml:9: nonsense: {HOSTILE}"
    made = dataclasses.replace(BUSY.configuration, fault=fault)

    async def status(_: Look) -> Status:
        return dataclasses.replace(BUSY, configuration=made)

    monkeypatch.setattr(Look, "status", status)
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        shown = await operators_page(app, monkeypatch)
    assert "The file as it is now was not taken; 7 goes on." in shown
    assert "gateway.yaml:3: limits.max_fields: 'many' is no number" in shown
    assert "gateway.yaml:9: nonsense: <script>alert(1)" in shown


async def test_what_was_never_counted_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await signed_in(app)
        shown = (await page(app, "/operator")).text

        assert "Everything works." in shown
        assert "None had to be started again." in shown
        for title in ("TLS version", "Certificates", "Refused, because", "Not written down", "Answers", "Hosts"):
            assert title not in shown


async def test_the_route_table_is_searched_and_paged(tmp_path: Path) -> None:
    row = "path: /health, methods: [GET], public: true"
    async with running(tmp_path, **parts(real_settings(tmp_path, row))) as app:
        await signed_in(app)

        assert "113 of 113 routes" in (await page(app, "/operator/routes")).text
        assert len([link for link in (await page(app, "/operator/routes?page=2")).links if "get-" in link]) > 20
        assert "1 of 113 routes GET /health to api No key" in (await page(app, "/operator/routes?q=public+HEALTH")).text
        assert "6 of 113 routes" in (await page(app, "/operator/routes?q=API+export+Export")).text
        assert "0 of 113 routes" in (await page(app, "/operator/routes?q=nothing")).text


async def test_a_thousand_hostile_routes_stay_small_and_harmless(tmp_path: Path) -> None:
    said = document({f"get /t{n}/{'%26' * 300}": {"summary": HOSTILE} for n in range(1000)})
    async with running(tmp_path, **parts(document_settings(tmp_path, said))) as app:
        await signed_in(app)

        await page(app, "/operator/routes")
        await page(app, "/operator/routes?q=%3Cscript%3E&page=7")
        assert "1000 of 1000 routes" in (await page(app, "/operator/routes?page=17")).text


FOR_OPERATORS = ("/operator", "/operator/routes", "/operator/old-tls", "/operator/accounts", "/operator/accounts/new")


@pytest.mark.parametrize("path", FOR_OPERATORS)
async def test_nobody_but_operators_gets_in(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as app:
        async with app.client.get(app.url + path, allow_redirects=False) as answer:
            assert answer.status == 303
        await app.account("a@example.com")
        await app.sign_in("a@example.com")
        await app.page(path, 403)
