"""Where the store lies that a gateway.yaml names, whatever else is wrong with the file.

Law: the store's place and nothing more: whoever asks a running gateway finds it by that, and needs it most of all
when the file is broken. It is found at once, so the schema of gateway.yaml is not asked. It is a guess only where the
text is no YAML: then the one line that names a store counts, or the default; ``doubt`` says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keystile.config import choices, files, units
from keystile.config.choices import DEFAULT_STORE
from keystile.config.database import MIRROR
from keystile.config.faults import ConfigurationError, Fault
from keystile.config.written import Written
from keystile.config.yamltext import LARGEST_FILE, BadYaml, Piece, read

_LINE: Final = re.compile(r"""^store:[ \t]+(["']?)(\S[^"'#\n]*?)\1[ \t]*(?:#.*)?$""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """``store``: absolute. ``doubt``: why it may be another one; empty where the file says it.

    ``in_database``: it is what this host keeps of a store in a database.
    """

    store: Path
    doubt: str = ""
    in_database: bool = False


def store_of(file: Path) -> Place:
    """Where its store lies. Raises ConfigurationError where the file is not there, or names a place that is none."""
    try:
        text = files.bounded(file, LARGEST_FILE).decode("utf-8-sig", "replace")
    except (OSError, ValueError) as error:
        raise _useless(file, None, f"cannot be read: {files.reason(error)}") from None
    try:
        root, _ = read(text)
    except BadYaml as bad:
        return Place(_named_in(file, text), str(_fault(file, bad.line, bad.message)))
    if root is None or root.fields is None:
        return Place(_absolute(file, DEFAULT_STORE), str(_fault(file, None, "has no settings")))
    return _said(Written(file, root))


def _said(written: Written) -> Place:
    piece: Piece | None = written.get("store")
    store = choices.store(DEFAULT_STORE) if piece is None else written.read(choices.store, "store")
    if store is None:
        raise ConfigurationError([written.fault(("store",), "is not a store; write such as sqlite:///keystile.db")])
    mirror = written.read(units.text, "database", "mirror") or MIRROR
    place = files.absolute(written.folder, files.store_file(store, mirror))
    return Place(place, in_database=not isinstance(store, str))


def _named_in(file: Path, text: str) -> Path:
    """By the one line that says it; half-written files have other troubles, most often."""
    said = [match[2] for match in _LINE.finditer(text)]
    return _absolute(file, said[0] if len(said) == 1 else DEFAULT_STORE)


def _absolute(file: Path, store: str) -> Path:
    try:
        return files.absolute(file.absolute().parent, files.store_file(choices.store(store), MIRROR))
    except ValueError as error:
        raise _useless(file, None, f"store: {error}") from None


def _fault(file: Path, line: int | None, message: str) -> Fault:
    return Fault(str(file), line, "", None, message)


def _useless(file: Path, line: int | None, message: str) -> ConfigurationError:
    return ConfigurationError([_fault(file, line, message)])
