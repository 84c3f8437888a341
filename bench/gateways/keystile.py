"""Keystile itself: ``keystile serve`` with one relay, from a gateway.yaml and a store as an operator has them."""

from __future__ import annotations

import asyncio
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from bench.api import PREFIX
from bench.cases import Case
from bench.gateways.gateway import Scene
from bench.keyset import BenchKey
from bench.processes import free_port

SOURCE = Path(__file__).parent.parent.parent / "src" / "keystile"

# The client's Host goes on to the backend, as it does with HAProxy.
SETTINGS = """\
listeners:
  - {{address: "127.0.0.1:{port}", tls: {tls}}}
management: {{address: 127.0.0.1:{management_port}}}
workers: {relays}
store: sqlite:///{store}
limits: {{concurrent_requests_per_ip: {cap}, connections_per_ip: 1000}}
trusted_proxies: {trusted}
access_log: {access_log}
upstreams:
  api: {{servers: ["http://127.0.0.1:{backend_port}"], host: preserve}}
routes:
  - openapi: {document}
    prefix: {prefix}
    scope_from_description: 'Required Access Level: (.+)'
    upstream: api
"""


class Keystile:
    """Supervisor, management and one relay; the CPU of all three counts."""

    name = "keystile"
    leaves_out: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """The package, where the bench is run by another Python than that of the venv."""
        return None if find_spec("keystile") else "Keystile is not installed in this Python: pip install -e ."

    def prepare(self, scene: Scene, directory: Path) -> None:
        """The store with all keys."""
        asyncio.run(_fill(directory / f"{self.name}.db", list(scene.keys.every())))

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """``keystile serve`` with a gateway.yaml for ``case``."""
        file = directory / f"{self.name}-{case.name}.yaml"
        file.write_text(
            SETTINGS.format(
                port=port,
                tls=f"{{certificate: {scene.certificate}, private_key: {scene.certificate}}}" if case.tls else "null",
                management_port=free_port(),
                store=f"{self.name}.db",
                cap=case.cap,
                relays=case.relays,
                trusted="[127.0.0.1/32]" if case.addresses else "[]",
                access_log="stdout" if case.log else "off",
                backend_port=scene.backend_port,
                document=scene.document.resolve(),
                prefix=PREFIX,
            )
        )
        return [sys.executable, "-m", "keystile", "serve", "-c", str(file)]

    def version(self) -> str:
        """Keystile's version."""
        from keystile import __version__

        return f"Keystile {__version__}"


class Compiled(Keystile):
    """The same source, its hot modules compiled by mypyc: what ``make compile`` has made."""

    name = "keystile-compiled"
    built = Path(__file__).parent.parent.parent / "build" / "compiled"

    def missing(self) -> str | None:
        """The compiled copy, or one of this very source."""
        package = self.built / "keystile"
        if not list(package.glob("relay/exchange.*.so")):
            return f"{self.name} is not there: make compile"
        if changed := [str(file) for file in _sources(SOURCE) if not _same(file, package / file.relative_to(SOURCE))]:
            return f"{self.name} is of another source ({changed[0]} and others): make compile"
        return None

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """As the source's, by another path."""
        return ["env", f"PYTHONPATH={self.built}", *super().command(scene, case, port, directory)]

    def version(self) -> str:
        """Keystile's version, and what it was compiled by."""
        return f"{super().version()} compiled by mypyc"


def _sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


async def _fill(file: Path, keys: list[BenchKey]) -> None:
    """Write ``keys`` in one transaction, past the service: it would make secrets of its own, one by one."""
    from keystile.keys.key import Account, ApiKey
    from keystile.keys.networks import Networks
    from keystile.storage.sqlite import SqliteStore

    store = await SqliteStore.open(file)
    emails = dict.fromkeys(key.account for key in keys)
    accounts = {email: Account(f"{n:016x}", email, False, time.time()) for n, email in enumerate(emails)}
    try:
        async with store.change() as transaction:
            for account in accounts.values():
                await transaction.add_account(account)
            for key in keys:
                row = ApiKey(
                    id=key.id,
                    account_id=accounts[key.account].id,
                    account_email=key.account,
                    name=key.name,
                    hint=key.secret[-5:],
                    scopes=frozenset(key.scopes),
                    networks=Networks.parse([key.network]),
                    expires=None,
                    created=time.time(),
                    imported=False,
                )
                await transaction.add_key(row, key.digest)
    finally:
        await store.close()
