"""``keystile reload``: have the running gateway read gateway.yaml now, and say what came of it.

Law: this file asks and shows the answer. Exit code 1 where the configuration was not taken: what is wrong is shown,
and the gateway goes on by the one that it has.
"""

from __future__ import annotations

import argparse

from keystile.cli import options
from keystile.cli.asking import ask_gateway
from keystile.cli.terminal import CommandFailed, show_json, warn


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``reload``."""
    parser = commands.add_parser(
        "reload",
        parents=[file_option],
        help="have the running gateway read its configuration now",
        description="The gateway sees changes of gateway.yaml, and of the files it names, by itself within a second or "
        "two. This command does not wait for that, and says what came of it.",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    from keystile.process import control

    answer = ask_gateway(arguments.file, control.ask_to_reload)
    for warning in answer.get("warnings", ()):
        warn(warning)
    if arguments.json:
        show_json(answer)
    elif answer["fault"] is None:
        number = answer["number"]
        print(f"configuration {number} is in force" if answer["changed"] else f"nothing has changed since {number}")
    if answer["fault"] is None:
        return 0
    if not arguments.json:
        raise CommandFailed(f"not taken, the gateway goes on as it was: {answer['fault']}")
    return 1
