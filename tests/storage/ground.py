"""What the tests of the store stand on: a clock that is set by hand, a store with an account, and its writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.secret import digest
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.storage.doorbell import Doorbell
from keystile.storage.follow import KeyFollower
from tests.storage.engines import Engine, SqliteEngine, engine_of

BY: dict[str, Any] = {"actor": "operator (command line)", "origin": "console"}
ANN = "ann@x.org"


class Clock:
    """Unix seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def writing(place: Path | Engine) -> AsyncIterator[KeyService]:
    """A service on this store, or that at this path, which has an account."""
    engine = SqliteEngine(place) if isinstance(place, Path) else place
    async with await engine.open() as store:
        service = KeyService(store, Clock())
        if not await service.list_accounts():
            await service.create_account(ANN, **BY)
        yield service


def admits(follower: KeyFollower, secret: str, now: float = 1000.0) -> bool:
    """Ask as a relay asks: the bell first, then the keyring."""
    if follower.words[0] != follower.seen:
        follower.catch_up()
    return follower._keyring.find(digest(secret.encode()), now) is not None


def start_writer(place: Path | Engine, *task: str) -> subprocess.Popen[str]:
    """Start a process that does one of ``TASKS``."""
    spec = str(place) if isinstance(place, Path) else place.spec
    command = [sys.executable, "-m", "tests.storage.ground", spec, *task]
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def run_writer(place: Path | Engine, *task: str) -> int:
    """Let such a process come to its end, and return how it ended."""
    with start_writer(place, *task) as writer:
        writer.communicate(timeout=60)
        return writer.returncode


async def _create(service: KeyService, prefix: str, count: str) -> None:
    made = 0
    for number in range(int(count)):
        try:
            await service.create(ANN, f"{prefix}{number}", **BY)
            made += 1
        except KeyRuleBroken as fault:
            if fault.code != "too_many_keys":
                raise
    print(made)


async def _create_smtp(service: KeyService, prefix: str, count: str) -> None:
    smtp, made = SmtpService(service._store), 0
    for number in range(int(count)):
        try:
            await smtp.create(ANN, f"{prefix}{number}@x.org", **BY)
            made += 1
        except KeyRuleBroken as fault:
            if fault.code != "too_many_credentials":
                raise
    print(made)


async def _die_before_ringing(service: KeyService, name: str) -> None:
    """Commit a delete, and be killed before the bell is rung."""

    def die(_: Doorbell) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Doorbell.ring = die  # type: ignore[method-assign, assignment]
    await service.delete(ANN, name, **BY)


async def _die_before_committing(service: KeyService, name: str) -> None:
    async def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    type(service._store)._commit_and_ring = die  # type: ignore[attr-defined]
    await service.delete(ANN, name, **BY)


async def _edit_for_ever(service: KeyService, name: str) -> None:
    """Say which version has been answered, until killed."""
    while True:
        kept = await service.edit(ANN, name, scopes=[f"S{os.urandom(4).hex()}"], **BY)
        print(kept.key.version, flush=True)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "create": _create,
    "create-smtp": _create_smtp,
    "edit-for-ever": _edit_for_ever,
    "die-before-ringing": _die_before_ringing,
    "die-before-committing": _die_before_committing,
}


async def _main(spec: str, task: str, *arguments: str) -> None:
    async with writing(engine_of(spec)) as service:
        await TASKS[task](service, *arguments)


if __name__ == "__main__":
    import asyncio

    asyncio.run(_main(*sys.argv[1:]))
