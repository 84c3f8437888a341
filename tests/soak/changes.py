"""Changes of keys while management is killed: what was answered is there afterwards, and nothing is there by half.

Law: it asks as the service's official clients do, through the public listener, and believes only answers; afterwards
it reads the store's files with SQLite and nothing of Keystile's. A change without an answer may have happened or not,
but then wholly: with its line in the audit table, and a line with its change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.gateway import SCOPE

SCOPES = (SCOPE, "ViewAccessTokens", "ModifyAccessTokens")
ROUTES = "management_routes: {prefix: /v4/security}\n"
CHANGERS = 4
AT_ONCE = 15
"""Keys of one changer that are there at once: all of them together stay below what an account may own."""
NETWORK = "192.0.2.0/24"


@dataclass
class Changes:
    """What was asked and answered. ``there``: names with their secrets; ``edited`` and ``gone``: names."""

    there: dict[str, str] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    unknown: int = 0


class Changer:
    """One client that makes, edits and deletes keys of its own, until it is told to stop."""

    def __init__(self, port: int, key: bytes, number: int, found: Changes) -> None:
        self._port = port
        self._key = key
        self._number = number
        self._found = found
        self._dice = random.Random(number)
        self.stopping = False

    async def run(self) -> None:
        """Change after change."""
        mine: list[str] = []
        made = 0
        while not self.stopping:
            if len(mine) < AT_ONCE:
                made += 1
                name = f"w{self._number}-{made}"
                if await self._create(name):
                    mine.append(name)
            elif self._dice.random() < 0.3:
                await self._edit(self._dice.choice(mine))
            else:
                await self._delete(mine.pop(self._dice.randrange(len(mine))))

    async def _create(self, name: str) -> bool:
        answer = await self._ask("POST", "", {"Name": name, "AccessLevel": [], "OtherAccessLevel": [SCOPE]})
        if answer is not None:
            self._found.there[name] = answer["Token"]
        return answer is not None

    async def _edit(self, name: str) -> None:
        wanted = {"Name": name, "AccessLevel": [], "OtherAccessLevel": [SCOPE], "RestrictAccessToIPRange": [NETWORK]}
        if await self._ask("PUT", f"/{name}", wanted) is not None:
            self._found.edited.add(name)

    async def _delete(self, name: str) -> None:
        del self._found.there[name]
        if await self._ask("DELETE", f"/{name}") is not None:
            self._found.gone.add(name)

    async def _ask(self, method: str, path: str, value: object = None) -> Any:
        """The answer's value (an object for none), or None where it was not done, or nobody knows."""
        body = b"" if value is None else json.dumps(value).encode()
        head = f"{method} /v4/security/apikeys{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Api-Key: "
        head_end = f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + self._key + head_end.encode() + body)
            answer = await reader.read()
        except OSError:
            answer = b""
        finally:
            writer.transport.abort()
        status = answer[9:12].decode() or "none"
        self._found.statuses[f"{method} {status}"] += 1
        if status.startswith("2"):
            return json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}") or {}
        self._found.unknown += 1
        return None


def check(store: Path, found: Changes) -> Iterator[str]:
    """What is not as it was answered, or there by half. The gateway has ended."""
    for file in (store, store.with_name(f"{store.stem}-passwords{store.suffix}")):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as opened:
            for pragma in ("integrity_check", "foreign_key_check"):
                said = [row for row in opened.execute(f"PRAGMA {pragma}") if row != ("ok",)]
                if said:
                    yield f"{file.name}: {pragma}: {said[:3]}"
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
        yield from _as_answered(opened, found)
        yield from _whole(opened)


def _as_answered(opened: sqlite3.Connection, found: Changes) -> Iterator[str]:
    query = "SELECT k.name, d.digest, k.networks FROM keys AS k JOIN digests AS d ON d.key_id = k.id"
    kept = {name: (digest, networks) for name, digest, networks in opened.execute(query)}
    for name, secret in found.there.items():
        digest, networks = kept.get(name, (None, None))
        if digest != hashlib.sha256(secret.encode()).digest():
            yield f"{name} was answered as made, and is not there"
        elif name in found.edited and networks != NETWORK:
            yield f"{name} was answered as edited, and is not"
    for name in found.gone & set(kept):
        yield f"{name} was answered as deleted, and is there"


def _whole(opened: sqlite3.Connection) -> Iterator[str]:
    """Each change has its line, and each line its change."""
    lines: dict[str, Counter[str]] = {}
    for key, what in opened.execute("SELECT key_id, what FROM audit WHERE key_name LIKE 'w%'"):
        lines.setdefault(key, Counter())[what] += 1
    kept = dict(opened.execute("SELECT id, networks FROM keys WHERE name LIKE 'w%'"))
    for key in kept.keys() | lines.keys():
        told = lines.get(key, Counter())
        if told["key.created"] != 1 or told["key.deleted"] != (key not in kept):
            yield f"{key} is {'' if key in kept else 'not '}there, and the audit table says {dict(told)}"
        elif key in kept and bool(kept[key]) != bool(told["key.edited"]):
            yield f"{key} has the networks {kept[key]!r}, and the audit table says {dict(told)}"
