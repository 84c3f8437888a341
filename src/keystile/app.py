"""Builds every object from the settings: the only place that knows all the parts.

Law: wiring, and nothing else. A rule that would stand here belongs to the part that it is a rule of.

What only some need is imported where it is used: a relay has no use for aiohttp, templates and the schema of
gateway.yaml, which would cost each one 60 MiB and a second at its start, and a command that asks for a line neither,
nor for a relay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from keystile.config.model import Settings, Tls
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.routing.conflicts import check_conflicts, known_scopes
from keystile.routing.table import RouteTable, habits_of, rows
from keystile.storage import backup, engines
from keystile.storage.backup import Backup
from keystile.storage.hosts import HostState, differences, id_of, known_id, states_of
from keystile.storage.passwords import Passwords
from keystile.storage.postgresql.database import Database
from keystile.storage.store import Store

if TYPE_CHECKING:
    from keystile.limits.servers import Pages
    from keystile.limits.slots import SlotTable
    from keystile.management.access import Access
    from keystile.management.context import Services
    from keystile.management.look import GatewayView
    from keystile.management.probing import Target
    from keystile.relay.gateway import Gateway, Rules
    from keystile.relay.record import Channel
    from keystile.storage.postgresql.tables import Sum

# -- for commands: settings, routes, keys ---------------------------------------------------------------


def load_settings(file: Path) -> Settings:
    """What a gateway.yaml says. Raises ConfigurationError with every fault."""
    from keystile.config.load import load
    from keystile.routing.openapi import read_operations

    return load(file, read_document=read_operations, check_operations=check_conflicts)


def make_ready_to_read() -> None:
    """Load all that ``load_settings`` takes, so that it is of this version whatever lies on disk by then."""
    from keystile.config.load import load  # noqa: F401
    from keystile.routing.openapi import read_operations  # noqa: F401


def route_table(settings: Settings) -> RouteTable:
    """The route table of these settings."""
    return RouteTable(settings.operations, habits_of(settings.upstreams))


def route_rows(settings: Settings) -> list[dict[str, object]]:
    """The route table as ``keystile routes --json`` prints it."""
    return rows(route_table(settings))


def _keys(store: Store, settings: Settings) -> KeyService:
    scopes = known_scopes(settings.operations)
    return KeyService(store, per_account=settings.keys.per_account, known_scopes=scopes)


async def open_store(settings: Settings) -> Store:
    """The store of these settings, in a file or a database. Raises StoreError."""
    return await engines.open_store(settings.store, database_of(settings))


async def open_passwords(settings: Settings) -> Passwords:
    """The passwords of these settings' store. Raises StoreError."""
    return await engines.open_passwords(settings.store, database_of(settings))


def database_of(settings: Settings) -> Database | None:
    """The database that the store is in; None where it is a file."""
    where = settings.database
    return None if where is None else Database(where.options, where.password_file)


async def _open_access(settings: Settings, keys: KeyService, store: Store) -> Access:
    from keystile.management.access import Access

    rows = await engines.open_access(settings.store, database_of(settings))
    access = Access(keys, store, await open_passwords(settings), rows, settings.store)
    if settings.database is not None:
        access.host = await asyncio.to_thread(id_of, settings.store)
    return access


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncIterator[tuple[KeyService, Passwords]]:
    """The service of accounts and keys, and their passwords, on the store of these settings. Raises StoreError."""
    async with await open_store(settings) as store:
        passwords = await open_passwords(settings)
        try:
            yield _keys(store, settings), passwords
        finally:
            await passwords.close()


@asynccontextmanager
async def open_access(settings: Settings) -> AsyncIterator[Access]:
    """The rules of coming in, on the store of these settings. Raises StoreError."""
    async with await open_store(settings) as store:
        access = await _open_access(settings, _keys(store, settings), store)
        try:
            yield access
        finally:
            await access.close()


@asynccontextmanager
async def open_smtp(settings: Settings) -> AsyncIterator[SmtpService]:
    """The service of SMTP credentials on the store of these settings. Raises StoreError."""
    async with await open_store(settings) as store:
        yield SmtpService(store)


def back_up(settings: Settings, into: Path, *, force: bool) -> Backup:
    """Copy the store of these settings and its passwords (``storage/backup.py``). Raises StoreError."""
    if settings.database is not None:
        raise backup.in_a_database(settings.database.url)
    return backup.back_up(settings.store, into, force=force)


async def look_at_hosts(settings: Settings) -> tuple[tuple[HostState, ...], tuple[str, ...]]:
    """The hosts that share the store of these settings (none where it is a file), and in what they differ.

    Raises StoreError.
    """
    database = database_of(settings)
    found = () if database is None else await engines.look_at_hosts(database)
    states = states_of(found, known_id(settings.store))
    return states, differences(states)


