"""Asking the gateway that runs: found by the store that gateway.yaml names, however broken the file is.

Law: this file finds whom to ask, and says why nobody answers; what is asked is the command's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystile.cli.settings import told
from keystile.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from keystile.config.place import Place


def ask_gateway(file: Path, ask: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What it answers to ``ask``, which takes the store. Raises CommandFailed."""
    from keystile.config.faults import ConfigurationError
    from keystile.config.place import store_of
    from keystile.process.control import NotRunning

    try:
        place = store_of(file)
    except ConfigurationError as error:
        raise CommandFailed(told(error)) from None
    try:
        if place.doubt:
            _must_be_of(file, place)
        return ask(place.store)
    except NotRunning as error:
        raise CommandFailed(_nobody(str(error), place)) from None


def _must_be_of(file: Path, place: Place) -> None:
    """The store is a guess: whoever answers there must have been started with this file. Raises NotRunning."""
    from keystile.process import control

    started_with = control.ask(place.store).get("file")
    if started_with != str(file.absolute()):
        raise control.NotRunning(f"on {place.store} runs the gateway of {started_with}, not that of {file.absolute()}")


def _nobody(error: str, place: Place) -> str:
    if not place.doubt:
        return error
    return f"{error}\nwhich store it is can only be guessed, since the file cannot be read: {place.doubt}"
