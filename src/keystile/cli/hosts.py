"""The hosts that share the store, for ``keystile status``: asked of the database itself.

Law: looking only, and never a reason to fail: where the database does not answer, one line says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed, printable, show_table, warn

if TYPE_CHECKING:
    from keystile.storage.hosts import HostState


@dataclass(frozen=True, slots=True)
class Others:
    """The hosts, this one among them, and in what those that were heard of differ."""

    states: Sequence[HostState]
    differences: Sequence[str]

    def described(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [
            {
                "id": each.says.id,
                "name": each.says.name,
                "here": each.here,
                "heard": each.is_heard,
                "last_heard": _written(each.heard),
                "running_since": _written(each.since),
                "version": each.says.program,
                "build": each.says.build,
                "schema_known": each.knows,
                "configuration": each.says.configuration,
                "settings": each.says.settings,
                "slots": each.says.slots,
                "health": each.says.health,
                "troubles": list(each.says.troubles),
            }
            for each in self.states
        ]

    def show(self) -> None:
        """For people."""
        print()
        show_table(("HOST", "PROGRAM", "CONFIGURATION", "STATE"), list(map(_row, self.states)), "no hosts")
        for text in self.differences:
            print(printable(text))


def look(file: Path) -> Others | None:
    """The hosts of the store that ``file`` names; None where it is a file, or nobody can be asked."""
    from keystile.config.faults import ConfigurationError
    from keystile.config.place import store_of

    try:
        if not store_of(file).in_database:
            return None  # found out without reading all that the file names
    except ConfigurationError:
        return None
    import asyncio  # not above: it brings ssl along, and "keystile --help" is to answer at once

    from keystile import app
    from keystile.storage.errors import StoreError

    try:
        settings = read_settings(file, warnings=False)
    except CommandFailed:
        return None  # the gateway that runs was started with another text, and has answered
    try:
        return Others(*asyncio.run(app.look_at_hosts(settings)))
    except StoreError as error:
        warn(f"the hosts cannot be looked at: {error}")
        return None


def _row(state: HostState) -> tuple[str, str, str, str]:
    says = state.says
    name = f"{says.name} (this one)" if state.here else says.name
    another = " (another)" if state.is_heard and state.other_settings else ""
    return name, f"{says.program}, {says.build}", f"{says.settings}{another}", _how(state)


def _how(state: HostState) -> str:
    if not state.is_heard:
        return f"not heard of since {_written(state.heard)}"
    troubles = f": {'; '.join(state.says.troubles)}" if state.says.troubles else ""
    return f"{state.says.health}{troubles}"


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
