"""What a load test calls: a gateway that is started for it, or the one at an address with keys that are given.

Law: this file opens what the command line names, and turns what is wrong with it into what a command says. Nothing
is sent from here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from keystile.config.model import Settings
    from keystile.loadtest.api import Seen
    from keystile.loadtest.preparing import Site
    from keystile.loadtest.scenarios import Scenario

    Last: TypeAlias = Callable[[], Seen | None]
    """What the API saw, to be asked when the gateway has ended; None where the API is not ours."""

_BUILT_IN: Final = """\
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
routes:
  - {path: /v4/contacts, methods: [GET], scope: ViewContacts, upstream: api}
  - {path: "/v4/contacts/{email}", methods: [GET], scope: ViewContacts, upstream: api}
  - {path: /v4/contacts, methods: [POST], scope: ModifyContacts, upstream: api}
  - {path: /v4/campaigns, methods: [GET], scope: ViewCampaigns, upstream: api}
  - {path: "/v4/campaigns/{name}", methods: [PUT, DELETE], scope: ModifyCampaigns, upstream: api}
"""
"""The routes of a demonstration where there is no gateway.yaml."""


@contextmanager
def site(arguments: argparse.Namespace, scenario: Scenario) -> Iterator[tuple[Site, Last]]:
    """What is called, while the block lasts; and, after it, what its API saw."""
    if arguments.url is not None:
        yield given(arguments), lambda: None
        return
    from keystile.loadtest import ground, target
    from keystile.loadtest.preparing import Site

    settings = demo_settings(arguments.file)
    try:
        with ground.arranged(settings.operations, settings.keys, settings.limits, scenario.keys) as made:
            where = target.read(f"http://127.0.0.1:{made.port}")
            yield Site(where, settings.operations, made.keys, _field(settings), _cap(settings), True), lambda: made.seen
    except ground.GroundFailed as error:
        raise CommandFailed(str(error)) from None


def given(arguments: argparse.Namespace) -> Site:
    """The gateway at --url, with the routes of gateway.yaml."""
    from keystile.loadtest import connection, credentials, target
    from keystile.loadtest.preparing import Site

    try:
        where = target.read(arguments.url, arguments.i_may_load, str(arguments.ca or ""))
        connection.context_of(where)
        keys = credentials.read(*_key_text(arguments.key_file))
    except (target.BadTarget, credentials.BadKeys) as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(f"{arguments.ca}: no certificates that could be trusted ({error.strerror})") from None
    settings = read_settings(arguments.file, warnings=False)
    if not settings.keys.headers:
        raise CommandFailed("keys are sent in a header field, and keys.headers names none")
    return Site(where, settings.operations, keys, _field(settings), _cap(settings), False)


def _key_text(file: Path | None) -> tuple[str, str]:
    """The text that holds the keys, and what it is called. What stands in the environment no child gets to see."""
    from keystile.loadtest.credentials import ENVIRONMENT

    given = os.environ.pop(ENVIRONMENT, "")
    if file is None:
        return given, ENVIRONMENT
    try:
        return file.read_text(encoding="utf-8"), str(file)
    except (OSError, UnicodeError) as error:
        raise CommandFailed(f"{file}: cannot be read ({error.__class__.__name__})") from None


def demo_settings(file: Path) -> Settings:
    """The settings whose routes and cap the demonstration has; a few routes where there is no gateway.yaml."""
    if file != options.DEFAULT_FILE or file.exists():
        return read_settings(file, warnings=False)
    with tempfile.TemporaryDirectory(prefix="keystile-loadtest-") as folder:
        written = Path(folder) / file.name
        written.write_text(_BUILT_IN, encoding="utf-8")
        return read_settings(written, warnings=False)


def _field(settings: Settings) -> str:
    return settings.keys.headers[0] if settings.keys.headers else "X-Api-Key"


def _cap(settings: Settings) -> int:
    return settings.limits.concurrent_requests_per_ip
