"""``keystile upgrade``: have the running gateway go on as the program that lies on disk now, and say what came of it.

Law: this file asks and shows the answer. Exit code 1 where there was no upgrade, or only a part of one: why is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed, show_json


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``upgrade``."""
    parser = commands.add_parser(
        "upgrade",
        parents=[file_option],
        help="have the running gateway go on as the program that is installed now",
        description="Starts the installed program's processes on the same sockets, proves them ready, and has the "
        "old ones finish their requests. Where they do not get ready, nothing changes. SIGUSR2 does the same.",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    settings = read_settings(arguments.file, warnings=False)
    from keystile.process import control

    try:
        answer = control.ask_to_upgrade(settings.store)
    except control.NotRunning as error:
        raise CommandFailed(str(error)) from None
    if arguments.json:
        show_json(answer)
        return 0 if answer["fault"] is None else 1
    if answer.get("changed"):
        print(f"upgraded from {answer['from']} to {answer['to']}")
        print(f"new: {_told(answer['new'])}; they serve")
        print(f"old: {_told(answer['old'])}; they finish their requests and end")
    if answer["fault"] is not None:
        nothing = "" if answer.get("changed") else "no upgrade, the gateway goes on as it was: "
        raise CommandFailed(f"{nothing}{answer['fault']}")
    return 0


def _told(processes: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{one['role']} {one['pid']}" for one in processes)
