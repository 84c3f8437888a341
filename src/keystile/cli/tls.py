"""``keystile tls self-signed``: a certificate that signs itself, for trying out.

Law: this file writes two files where it is told to, never over others, and says what to do with them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from keystile.cli import options
from keystile.cli.terminal import CommandFailed

DAYS = 30
"""For trying out: whoever forgets it on a real listener is reminded soon."""


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``tls``."""
    group = commands.add_parser("tls", parents=[file_option], help="certificates for trying out")
    below = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parser = below.add_parser(
        "self-signed",
        parents=[file_option],
        help="make a certificate that signs itself",
        description="Writes cert.pem and key.pem. Clients trust it only where they are told to: not for production.",
    )
    parser.add_argument("names", nargs="*", default=["localhost", "127.0.0.1", "::1"], metavar="NAME")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how long it is good (default {DAYS})")
    parser.add_argument("--into", type=Path, default=Path("tls"), metavar="FOLDER", help="default: tls")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make, write, say."""
    from keystile.wire.certificates import self_signed

    if not 1 <= arguments.days <= 3650:
        raise CommandFailed("--days is a number from 1 to 3650")
    try:
        certificate, key = self_signed(arguments.names, arguments.days)
    except ValueError as error:
        raise CommandFailed(f"no certificate can be made for {', '.join(arguments.names)}: {error}") from None
    folder: Path = arguments.into
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / "key.pem", key, 0o600)
        _write(folder / "cert.pem", certificate, 0o644)  # whoever shall trust it has to read it
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}; nothing is written over") from None
    print(f"for {', '.join(arguments.names)}, good for {arguments.days} days:")
    print(f"  certificate: {folder / 'cert.pem'}\n  private_key: {folder / 'key.pem'}")
    print(f"Try it with curl --cacert {folder / 'cert.pem'} https://localhost:...")
    return 0


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
