"""``keystile keys``: create, list, edit, change, delete, import.

Law: this file knows the options and puts one question each; the rules stand in ``keys/service.py``, what is shown
in ``show_keys.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.show_keys import listed_as_json, show_created, show_kept, show_keys
from keystile.cli.store import ask
from keystile.cli.terminal import show_json

if TYPE_CHECKING:
    from keystile.keys.service import KeyService

Result = TypeVar("Result")


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``keys`` and its own commands."""
    parser = commands.add_parser(
        "keys", parents=[file_option], help="keys: create, list, edit, change, delete, import"
    )
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    named = [file_option, _named()]

    create = inner.add_parser("create", parents=named, help="make a key; its secret is shown once")
    _add_facts(create)
    create.set_defaults(run=run_create)

    listing = inner.add_parser("list", parents=[file_option], help="keys of everybody, or of one account")
    listing.add_argument("--account", metavar="EMAIL")
    listing.add_argument("--name", help="only the keys of this name")
    options.add_json(listing)
    listing.set_defaults(run=run_list)

    edit = inner.add_parser("edit", parents=named, help="replace what is given of a key and leave the rest")
    _add_edits(edit)
    edit.set_defaults(run=run_edit)

    change = inner.add_parser("change", parents=named, help="give a key a new secret; it is shown once")
    change.add_argument(
        "--overlap",
        type=options.seconds,
        default=0.0,
        metavar="DURATION",
        help="the old secret goes on working so long, such as 90s, 10m or 24h (default: ends at once)",
    )
    change.set_defaults(run=run_change)

    delete = inner.add_parser("delete", parents=named, help="delete a key; the next request is refused")
    delete.set_defaults(run=run_delete)

    imported = inner.add_parser("import", parents=named, help="take over a key issued elsewhere by its digest")
    imported.add_argument("--digest", required=True, metavar="SHA256", help="of the secret: 64 hexadecimal characters")
    imported.add_argument("--hint", required=True, metavar="LAST5", help="the secret's last five characters")
    _add_facts(imported)
    imported.set_defaults(run=run_import)


def _named() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("--account", required=True, metavar="EMAIL")
    parent.add_argument("--name", required=True, help="of the key, unique in its account")
    options.add_json(parent)
    return parent


def _add_facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope", action="append", dest="scopes", default=[], metavar="S", help="a permission; may be repeated"
    )
    parser.add_argument(
        "--allow",
        action="append",
        dest="networks",
        default=[],
        metavar="CIDR|FIRST-LAST",
        help="addresses it may be used from; may be repeated (default: everywhere)",
    )
    parser.add_argument(
        "--expires", type=options.expiry, metavar="DATE", help=f"{options.EXPIRES_HELP}; default: never"
    )


def _add_edits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rename", metavar="NAME", help="its new name")
    scopes = parser.add_mutually_exclusive_group()
    scopes.add_argument("--scope", action="append", dest="scopes", metavar="S", help="in place of its scopes")
    scopes.add_argument("--no-scopes", action="store_const", const=[], dest="scopes", help="take all its scopes")
    networks = parser.add_mutually_exclusive_group()
    networks.add_argument(
        "--allow",
        action="append",
        dest="networks",
        metavar="CIDR|FIRST-LAST",
        help="in place of the addresses it may be used from",
    )
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


def _ask(arguments: argparse.Namespace, question: Callable[[KeyService], Awaitable[Result]]) -> Result:
    """Put one question to the key service of the chosen settings."""
    return ask(read_settings(arguments.file), lambda keys, _: question(keys))


def run_create(arguments: argparse.Namespace) -> int:
    """Make a key and show its secret."""
    actor, origin = options.asked_by()
    created = _ask(
        arguments,
        lambda keys: keys.create(
            arguments.account,
            arguments.name,
            arguments.scopes,
            arguments.networks,
            arguments.expires,
            actor=actor,
            origin=origin,
        ),
    )
    show_created(created, as_json=arguments.json)
    return 0


def run_change(arguments: argparse.Namespace) -> int:
    """Give a key a new secret and show it."""
    actor, origin = options.asked_by()
    changed = _ask(
        arguments,
        lambda keys: keys.change(
            arguments.account, arguments.name, arguments.overlap, actor=actor, origin=origin
        ),
    )
    show_created(changed, as_json=arguments.json)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """List keys."""
    keys = _ask(arguments, lambda service: service.list(arguments.account))
    if arguments.name is not None:
        keys = tuple(key for key in keys if key.name == arguments.name.strip())
    if arguments.json:
        show_json([listed_as_json(key) for key in keys])
    else:
        show_keys(keys)
    return 0


def run_edit(arguments: argparse.Namespace) -> int:
    """Replace what is given of a key."""
    from keystile.keys.answers import UNCHANGED

    actor, origin = options.asked_by()
    edited = _ask(
        arguments,
        lambda keys: keys.edit(
            arguments.account,
            arguments.name,
            new_name=arguments.rename,
            scopes=arguments.scopes,
            networks=arguments.networks,
            expires=getattr(arguments, "expires", UNCHANGED),
            actor=actor,
            origin=origin,
        ),
    )
    show_kept(edited.key, edited.warnings, "edited", as_json=arguments.json)
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Take over a key issued elsewhere."""
    actor, origin = options.asked_by()
    imported = _ask(
        arguments,
        lambda keys: keys.import_key(
            arguments.account,
            arguments.name,
            arguments.digest,
            arguments.hint,
            arguments.scopes,
            arguments.networks,
            arguments.expires,
            actor=actor,
            origin=origin,
        ),
    )
    show_kept(imported.key, imported.warnings, "imported", as_json=arguments.json)
    return 0


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete a key."""
    actor, origin = options.asked_by()
    deleted = _ask(
        arguments, lambda keys: keys.delete(arguments.account, arguments.name, actor=actor, origin=origin)
    )
    show_kept(deleted, (), "deleted", as_json=arguments.json)
    return 0
