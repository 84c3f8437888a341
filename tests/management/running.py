"""The whole management application over a real store in a temporary directory, on a free port.

Law: everything is real but the view of the gateway: no relay runs. Passwords are hashed at argon2's least cost.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, CookieJar, web
from argon2 import PasswordHasher

from keystile.config.model import Settings
from keystile.keys.key import Account
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.access import Access
from keystile.management.app import Sources, build
from keystile.management.catalogue import Catalogue
from keystile.management.context import Services
from keystile.management.health import Health
from keystile.management.look import Configuration, Slots, Status, Traffic, UpstreamState
from keystile.management.metrics import Sample
from keystile.management.server import Runner
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore
from tests.relay.running import settings as relay_settings

ACTOR = {"actor": "test", "origin": "test"}
PASSWORD = "correct horse battery staple"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Looking:
    """A view of a gateway in which nothing happens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def health(self) -> Health:
        return Health()

    async def status(self) -> Status:
        return Status(
            configuration=Configuration(1, str(self._settings.file), str(self._settings.store), ()),
            health=Health(),
            processes=(),
            restarts=0,
            slots=Slots(0, 0, 20),
            traffic=Traffic(0, 0, 0, {}, {}, {}),
            dropped={},
        )

    async def upstreams(self) -> tuple[UpstreamState, ...]:
        return ()


class Managed:
    """The application as it runs: ``url``, ``client`` (with cookies), ``services``."""

    def __init__(self, services: Services, url: str, client: ClientSession) -> None:
        self.services = services
        self.url = url
        self.client = client

    async def account(self, email: str, password: str = PASSWORD, operator: bool = False) -> Account:
        """A new account with a password."""
        account = await self.services.keys.create_account(email, operator, **ACTOR)
        link = await self.services.access.make_link(email, **ACTOR)
        await self.services.access.use_link(link, password)
        return account

    async def sign_in(self, email: str, password: str = PASSWORD) -> None:
        """Sign in as a person does; the client has the session's cookie then."""
        async with self.client.get(f"{self.url}/sign-in") as page:
            fields = {"email": email, "password": password, "csrf": csrf_of(await page.text())}
        async with self.client.post(f"{self.url}/sign-in", data=fields, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()

    async def page(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        async with self.client.get(self.url + path) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return text


def csrf_of(page: str) -> str:
    """The token of a form on a page; empty where it has none."""
    found = CSRF.search(page)
    return found[1] if found else ""


@asynccontextmanager
async def running(directory: Path, reasons: tuple[str, ...] = (), **more: Any) -> AsyncIterator[Managed]:
    """The application over a new store in ``directory``; ``reasons`` of bad health; ``more`` as for ``Settings``."""

    async def health() -> Health:
        return Health(reasons)

    async def samples() -> Iterable[Sample]:
        return [("slots_taken", "", 3)]

    base = relay_settings(9, file=directory / "gateway.yaml", store=directory / "keystile.db")
    settings = dataclasses.replace(base, **more)
    async with await SqliteStore.open(settings.store) as store:
        keys = KeyService(store, per_account=settings.keys.per_account)
        passwords = await Passwords.open(settings.store, CHEAP)
        access = await Access.open(settings.store, keys, store, passwords)
        catalogue = Catalogue.of(settings, {path: path.read_bytes() for path in settings.documents})
        services = Services(settings, keys, store, SmtpService(store), access, catalogue, Looking(settings))
        runner = Runner(build(Sources(health, samples), services, settings.management.hosts), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
                yield Managed(services, f"http://127.0.0.1:{port}", client)
        finally:  # a test that fails must not leave threads behind: pytest would wait for them
            await runner.cleanup()
            await access.close()
