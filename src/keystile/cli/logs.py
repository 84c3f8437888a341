"""``keystile logs``: the access log, for people.

Law: this file says where lines come from and which are wanted; how one is read and shown stands in ``log_lines.py``,
how a file is followed in ``log_source.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed, warn

if TYPE_CHECKING:
    from keystile.cli.log_lines import Printer, Wanted

STDIN = "-"


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``logs``."""
    parser = commands.add_parser("logs", parents=[file_option], help="the access log, for people")
    parser.add_argument(
        "log", nargs="?", metavar="FILE", help="the log, or - for standard input (default: the file in gateway.yaml)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument("--status", type=options.statuses, metavar="STATUS", help="such as 404, 4xx or 4xx,503")
    parser.add_argument("--refusal", metavar="TYPE", help="a problem type, such as scope-missing; or any")
    parser.add_argument("--key", metavar="ID", help="requests with this key (its id)")
    parser.add_argument("--account", metavar="EMAIL", help="requests with keys of this account")
    parser.add_argument("--since", type=options.seconds, metavar="DURATION", help="of the last 10m, 24h or 7d")
    parser.add_argument("--local", action="store_true", help="times as on this machine's clock, instead of UTC")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is wanted."""
    from keystile.cli.log_lines import Printer, Wanted

    since = None if arguments.since is None else time.time() - arguments.since
    wanted = Wanted(arguments.status, arguments.refusal, arguments.key, arguments.account, since)
    printer = Printer(as_json=arguments.json, local=arguments.local)
    at_once = arguments.follow or arguments.log == STDIN
    _print(_lines(arguments), wanted, printer, at_once=at_once)
    return 0


def _lines(arguments: argparse.Namespace) -> Iterable[bytes]:
    from keystile.cli import log_source

    if arguments.log == STDIN:
        return log_source.of_stream(sys.stdin.buffer)
    file = Path(arguments.log) if arguments.log else _file_of(arguments.file)
    return log_source.followed(file) if arguments.follow else log_source.of_file(file)


def _file_of(settings_file: Path) -> Path:
    """Where the gateway of these settings writes it."""
    log = read_settings(settings_file, warnings=False).access_log
    if not log.enabled:
        raise CommandFailed("the access log is off in the settings; access_log says where it goes")
    if log.file is None:
        raise CommandFailed("the access log goes to standard output; pipe that in: … | keystile logs -")
    return log.file


def _print(lines: Iterable[bytes], wanted: Wanted, printer: Printer, *, at_once: bool) -> None:
    from keystile.cli.log_lines import read

    missing: set[str] = set()
    for line in lines:
        entry = read(line)
        if entry is None:
            if not wanted.anything_in_particular:
                printer.as_it_is(line)
        elif wanted.takes(entry):
            printer.show(entry, line)
        elif lacks := wanted.needs - entry.keys() - missing:
            missing |= lacks
            warn(f"lines have no {' and no '.join(sorted(lacks))}; access_log.fields says what they have")
        if at_once:
            sys.stdout.flush()
