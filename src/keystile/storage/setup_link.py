"""The file that holds the link by which the first operator is made, where no terminal can show it.

Law: one file beside the store, for its owner alone, made new each time: it is never written through a file or a
symbolic link that somebody has put there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from keystile.storage.errors import told


def setup_file_of(store: Path) -> Path:
    """Return its path: keystile-setup-link.txt for keystile.db."""
    return store.with_name(f"{store.stem}-setup-link.txt")


def write(store: Path, link: str) -> Path:
    """Write the link; return the file's path. Raises StoreUnreadable."""
    path = setup_file_of(store)
    remove(store)
    with told(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{link}\n")
    return path


def kept(store: Path) -> str:
    """Return the link in the file; empty where there is none. Raises StoreUnreadable."""
    path = setup_file_of(store)
    with told(path):
        return path.read_text("utf-8", errors="replace").strip() if path.is_file() else ""


def remove(store: Path) -> None:
    """Remove the file, if it is there. Raises StoreUnreadable."""
    path = setup_file_of(store)
    with told(path):
        path.unlink(missing_ok=True)


def hand_over(store: Path, link: str, stream: TextIO) -> str:
    """Show the link on a terminal, or keep it in the file; return the sentence that a log may hold."""
    if stream.isatty():
        remove(store)
        stream.write(f"\nNo operator has an account yet. Make one within an hour, with this link:\n\n    {link}\n\n")
        stream.flush()
        return "a link for making the first operator's account is on the terminal; it is good for an hour"
    path = write(store, link)
    return f"no operator has an account yet: a link for making one is in {path}; it is good for an hour"
