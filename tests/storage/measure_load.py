"""What loading 100,000 keys costs a relay: ``python -m tests.storage.measure_load [KEYS] [networks|overlaps]``.

Prints one JSON object: seconds, and the growth of the process (resident set, at its peak too) in MiB. The keys
are of 15 to an account, with 40 sets of scopes and one in three with networks of its own (``networks``: all of
them, each another; ``overlaps``: all with a second digest), written to a store as the gateway would have it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from keystile.keys.keyring import Keyring
from keystile.keys.secret import digest
from keystile.storage.follow import KeyFollower
from keystile.storage.sqlite import SqliteStore

SCOPES = [f"{verb}{thing}" for verb in ("View", "Modify") for thing in ("Contacts", "Files", "Reports", "Channels")]


def fill(path: Path, keys: int, kind: str) -> None:
    """Write so many keys straight into the tables: through the service it would take an hour."""
    dice = random.Random(1)
    sets = [" ".join(sorted(dice.sample(SCOPES, dice.randint(1, 8)))) for _ in range(40)]

    def networks(number: int) -> str:
        own = kind == "networks" or number % 3 == 0
        return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" if own else ""

    with closing(sqlite3.connect(path)) as store, store:
        accounts = [(f"a{number:015x}", f"person{number}@example.org") for number in range(keys // 15 + 1)]
        store.executemany("INSERT INTO accounts VALUES (?, ?, 0, 0)", accounts)
        store.executemany(
            "INSERT INTO keys (id, account_id, name, scopes, networks, expires, created, version)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, 1)",
            (
                (f"{n:016x}", accounts[n // 15][0], f"key number {n}", dice.choice(sets), networks(n), 2e9 + n)
                for n in range(keys)
            ),
        )
        add = "INSERT INTO digests (digest, key_id, hint, imported, until) VALUES (?, ?, '12345', 0, ?)"
        store.executemany(add, ((digest(b"new %d" % n), f"{n:016x}", None) for n in range(keys)))
        if kind == "overlaps":
            store.executemany(add, ((digest(b"old %d" % n), f"{n:016x}", 2e9) for n in range(keys)))


def resident() -> float:
    """Return the resident set of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def highest() -> float:
    """Return the greatest resident set since ``forget_highest``, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_highest() -> None:
    """Begin anew: a forked child begins with its parent's peak, which exec does not forget (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(path: Path) -> dict[str, float]:
    """Load the store into a keyring in this process."""
    gc.collect()
    forget_highest()
    before, keyring = resident(), Keyring()
    follower = KeyFollower(path, keyring)
    began = time.perf_counter()
    follower.load()
    seconds = time.perf_counter() - began
    after, peak = resident(), highest()
    follower.close()
    return {"keys": len(keyring), "seconds": seconds, "mib": after - before, "peak_mib": peak - before}


async def _make(path: Path) -> None:
    await (await SqliteStore.open(path)).close()


def main(keys: str = "100000", kind: str = "usual") -> None:
    """Fill in one process, measure in another, so that filling leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keystile.db"
        asyncio.run(_make(path))
        if (child := os.fork()) == 0:
            fill(path, int(keys), kind)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("the store could not be filled")
        print(json.dumps({name: round(figure, 2) for name, figure in measure(path).items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
