"""Unix sockets beside the store: where one lies, how it is made, and how it is reached however deep that is.

Law: paths and sockets; who listens there and what is said is not known here. A socket's address holds a path
of 107 bytes, and stores may lie deeper: so the directory is named by its descriptor.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 80  # of 107 bytes


def beside(store: Path, purpose: str) -> Path:
    """``<store>.<purpose>``; a very long name is shortened by hashing."""
    store = store.resolve()
    name = f"{store.name}.{purpose}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"keystile-{hashlib.sha256(os.fsencode(store.name)).hexdigest()[:16]}.{purpose}"
    return store.with_name(name)


@contextmanager
def short(path: Path) -> Iterator[str]:
    """The same place under a path that fits into a socket's address, as long as the block lasts."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def bound(path: Path) -> socket.socket:
    """A socket at ``path`` that only its owner may connect to; what lies there is replaced. Raises OSError.

    The caller must know that nobody uses what lies there.
    """
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # from the first moment on, not a chmod later
    try:
        with short(path) as place:
            opened.bind(place)
    except OSError:
        opened.close()
        raise
    finally:
        os.umask(mask)
    return opened
