"""``keystile smtp``: create, list, edit, change, delete, verify.

Law: this file knows the options and puts one question each; the rules stand in ``keys/smtp.py``, what is shown in
``show_smtp.py``. A secret is never an argument: those can be read by every process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeVar

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.show_smtp import listed_as_json, show_created, show_credentials, show_kept
from keystile.cli.store import failures
from keystile.cli.terminal import CommandFailed, show_json

if TYPE_CHECKING:
    from keystile.keys.smtp import SmtpService

Result = TypeVar("Result")

_ALLOW_HELP = "addresses it may be used from; may be repeated"
_LONGEST_LINE = 4096
"""Characters that are read for a secret; a secret has 96."""


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``smtp`` and its own commands."""
    about = "SMTP credentials: create, list, edit, change, delete, verify"
    parser = commands.add_parser("smtp", parents=[file_option], help=about)
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    named = [file_option, _named()]

    create = inner.add_parser("create", parents=named, help="make an SMTP credential; its secret is shown once")
    _add_allow(create, f"{_ALLOW_HELP} (default: everywhere)", [])
    create.add_argument(
        "--expires", type=options.expiry, metavar="DATE", help=f"{options.EXPIRES_HELP}; default: never"
    )
    create.set_defaults(run=run_create)

    listing = inner.add_parser("list", parents=[file_option], help="those of everybody, or of one account")
    listing.add_argument("--account", metavar="EMAIL")
    options.add_json(listing)
    listing.set_defaults(run=run_list)

    edit = inner.add_parser("edit", parents=named, help="replace what is given of one and leave the rest")
    _add_edits(edit)
    edit.set_defaults(run=run_edit)

    change = inner.add_parser("change", parents=named, help="give one a new secret; it is shown once")
    change.set_defaults(run=run_change)

    delete = inner.add_parser("delete", parents=named, help="delete one; it is refused from now on")
    delete.set_defaults(run=run_delete)

    verify = inner.add_parser(
        "verify", parents=[file_option], help="check a name and a secret (from standard input); exit 0 or 1"
    )
    verify.add_argument("--name", required=True, metavar="EMAIL", help="the user name that was given")
    verify.add_argument("--address", type=_address, metavar="IP", help="of the mail client, if it is known")
    options.add_json(verify)
    verify.set_defaults(run=run_verify)


def _named() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--account", required=True, metavar="EMAIL")
    parent.add_argument("--name", required=True, metavar="EMAIL", help="an e-mail address, unique in the account")
    options.add_json(parent)
    return parent


def _add_edits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rename", metavar="EMAIL", help="its new name")
    networks = parser.add_mutually_exclusive_group()
    _add_allow(networks, f"in place of the {_ALLOW_HELP}", None)
    networks.add_argument(
        "--allow-everywhere", action="store_const", const=[], dest="networks", help="no such restriction any more"
    )
    parser.add_argument(
        "--expires",
        type=options.expiry_or_never,
        default=argparse.SUPPRESS,
        metavar="DATE|never",
        help=options.EXPIRES_HELP,
    )


def _add_allow(parser: argparse._ActionsContainer, text: str, default: list[str] | None) -> None:
    parser.add_argument(
        "--allow", action="append", dest="networks", default=default, metavar="CIDR|FIRST-LAST", help=text
    )


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def _ask(arguments: argparse.Namespace, question: Callable[[SmtpService], Awaitable[Result]]) -> Result:
    """Put one question to the service of the chosen settings."""
    import asyncio

    from keystile import app

    settings = read_settings(arguments.file)

    async def work() -> Result:
        with failures(settings):
            async with app.open_smtp(settings) as smtp:
                return await question(smtp)

    return asyncio.run(work())


def run_create(arguments: argparse.Namespace) -> int:
    """Make an SMTP credential and show its secret."""
    actor, origin = options.asked_by()
    created = _ask(
        arguments,
        lambda smtp: smtp.create(
            arguments.account, arguments.name, arguments.networks, arguments.expires, actor=actor, origin=origin
        ),
    )
    show_created(created, as_json=arguments.json)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """List SMTP credentials."""
    found = _ask(arguments, lambda smtp: smtp.list(arguments.account))
    if arguments.json:
        show_json([listed_as_json(credential) for credential in found])
    else:
        show_credentials(found)
    return 0


def run_edit(arguments: argparse.Namespace) -> int:
    """Replace what is given of an SMTP credential."""
    from keystile.keys.answers import UNCHANGED

    actor, origin = options.asked_by()
    edited = _ask(
        arguments,
        lambda smtp: smtp.edit(
            arguments.account,
            arguments.name,
            new_name=arguments.rename,
            networks=arguments.networks,
            expires=getattr(arguments, "expires", UNCHANGED),
            actor=actor,
            origin=origin,
        ),
    )
    show_kept(edited, "edited", as_json=arguments.json)
    return 0


def run_change(arguments: argparse.Namespace) -> int:
    """Give an SMTP credential a new secret and show it."""
    actor, origin = options.asked_by()
    changed = _ask(
        arguments, lambda smtp: smtp.change(arguments.account, arguments.name, actor=actor, origin=origin)
    )
    show_created(changed, as_json=arguments.json)
    return 0


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete an SMTP credential."""
    actor, origin = options.asked_by()
    deleted = _ask(
        arguments, lambda smtp: smtp.delete(arguments.account, arguments.name, actor=actor, origin=origin)
    )
    show_kept(deleted, "deleted", as_json=arguments.json)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Say whether the name and the secret are those of a credential that may be used now."""
    secret = _read_secret()
    found = _ask(arguments, lambda smtp: smtp.verify(arguments.name, secret, arguments.address))
    if found is None:
        # One and the same for whatever was wrong.
        raise CommandFailed("no such SMTP credential, or it may not be used so")
    show_kept(found, "verified", as_json=arguments.json)
    return 0


def _read_secret() -> str:
    """Return the first line of standard input. Raises CommandFailed."""
    try:
        return sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    except UnicodeDecodeError:
        raise CommandFailed("the secret is not valid text") from None
