"""``keystile backup``: a copy of the keys and of the passwords, while the gateway runs or not.

Law: this file asks for it and says what came of it; how a copy is made stands in ``storage/backup.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.store import failures
from keystile.cli.terminal import show_json


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``backup``."""
    parser = commands.add_parser(
        "backup",
        parents=[file_option],
        help="copy the store and its passwords, also while the gateway runs",
        description="Copies the key store and the passwords' file as they are at one moment, examines the copies, and"
        " only then gives them their names. They are for their owner alone (0600).",
    )
    parser.add_argument("into", type=Path, metavar="FOLDER|FILE", help="a folder, or the name of the store's copy")
    parser.add_argument("--force", action="store_true", help="in place of an earlier copy")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy and say what was copied."""
    settings = read_settings(arguments.file, warnings=False)
    from keystile import app

    with failures(settings):
        made = app.back_up(settings, arguments.into, force=arguments.force)
    if arguments.json:
        shown = {"store": str(made.store), "passwords": str(made.passwords)}
        show_json({**shown, "accounts": made.accounts, "keys": made.keys, "bytes": made.size})
    else:
        print(f"copied {made.accounts} accounts and {made.keys} keys to {made.store} and {made.passwords}")
    return 0
