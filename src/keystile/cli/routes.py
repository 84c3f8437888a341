"""``keystile routes``: the route table as it will be used.

Law: this file shows rows in the order of the settings; how routes are found stands in ``routing/``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import show_json, show_table


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``routes``."""
    parser = commands.add_parser(
        "routes", parents=[file_option], help="the route table as it will be used: method, path, scopes, upstream"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    settings = read_settings(arguments.file)
    from keystile import app

    rows = app.route_rows(settings)
    if arguments.json:
        show_json(rows)
        return 0
    cells = [
        (str(row["method"]), str(row["path"]), scopes_for_people(row["scopes"]), str(row["upstream"]))
        for row in rows
    ]
    show_table(("METHOD", "PATH", "SCOPES", "UPSTREAM"), cells, "no routes")
    return 0


def scopes_for_people(scopes: object) -> str:
    """What a row needs, in words: ``A and B``, ``A or B``, ``any key``, ``public``."""
    if scopes is None:
        return "(public)"
    if isinstance(scopes, Mapping):
        every, some = scopes.get("all", ()), " or ".join(scopes["any"])
        return " and ".join([*every, f"({some})"]) if every else some
    assert isinstance(scopes, list)
    return " and ".join(scopes) or "(any key)"
