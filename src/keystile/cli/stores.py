"""``keystile store copy``: a whole store from a file to a database, or back.

Law: this file reads the two names and says what came of it; how a store is copied, and looked at again, stands in
``storage/postgresql/copying.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from keystile.cli import options
from keystile.cli.terminal import CommandFailed, show_json

if TYPE_CHECKING:
    from keystile.storage.postgresql.database import Database


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``store copy``."""
    told = "copy a whole store between a file and a database"
    parser = commands.add_parser("store", parents=[file_option], help=told)
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    copying = inner.add_parser(
        "copy",
        parents=[file_option],
        help="copy everything, and look at it again",
        description="Copies accounts, keys, SMTP credentials, uses, the audit table, passwords, sessions and tokens,"
        " and compares both stores by counts and digests before the copy counts. Stop the gateways first: what they"
        " change afterwards is not in it. Both are written as store: is in gateway.yaml; relative files are relative to"
        " here.",
    )
    copying.add_argument("source", metavar="FROM", help="such as sqlite:///keystile.db")
    copying.add_argument("target", metavar="TO", help="such as postgresql://keystile@db.example.com/keystile; empty")
    copying.add_argument("--from-password-file", type=Path, metavar="FILE", help="the password of FROM, a database")
    copying.add_argument("--to-password-file", type=Path, metavar="FILE", help="the password of TO, a database")
    options.add_json(copying)
    copying.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy and say what was copied."""
    from keystile import app
    from keystile.storage.errors import StoreError

    source = _store(arguments.source, arguments.from_password_file)
    target = _store(arguments.target, arguments.to_password_file)
    try:
        sums = app.copy_store(source, target)
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    except ImportError as error:
        raise CommandFailed(f"{error}; pip install 'keystile[postgresql]'") from error
    if arguments.json:
        show_json({name: {"rows": found.rows, "digest": found.digest} for name, found in sums.items()})
    else:
        for name, found in sums.items():
            print(f"{name:<18}{found.rows:>10}  {found.digest}")
        print(f"copied {sums['accounts'].rows} accounts and {sums['keys'].rows} keys; both stores hold the same")
    return 0


def _store(written: str, password_file: Path | None) -> Path | Database:
    from keystile.config import choices
    from keystile.config.database import DatabaseUrl
    from keystile.storage.postgresql.database import Database

    try:
        found = choices.store(written)
    except ValueError as error:
        raise CommandFailed(f"{_shown(written)} {error}") from None
    if isinstance(found, DatabaseUrl):
        return Database(found.options, password_file)
    if password_file is not None:
        raise CommandFailed(f"{written} is a file, which has no password")
    return Path(found).absolute()


def _shown(written: str) -> str:
    from keystile.config.faults import shown_value

    return shown_value(written)
