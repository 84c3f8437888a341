"""``keystile status``: what the running gateway says of itself.

Law: this file asks the supervisor and shows the answer, and beside it the hosts that share the store (``hosts.py``),
which the supervisor knows nothing of. Exit code 1 when no gateway answers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from keystile.cli import hosts, options
from keystile.cli.asking import ask_gateway
from keystile.cli.terminal import show_json, show_table


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``status``."""
    parser = commands.add_parser(
        "status",
        parents=[file_option],
        help="of the running gateway: processes, configuration version, slots taken, store",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    from keystile.process import control

    status = ask_gateway(arguments.file, control.ask)
    if not arguments.json:
        _show(status)
        sys.stdout.flush()  # before a database is asked, which may take its time
    others = hosts.look(arguments.file)
    if arguments.json:
        show_json(status if others is None else {**status, "hosts": others.described()})
    elif others is not None:
        others.show()
    return 0


def _show(status: Mapping[str, Any]) -> None:
    processes = [
        (process["role"] + (" (draining)" if process.get("draining") else ""), str(process["pid"]))
        for process in status["processes"]
    ]
    show_table(("ROLE", "PID"), processes, "no processes")
    facts = [(key, value) for key, value in status.items() if key != "processes"]
    names = [key.replace("_", " ") for key, _ in facts]
    width = max(map(len, names), default=0)
    print()
    for name, (_, value) in zip(names, facts, strict=True):
        print(f"{name.ljust(width)}  {_told(value)}")


def _told(value: object) -> str:
    """One fact in one line: a listener as its address, a server with its state, a list with commas."""
    if isinstance(value, list):
        return ", ".join(_told(each) for each in value)
    if isinstance(value, Mapping):
        if "server" in value:
            return "{upstream} {server} ({state})".format(**value)
        said = str(value.get("address", dict(value)))
        return f"{said} (TLS)" if value.get("tls") else said
    return str(value)
