"""A connection that stands: TLS where it is to be, who we are, and by which protocol we speak.

Law: settings in, a ``Connection`` out. No error's text holds a password. A name is resolved at each connection: where a
service moves it to another server, the next connection goes there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress

from keystile.cluster.connection import Connection
from keystile.cluster.scripts import ServerError
from keystile.cluster.tls import Contexts
from keystile.config.model import SharedSlots


class Unusable(Exception):
    """The server cannot lend slots; why, in words that hold no secret."""


class Greeter:
    """Connects by the settings. ``facts``: what INFO says of one connection."""

    def __init__(self, settings: SharedSlots) -> None:
        self._settings = settings
        self._contexts = None if settings.tls is None else Contexts(settings.tls)
        self._loop = asyncio.get_running_loop()

    async def connect(
        self,
        host: str,
        port: int,
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
        *,
        sentinel: bool = False,
    ) -> Connection:
        """Connect and say who we are. Raises OSError, ServerError, Unusable; nothing is left open then."""
        tls, settings = None if self._contexts is None else self._contexts.get(), self._settings
        name = None if settings.tls is None else settings.tls.server_name or host
        _, made = await self._loop.create_connection(
            lambda: Connection(heard, lost), host, port, ssl=tls, server_hostname=name
        )
        try:
            await (self._greet_sentinel(made) if sentinel else self._greet(made))
        except BaseException:
            made.close()
            raise
        return made

    async def _greet(self, made: Connection) -> None:
        await made.ask(b"HELLO", b"3", *self._who())
        if self._settings.database:
            await made.ask(b"SELECT", self._settings.database)

    async def _greet_sentinel(self, made: Connection) -> None:
        """A password is said to a Sentinel only where it asks for one."""
        try:
            await made.ask(b"HELLO", b"3")
        except ServerError as error:
            who = self._who()
            if not who or not str(error).startswith("NOAUTH"):
                raise
            await made.ask(b"HELLO", b"3", *who)

    def _who(self) -> tuple[bytes, ...]:
        password = password_of(self._settings, os.environ)
        return () if password is None else (b"AUTH", (self._settings.user or "default").encode(), password)


async def facts(made: Connection, *sections: bytes) -> dict[str, str]:
    """What a server says of itself."""
    found: dict[str, str] = {}
    for section in sections:
        said = bytes(await made.ask(b"INFO", section)).decode("utf-8", "replace")
        found.update((name, value) for name, _, value in (line.partition(":") for line in said.splitlines()))
    return found


def password_of(settings: SharedSlots, environment: Mapping[str, str]) -> bytes | None:
    """The password, read anew each time, so that it can be changed. Raises Unusable where it cannot be read."""
    if settings.password_file is not None:
        with suppress(OSError):
            return settings.password_file.read_bytes().strip(b"\r\n")
        raise Unusable("slots.password_file cannot be read")
    if settings.password_env is not None:
        found = environment.get(settings.password_env)
        if found is None:
            raise Unusable("the environment variable of slots.password_env is not set")
        return found.encode()
    return None
