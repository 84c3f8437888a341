"""The files that gateway.yaml names: how they are read, and where store and log will lie.

Law: this file opens and judges files; it never writes one. What it read is kept in ``contents`` (absolute
path to bytes), so that a snapshot holds what was judged and not what lies on disk a moment later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from keystile.config import choices, units
from keystile.config.database import DatabaseUrl
from keystile.config.faults import Fault
from keystile.config.written import Written
from keystile.config.yamltext import Loc

LARGEST = 64 * 1024 * 1024
CANNOT = "cannot be read"


def absolute(folder: Path, path: str) -> Path:
    """A path of gateway.yaml: relative to its folder, without ``..`` where that needs no disk."""
    return Path(os.path.normpath(folder / path))


def check(written: Written) -> list[Fault]:
    """Every fault of the folders of store and access log, and of the password's file, which relays read."""
    return [*_folders(written), *_password(written)]


def read(written: Written, loc: Loc, contents: dict[Path, bytes]) -> tuple[bytes | None, list[Fault]]:
    """The bytes of the file that the setting at ``loc`` names, or None and why not."""
    name = written.read(units.text, *loc)
    if name is None:
        return None, []  # missing or no text: told where single settings are
    path = absolute(written.folder, name)
    try:
        contents[path] = bounded(path)
    except (OSError, ValueError) as error:
        return None, [written.fault(loc, f"{CANNOT}: {reason(error)}", show=True)]
    return contents[path], []


def bounded(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file; a pipe or a device might never end. Raises OSError, ValueError."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest >> 20} MiB")
    return content


def reason(error: OSError | ValueError) -> str:
    """Why a file could not be read, without its path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def store_file(store: str | DatabaseUrl, mirror: str) -> str:
    """The file, as written, beside which a host's other files lie: the store's own, or what is kept of a database."""
    return store if isinstance(store, str) else mirror


def _store_path(value: object) -> str | None:
    found = choices.store(value)
    return found if isinstance(found, str) else None


def access_log_place(written: Written) -> Loc:
    """Where it is written to what the access log goes."""
    log = written.get("access_log")
    return ("access_log", "to") if log is not None and log.fields is not None else ("access_log",)


def _folders(written: Written) -> Iterator[Fault]:
    log = access_log_place(written)
    store: tuple[Loc, Callable[[object], str | None]] = (("store",), _store_path)
    if isinstance(written.read(choices.store, "store"), DatabaseUrl):
        store = (("database", "mirror"), units.text)
    for place, reader in (store, (log, choices.access_log)):
        value = written.read(reader, *place)
        if value is None or (place is log and value == "stdout"):
            continue
        if wrong := _cannot_lie(absolute(written.folder, value)):
            yield written.fault(place, wrong, show=True)


def _password(written: Written) -> Iterator[Fault]:
    place: Loc = ("slots", "password_file")
    name = written.read(units.text, *place)
    if name is not None and not os.access(absolute(written.folder, name), os.R_OK):
        yield written.fault(place, f"{CANNOT}; write the path of a file with the password and nothing else")


def _cannot_lie(path: Path) -> str | None:
    """Why a file cannot be made or written there; None if it can, as far as one can see without trying."""
    try:
        if path.is_dir():
            return "is a directory; write a file in it"
        if not path.parent.is_dir():
            return "lies in a directory that does not exist; make it first"
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            return "cannot be written by this user"
    except (OSError, ValueError) as error:
        return f"cannot be looked at: {reason(error)}"
    return None
