"""Somewhere to run: a gateway with an API behind it, arranged for one run and gone after it.

Law: everything is done as an operator does it, from a gateway.yaml, in a folder of its own that is removed. The routes
and the cap are those of the settings that were given; the servers are not: no request of a demonstration leaves this
machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from keystile import app
from keystile.config.model import KeyPolicy, Limits, Needs, Operation
from keystile.loadtest import api
from keystile.loadtest.api import Seen
from keystile.loadtest.credentials import Credential, made, strangers
from keystile.loadtest.scenarios import Role

ACCOUNT: Final = "loadtest@example.com"
ELSEWHERE: Final = "192.0.2.0/24"
"""A network for documentation (RFC 5737): nobody calls from there."""
_LISTENING: Final = re.compile(rb"listening on \S+:(\d+)$")
_READY: Final = b"management on "
_END: Final = 20.0
"""Seconds that each has to end by itself."""
_HELD: Final = ((api.HELD, "GET"), (api.LARGE, "GET"), (api.UPLOAD, "POST"))

Wanted = tuple[Role, Sequence[str], Sequence[str]]
"""A key to be made: role, scopes, networks."""


class GroundFailed(Exception):
    """The gateway or the API did not start; the text says why."""


@dataclass(slots=True)
class Ground:
    """A gateway that runs on ``port``; ``seen`` is there once it has ended."""

    port: int
    keys: tuple[Credential, ...]
    seen: Seen | None = None


@contextmanager
def arranged(
    operations: Sequence[Operation],
    policy: KeyPolicy,
    limits: Limits,
    roles: Sequence[Role],
    workers: int | str = "auto",
) -> Iterator[Ground]:
    """A gateway with these routes, keys' fields and cap, and a key for each role. Raises GroundFailed."""
    with tempfile.TemporaryDirectory(prefix="keystile-loadtest-") as folder, _serving_api() as (api_port, ending):
        file = Path(folder) / "gateway.yaml"
        written = settings(operations, policy, limits, api_port, workers)
        file.write_text(json.dumps(written), encoding="utf-8")  # JSON is YAML
        keys = _keys(file, operations, roles)
        with _serving_gateway(file) as port:
            ground = Ground(port, keys)
            yield ground
        ground.seen = ending()


def settings(
    operations: Sequence[Operation], policy: KeyPolicy, limits: Limits, api_port: int, workers: int | str
) -> dict[str, Any]:
    """The gateway.yaml of a run, with ports that are free."""
    rows = [{"path": path, "methods": [method], "key_only": True, "upstream": "api"} for path, method in _HELD]
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "management": {"address": "127.0.0.1:0"},
        "workers": workers,
        "access_log": "off",
        "keys": {"headers": list(policy.headers) or ["X-Api-Key"]},
        "limits": {"concurrent_requests_per_ip": limits.concurrent_requests_per_ip},
        "upstreams": {"api": {"servers": [f"http://127.0.0.1:{api_port}"]}},
        "routes": [*rows, *map(_row, (each for each in operations if each.row >= 0))],
    }


def _row(operation: Operation) -> dict[str, Any]:
    row: dict[str, Any] = {"path": operation.path, "upstream": "api", "override": True, **_needs(operation.needs)}
    return {**row, "methods": list(operation.methods)} if operation.methods else row


def _needs(needs: Needs) -> dict[str, Any]:
    if needs.public:
        return {"public": True}
    sets = {"all": sorted(needs.all_of), "any": sorted(needs.any_of)}
    given = {name: scopes for name, scopes in sets.items() if scopes}
    return {"scopes": given} if given else {"key_only": True}


def _keys(file: Path, operations: Sequence[Operation], roles: Sequence[Role]) -> tuple[Credential, ...]:
    """A key for each role: those that the gateway knows, and strangers."""
    every = _scopes(operations)
    reading = _scopes([each for each in operations if not each.methods or "GET" in each.methods])
    scopes: dict[Role, Sequence[str]] = {"all": every, "reader": reading, "elsewhere": every}
    wanted = [(role, scopes[role], [ELSEWHERE] if role == "elsewhere" else []) for role in roles if role in scopes]
    known = asyncio.run(_make(file, wanted))
    return (*(made(role, known[role], held) for role, held, _ in wanted), *strangers(roles))


async def _make(file: Path, wanted: Sequence[Wanted]) -> Mapping[Role, str]:
    """Make keys in the store of a gateway.yaml; gives their secrets."""
    actor, origin = "keystile loadtest", "this machine"
    async with app.open_keys(app.load_settings(file)) as (keys, _):
        # An operator: else the gateway would print a link for making one.
        await keys.create_account(ACCOUNT, operator=True, actor=actor, origin=origin)
        secrets: dict[Role, str] = {}
        for role, scopes, networks in wanted:
            created = await keys.create(ACCOUNT, role, scopes, networks, actor=actor, origin=origin)
            secrets[role] = created.secret
        return secrets


def _scopes(operations: Sequence[Operation]) -> list[str]:
    return sorted({scope for each in operations for scope in each.needs.all_of | each.needs.any_of})


@contextmanager
def _serving_api() -> Iterator[tuple[int, Callable[[], Seen | None]]]:
    """The API; gives its port, and how to end it and hear what it saw."""
    with _started("keystile.loadtest.api") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise GroundFailed("the API of the demonstration did not start")
        yield int(json.loads(first)["port"]), lambda: _last_words(process)


def _last_words(process: subprocess.Popen[bytes]) -> Seen | None:
    with suppress(ValueError, subprocess.TimeoutExpired):
        said, _ = process.communicate(timeout=_END)
        return api.read(said)
    return None


@contextmanager
def _serving_gateway(file: Path) -> Iterator[int]:
    """The gateway; gives its port."""
    complaints = file.with_name("complaints")
    with complaints.open("wb") as heard, _started("keystile.loadtest.gateway", str(file), stderr=heard) as process:
        assert process.stdout is not None
        port = 0
        for line in process.stdout:
            if found := _LISTENING.match(line):
                port = int(found[1])
            if line.startswith(_READY):
                break
        else:
            raise GroundFailed(
                f"the gateway of the demonstration did not start: {complaints.read_text()[-500:].strip()}"
            )
        yield port
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_END)


@contextmanager
def _started(module: str, *words: str, stderr: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that ends when its standard input does, at the latest here; Ctrl-C is not for it."""
    command = [sys.executable, "-m", module, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()
