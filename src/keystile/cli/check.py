"""``keystile check``: say everything that is wrong with gateway.yaml, or print its JSON Schema.

Law: this file only shows; the rules stand in ``config/``. Exit code 0 when the gateway could start with it, else 1.
"""

from __future__ import annotations

import argparse

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import styled


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``check``."""
    parser = commands.add_parser(
        "check", parents=[file_option], help="say what is wrong with the settings, with line and path"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of gateway.yaml instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check the file, or print the schema."""
    if arguments.schema:
        from keystile.config import schema

        print(schema.as_text(), end="")
        return 0
    settings = read_settings(arguments.file)
    facts = (
        _count(len(settings.listeners), "listener"),
        _count(len(settings.upstreams), "upstream"),
        _count(len(settings.operations), "route"),
    )
    print(f"{arguments.file}: {styled('good', 'green')} ({', '.join(facts)})")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
