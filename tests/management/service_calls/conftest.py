"""The application over a store of its own, asked as a relay asks it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from keystile.config.model import MANAGEMENT_UPSTREAM, Needs, Operation
from keystile.config.service_calls import CALLS
from keystile.keys.key import ApiKey
from keystile.keys.secret import digest
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.service_calls import app as service_calls
from keystile.routing.table import RouteTable
from keystile.storage.sqlite import SqliteStore
from tests.storage.ground import ANN, BY, Clock

PREFIX = "/v4/security"
ALL = ("ViewAccessTokens", "ModifyAccessTokens", "ViewContacts", "SendSmtp", "Legacy")


def table_of(prefix: str = PREFIX, *more: Operation) -> RouteTable:
    """The relays' route table."""
    ours = [
        Operation((method,), prefix + path, Needs(all_of=frozenset(needs)), MANAGEMENT_UPSTREAM, "test", -1, True)
        for path, method, needs in CALLS
    ]
    return RouteTable([*ours, *more])


class Socket:
    """What stands behind the Unix socket."""

    def __init__(self, client: Any, store: SqliteStore, keys: KeyService, smtp: SmtpService, clock: Clock) -> None:
        self.client = client
        self.store = store
        self.keys = keys
        self.smtp = smtp
        self.clock = clock

    async def key(self, name: str, *scopes: str, **more: Any) -> tuple[ApiKey, str]:
        made = await self.keys.create(ANN, name, scopes, **more, **BY)
        return made.key, made.secret

    def fields(self, key: ApiKey, secret: str, address: str = "192.0.2.1") -> dict[str, str]:
        """What a relay says of the key that it has admitted."""
        return {
            "X-Keystile-Account": key.account_email,
            "X-Keystile-Key": key.id,
            "X-Keystile-Scopes": "",
            "X-Keystile-Presented": digest(secret.encode()).hex(),
            "X-Keystile-Address": address,
            "X-Request-Id": "abc123",
        }

    async def ask(
        self, by: tuple[ApiKey, str], method: str, path: str, payload: object = None, **fields: str
    ) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {**self.fields(*by), **{name.replace("_", "-"): value for name, value in fields.items()}}
        data = payload if isinstance(payload, bytes) else None if payload is None else json.dumps(payload).encode()
        url = URL(str(self.client.make_url("/")).rstrip("/") + PREFIX + path, encoded=True)
        async with self.client.session.request(method, url, data=data, headers=headers) as answer:
            text = await answer.text()
            assert (answer.headers["Cache-Control"], answer.headers["Server"]) == ("no-store", "keystile")
            return answer.status, json.loads(text) if text else None


@asynccontextmanager
async def opened(folder: Path, *more: Operation) -> AsyncIterator[Socket]:
    clock = Clock()
    async with await SqliteStore.open(folder / "keystile.db") as store:
        keys, smtp = KeyService(store, clock), SmtpService(store, clock)
        await keys.create_account(ANN, **BY)
        built = service_calls.build(store, keys, smtp, table=table_of(PREFIX, *more), prefix=PREFIX, clock=clock)
        async with TestClient(TestServer(built)) as client:
            yield Socket(client, store, keys, smtp, clock)


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Socket]:
    async with opened(tmp_path) as socket:
        yield socket


@pytest.fixture
async def manager(calls: Socket) -> tuple[ApiKey, str]:
    """A key that may do everything."""
    return await calls.key("manager", *ALL)
