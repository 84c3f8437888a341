"""Reading gateway.yaml for a command: settings or one error, and warnings on the way.

Law: this file turns what is wrong with a configuration into what a command says; it judges nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keystile.cli.terminal import CommandFailed, warn

if TYPE_CHECKING:
    from keystile.config.model import Settings


def read_settings(file: Path, *, warnings: bool = True) -> Settings:
    """The settings of ``file``; raises CommandFailed with every fault, one a line."""
    from keystile import app
    from keystile.config.faults import ConfigurationError

    try:
        settings = app.load_settings(file)
    except ConfigurationError as error:
        raise CommandFailed(told(error)) from None
    if warnings:
        for warning in settings.warnings:
            warn(warning)
    return settings


def told(error: Exception) -> str:
    """A ConfigurationError for people."""
    lines = str(error).splitlines()
    return lines[0] if len(lines) == 1 else "\n".join([f"the configuration has {len(lines)} faults", *lines])
