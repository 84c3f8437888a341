"""The ``keystile`` command: reads the command line and hands over to one command.

Law: this file knows which commands there are and what an exit code means
(0 done, 1 it could not be done, 2 the command line was wrong); what a command does stands in its own file.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from keystile import __version__, build
from keystile.cli import (
    accounts,
    backup,
    check,
    demo,
    diff,
    keys,
    loadtest,
    logs,
    options,
    reload,
    routes,
    serve,
    smtp,
    status,
    stores,
    tls,
    upgrade,
)
from keystile.cli.terminal import CommandFailed, show_error

_COMMANDS = (
    *(serve, check, diff, reload, upgrade, routes, status, logs),
    *(demo, accounts, keys, smtp, backup, stores, tls, loadtest),
)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with no command's work imported."""
    file_option = options.file_option()
    parser = argparse.ArgumentParser(
        prog="keystile",
        description="An API-key gateway: keys, permissions, address rules, limits, TLS in front of an API.",
        parents=[file_option],
    )
    kind = " (compiled)" if build() == "compiled" else ""
    parser.add_argument("--version", action="version", version=f"keystile {__version__}{kind}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands, file_option)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (argparse ends the process with 2 when the line is wrong)."""
    if arguments is None:
        _read_paths_as_utf8()
    _have_standard_files()
    # Not as parser defaults: a subcommand's parser must be able to leave the outer one's -c alone.
    chosen = build_parser().parse_args(arguments, argparse.Namespace(file=options.DEFAULT_FILE))
    run: options.Run = chosen.run
    try:
        code = run(chosen)
        sys.stdout.flush()
    except CommandFailed as failure:
        show_error(str(failure))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _read_paths_as_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale says something else: gateway.yaml and its names are UTF-8.

    Without a locale Python does so by itself (PEP 540), unless PYTHONUTF8=0 or a locale of the last century is set.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"  # for the gateway's processes
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", "keystile", *sys.argv[1:]])


def _have_standard_files() -> None:
    """Have something open as 0, 1 and 2: else the next file that is opened gets the number, and what is printed.

    The access log's lines would go into the store.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
