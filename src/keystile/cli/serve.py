"""``keystile serve``: run the gateway.

Law: this file reads the settings and hands them to the supervisor; what runs then is not its business.
"""

from __future__ import annotations

import argparse
import sys

from keystile.cli import options
from keystile.cli.settings import read_settings


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``serve``."""
    parser = commands.add_parser("serve", parents=[file_option], help="run the gateway")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; the exit code is the supervisor's."""
    settings = read_settings(arguments.file)
    from keystile.process import supervisor
    from keystile.process.log import wait_for_no_reader

    wait_for_no_reader()
    return supervisor.serve(settings, announce=sys.stdout)
