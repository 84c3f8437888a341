"""``keystile accounts link`` and ``setup-link``: one-time links by which people set their own passwords.

Law: this file asks for links and hands them over; the rules stand in ``management/access.py``. The first operator's
link goes to a terminal or into a file for its owner alone, since it is made unasked too; a reset link is what was
asked for, so it is printed like a key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.store import failures
from keystile.cli.terminal import CommandFailed, show_json

if TYPE_CHECKING:
    from keystile.config.model import Settings

Result = TypeVar("Result")


class Links(Protocol):
    """What these commands ask of ``management/access.py``, which they reach through ``app`` alone."""

    async def make_link(self, email: str, *, actor: str, origin: str) -> str:
        """Return the token of a link for the account's password."""

    async def offer_setup_link(self, page: str, stream: TextIO) -> str | None:
        """Hand a link for the first operator over; return what may be said of it, None where there is one."""


def add(inner: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add both commands to those of ``accounts``."""
    link = inner.add_parser("link", parents=[file_option], help="make a link that sets an account's password, once")
    link.add_argument("email", metavar="EMAIL")
    _add_url(link)
    options.add_json(link)
    link.set_defaults(run=run_link)

    setup = inner.add_parser("setup-link", parents=[file_option], help="make a link that makes the first operator")
    _add_url(setup)
    setup.set_defaults(run=run_setup_link)


def _add_url(parser: argparse.ArgumentParser) -> None:
    where = "where people reach the page, such as https://keys.example.com (default: the management address)"
    parser.add_argument("--url", metavar="URL", help=where)


def run_link(arguments: argparse.Namespace) -> int:
    """Make a link for the account's password and print it."""
    settings = read_settings(arguments.file)
    actor, origin = options.asked_by()

    def make(access: Links) -> Awaitable[str]:
        return access.make_link(arguments.email, actor=actor, origin=origin)

    token = _ask(settings, make)
    from keystile.config.page import link_path

    link = _page(settings, arguments.url) + link_path(token)
    if arguments.json:
        show_json({"link": link})
        return 0
    print(link)
    print("It is good once, for an hour. An earlier link of the account is good no more.", file=sys.stderr)
    return 0


def run_setup_link(arguments: argparse.Namespace) -> int:
    """Make a link for the first operator, and show it on the terminal or say in which file it is."""
    settings = read_settings(arguments.file)

    page = _page(settings, arguments.url)
    said = _ask(settings, lambda access: access.offer_setup_link(page, sys.stdout))
    if said is None:
        raise CommandFailed("there is an operator already; for a forgotten password: keystile accounts link EMAIL")
    print(said)
    return 0


def _ask(settings: Settings, question: Callable[[Links], Awaitable[Result]]) -> Result:
    import asyncio  # not above: it brings ssl along, and "keystile --help" is to answer at once

    from keystile import app

    async def work() -> Result:
        with failures(settings):
            async with app.open_access(settings) as access:
                return await question(access)

    return asyncio.run(work())


def _page(settings: Settings, url: str | None) -> str:
    from keystile.config.page import page_url

    if url is None:
        return page_url(settings.management)
    if not url.startswith(("https://", "http://")):
        raise CommandFailed("write --url with its scheme, such as https://keys.example.com")
    return url.rstrip("/")