def copy_store(source: Path | Database, target: Path | Database) -> dict[str, Sum]:
    """Copy a whole store, and return what each table holds. Raises StoreError, and ImportError without the driver."""
    from keystile.storage.postgresql.copying import copy

    return copy(source, target)


# -- for the relay process -------------------------------------------------------------------------------


class Accepted(Protocol):
    """An accepted configuration: its settings, and the contents of the files they name (``process/snapshot.py``)."""

    @property
    def number(self) -> int:
        """Its number; each is given once."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    def contents(self, path: Path) -> bytes:
        """The accepted contents of a file that they name. Raises KeyError for another."""

    def file(self, path: Path) -> AbstractContextManager[Path]:
        """A path under which the accepted contents of ``path`` can be read while the block lasts."""


def build_relay(
    snapshot: Accepted,
    slots: SlotTable,
    channel: Channel,
    store_counters: Callable[[Sequence[str], Sequence[int]], None],
    servers: Pages | None = None,
) -> Gateway:
    """A relay from the accepted configuration. Must be called inside a running loop."""
    from keystile.keys.keyring import Keyring
    from keystile.relay.gateway import Gateway

    keyring = Keyring()
    settings = snapshot.settings
    follower = engines.follower_of(settings.store, database_of(settings), keyring)
    made = rules(snapshot)
    return Gateway(made, rules, keyring, follower, slots, channel, store_counters, servers=servers)


def rules(accepted: Accepted) -> Rules:
    """What a relay works by. Raises OSError for certificates that cannot be used."""
    from keystile.relay.gateway import Rules
    from keystile.relay.reaching import reaching_of
    from keystile.relay.terms import terms_of

    settings = accepted.settings
    terms = {tls: terms_of(tls, accepted.contents, time.time()) for tls in _policies(settings)}
    reaching = reaching_of(settings, accepted.file, accepted.contents)
    return Rules(settings, route_table(settings), terms, accepted.number, reaching)


def check_rules(wanted: Accepted, in_force: Accepted) -> None:
    """Make what relays would work by, contexts to upstreams too. Raises OSError for files that cannot be used.

    A certificate that is new must also be valid now; one that is in force may have expired meanwhile. And it must be
    for a name that the file before it was for: a certificate of somebody else's is a mistake of whoever copied it.
    """
    from keystile.relay.terms import check_names, terms_of

    def is_new(path: Path) -> bool:
        try:
            return wanted.contents(path) != in_force.contents(path)
        except KeyError:
            return True

    for tls in _policies(wanted.settings):
        terms_of(tls, wanted.contents, time.time(), is_new=is_new)
        check_names(tls, wanted.contents, in_force.contents)
    for reaching in rules(wanted).reaching.values():
        reaching.make()


def _policies(settings: Settings) -> list[Tls]:
    return list(dict.fromkeys(listener.tls for listener in settings.listeners if listener.tls is not None))


# -- for the management process ---------------------------------------------------------------------------


@asynccontextmanager
async def open_services(snapshot: Accepted, store: Store, look: GatewayView) -> AsyncIterator[Services]:
    """What the management application works with, over an open store. Raises StoreError."""
    from keystile.management.catalogue import Catalogue
    from keystile.management.context import Services

    settings = snapshot.settings
    keys = _keys(store, settings)
    access = await _open_access(settings, keys, store)
    try:
        documents = {path: snapshot.contents(path) for path in settings.documents}
        catalogue = Catalogue.of(settings, documents)
        yield Services(settings, keys, store, SmtpService(store), access, catalogue, look)
    finally:
        await access.close()


def probe_targets(accepted: Accepted) -> list[Target]:
    """Every server that is to be asked whether it is well, reached as requests reach it. Raises OSError."""
    from keystile.limits.servers import numbered
    from keystile.management.probing import Target
    from keystile.relay.reaching import reaching_of
    from keystile.relay.upstreams import host_field

    settings = accepted.settings
    reaching, numbers = reaching_of(settings, accepted.file, accepted.contents), numbered(settings)
    found = []
    for upstream in settings.upstreams:
        check = upstream.health_check
        if check is None:
            continue
        context = reaching[upstream.name].make() if upstream.name in reaching else None
        name = None if upstream.tls is None else upstream.tls.server_name
        field = host_field(upstream.servers[0]).decode("ascii")
        for at, server in enumerate(upstream.servers, numbers[upstream.name]):
            found.append(Target(at, upstream.name, server, check, field, context, name))
    return found
