"""``keystile accounts``: create, password, list, delete; and one-time links (``links.py``).

Law: this file asks for passwords and shows accounts; the rules stand in ``keys/service.py``, and how passwords
are kept, in ``storage/passwords.py``. A password is never an argument: those can be read by every process.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import TYPE_CHECKING

from keystile.cli import links, options
from keystile.cli.settings import read_settings
from keystile.cli.store import ask
from keystile.cli.terminal import CommandFailed, iso, moment_for_people, show_json, show_table, warn

if TYPE_CHECKING:
    from keystile.keys.key import Account
    from keystile.keys.service import KeyService
    from keystile.storage.passwords import Passwords


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``accounts`` and its own commands."""
    doing = "accounts: create, password, link, list, delete"
    parser = commands.add_parser("accounts", parents=[file_option], help=doing)
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    create = inner.add_parser("create", parents=[file_option], help="make an account with a password")
    create.add_argument("email", metavar="EMAIL")
    create.add_argument("--operator", action="store_true", help="may see and manage everybody's keys")
    _add_password_option(create)
    options.add_json(create)
    create.set_defaults(run=run_create)

    password = inner.add_parser("password", parents=[file_option], help="give an account a new password")
    password.add_argument("email", metavar="EMAIL")
    _add_password_option(password)
    password.set_defaults(run=run_password)

    links.add(inner, file_option)

    listing = inner.add_parser("list", parents=[file_option], help="all accounts")
    options.add_json(listing)
    listing.set_defaults(run=run_list)

    delete = inner.add_parser("delete", parents=[file_option], help="delete an account and all its keys, now")
    delete.add_argument("email", metavar="EMAIL")
    delete.set_defaults(run=run_delete)


def _add_password_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input (one line)"
    )


def run_create(arguments: argparse.Namespace) -> int:
    """Make the account; nothing is made when the password is no good."""
    settings = read_settings(arguments.file)
    password = read_password(arguments.password_stdin)
    actor, origin = options.asked_by()
    from keystile.storage.errors import StoreError

    async def work(keys: KeyService, passwords: Passwords) -> Account:
        account = await keys.create_account(arguments.email, arguments.operator, actor=actor, origin=origin)
        await keys.note_password_set(account.email, actor=actor, origin=origin)
        try:
            await passwords.set_password(account.id, password)
        except StoreError:
            # The other file cannot be written: better no account than one that nobody can sign in to.
            await keys.delete_account(account.email, actor=actor, origin=origin)
            raise
        return account

    account = ask(settings, work)
    if arguments.json:
        show_json(account_as_json(account))
    else:
        print(f"created {'operator' if account.operator else 'account'} {account.email}")
    return 0


def run_password(arguments: argparse.Namespace) -> int:
    """Set the account's password."""
    settings = read_settings(arguments.file)
    password = read_password(arguments.password_stdin)
    actor, origin = options.asked_by()

    async def work(keys: KeyService, passwords: Passwords) -> Account:
        account = await keys.note_password_set(arguments.email, actor=actor, origin=origin)
        await passwords.set_password(account.id, password)
        return account

    print(f"set the password of {ask(settings, work).email}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """List all accounts."""
    accounts = ask(read_settings(arguments.file), lambda keys, _: keys.list_accounts())
    if arguments.json:
        show_json([account_as_json(account) for account in accounts])
        return 0
    rows = [
        (account.email, "operator" if account.operator else "", moment_for_people(account.created, "-"))
        for account in accounts
    ]
    show_table(("ACCOUNT", "ROLE", "CREATED (UTC)"), rows, "no accounts yet")
    return 0


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete the account, its keys and its password."""
    settings = read_settings(arguments.file)
    actor, origin = options.asked_by()
    from keystile.storage.errors import StoreError

    async def work(keys: KeyService, passwords: Passwords) -> Account:
        account = await keys.delete_account(arguments.email, actor=actor, origin=origin)
        try:
            await passwords.delete(account.id)
        except StoreError as error:
            warn(f"its password stays where it is, and opens nothing any more: {error}")
        return account

    print(f"deleted {ask(settings, work).email} and its keys")
    return 0


def account_as_json(account: Account) -> dict[str, object]:
    """What programs see of an account."""
    return {
        "id": account.id,
        "email": account.email,
        "operator": account.operator,
        "created": iso(account.created),
    }


def read_password(from_stdin: bool) -> str:
    """A password from standard input, or typed twice at a terminal; raises CommandFailed."""
    from keystile.storage.passwords import MAX_LENGTH, MIN_LENGTH

    try:
        password = _typed(from_stdin)
    except EOFError:
        raise CommandFailed("no password was given") from None
    except UnicodeDecodeError:
        raise CommandFailed("the password is not valid text") from None
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise CommandFailed(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    return password


def _typed(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask for a password; give it with --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise CommandFailed("the two passwords are not the same")
    return password
