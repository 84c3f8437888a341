"""Permissions as they bind everybody but root, for tests that root runs.

Law: access(2) asks for the *real* user, so it is enough to be nobody by that; what the test itself does, it still may.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NOBODY: Final = 65534


@contextmanager
def folder_of_a_user() -> Iterator[Path]:
    """A folder that belongs to who ``unprivileged`` is, on a way that they may go (pytest's own is shut to others)."""
    made = Path(tempfile.mkdtemp(prefix="keystile-"))
    try:
        if os.geteuid() == 0:
            os.chown(made, NOBODY, NOBODY)
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for access(2), if we are root."""
    if os.geteuid():
        yield
        return
    os.setresuid(NOBODY, -1, -1)
    try:
        yield
    finally:
        os.setresuid(0, -1, -1)
