"""What the tests of the pages stand on: pages over a real store, real sessions, and a person who uses them.

Law: everything is real but the clock; nothing but the parts that the pages need is there.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher

from keystile.config.model import Needs, Operation
from keystile.keys.key import ApiKey
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.access import Access
from keystile.management.catalogue import Catalogue
from keystile.management.context import SERVICES, Services
from keystile.management.entry import SignedIn
from keystile.management.identity import identified
from keystile.management.look import GatewayView
from keystile.management.pages import history, keys, layout
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore
from tests.relay.running import settings as relay_settings

ANN, BOB = "ann@example.com", "bob@example.com"
PASSWORD = "correct horse battery staple"
BY: dict[str, Any] = {"actor": "test", "origin": "test"}
NOW = 1_790_000_000.0  # 21 September 2026
SECRET = re.compile(r"(?<![0-9A-F])[0-9A-F]{96}(?![0-9A-F])")
SCOPES = ("ModifyContacts", "ModifyTemplates", "SendHttp", "ViewContacts", "ViewTemplates")
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Unix seconds, set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Person:
    """Somebody who has signed in, and what they do with pages."""

    def __init__(self, client: TestClient[web.Request, web.Application], services: Services, signed: SignedIn) -> None:
        self._client = client
        self._cookie = {"Cookie": f"keystile={signed.secret}"}
        self.services = services
        self.csrf = signed.identity.csrf
        self.email = signed.identity.account.email

    async def get(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        answer = await self._client.get(path, headers=self._cookie, allow_redirects=False)
        assert answer.status == status, await answer.text()
        return await answer.text()

    async def post(self, path: str, fields: Any, csrf: str | None = None, **more: str) -> ClientResponse:
        """The answer to a form; ``csrf`` None: the right one."""
        pairs = [*(fields.items() if isinstance(fields, dict) else fields)]
        pairs.append(("csrf", self.csrf if csrf is None else csrf))
        headers = self._cookie | more
        return await self._client.post(path, data=pairs, headers=headers, allow_redirects=False)

    async def send(self, path: str, changed: Any = (), opened: str | None = None) -> ClientResponse:
        """Open a form, or take one that was opened before, fill it in, and send it."""
        page = await self.get(path) if opened is None else opened
        pairs = [(name, value) for name, value in hidden(page).items() if name != "csrf"]
        pairs += changed.items() if isinstance(changed, dict) else changed
        return await self.post(path, pairs)

    async def key(self, name: str = "shop", **more: Any) -> ApiKey:
        """A key of theirs, made behind the pages' back."""
        created = await self.services.keys.create(self.email, name, **({"scopes": ["ViewContacts"]} | more | BY))
        return created.key

    async def keys(self) -> dict[str, ApiKey]:
        """Their keys by name."""
        return {key.name: key for key in await self.services.keys.list(self.email)}


class Pages:
    """The pages as they run; ``clock`` is set by hand."""

    def __init__(
        self, services: Services, clock: Clock, client: TestClient[web.Request, web.Application]
    ) -> None:
        self.services = services
        self.clock = clock
        self.client = client

    async def person(self, email: str = ANN, operator: bool = False) -> Person:
        """A new account, signed in."""
        await self.services.keys.create_account(email, operator, **BY)
        await self.services.access.use_link(await self.services.access.make_link(email, **BY), PASSWORD)
        signed = await self.services.access.sign_in(email, PASSWORD, "192.0.2.1")
        assert isinstance(signed, SignedIn)
        return Person(self.client, self.services, signed)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the form on a page (of the last one: the frame's own comes first)."""
    return {name: html.unescape(value) for name, value in _HIDDEN.findall(page.split("<main", 1)[-1])}


def operations(*rows: tuple[str, str, str]) -> tuple[Operation, ...]:
    """Routes from method, path and scope."""
    return tuple(
        Operation((method,), path, Needs(all_of=frozenset((scope,))), "api", f"gateway.yaml:{at}", at)
        for at, (method, path, scope) in enumerate(rows)
    )


ROUTES = operations(
    ("GET", "/contacts", "ViewContacts"),
    ("POST", "/contacts", "ModifyContacts"),
    ("GET", "/templates", "ViewTemplates"),
    ("POST", "/templates", "ModifyTemplates"),
    ("POST", "/emails", "SendHttp"),
)


@asynccontextmanager
async def pages(directory: Path, per_account: int = 15, **more: Any) -> AsyncIterator[Pages]:
    """The pages over a new store in ``directory``; ``more`` as for ``Settings``."""
    clock = Clock()
    base = relay_settings(9, file=directory / "gateway.yaml", store=directory / "keystile.db")
    policy = dataclasses.replace(base.keys, per_account=per_account)
    changed: dict[str, Any] = {"operations": ROUTES, "keys": policy} | more
    settings = dataclasses.replace(base, **changed)
    async with await SqliteStore.open(settings.store) as store:
        keyring = KeyService(store, clock, per_account)
        passwords = await Passwords.open(settings.store, _CHEAP, clock)
        access = await Access.open(settings.store, keyring, store, passwords, clock)
        catalogue = Catalogue.of(settings, {path: path.read_bytes() for path in settings.documents})
        nothing = cast(GatewayView, None)
        parts = Services(settings, keyring, store, SmtpService(store, clock), access, catalogue, nothing, clock)
        app = web.Application(middlewares=[identified])
        app[SERVICES] = parts
        for part in (layout, keys, history):
            app.add_routes(part.routes())
        try:
            async with TestClient(TestServer(app)) as client:
                yield Pages(parts, clock, client)
        finally:
            await access.close()
