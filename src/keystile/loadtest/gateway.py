"""The gateway of a demonstration run, in a process that ends when its standard input does.

Law: ``keystile serve`` and nothing more, but that it cannot outlive whoever started it.

``python -m keystile.loadtest.gateway FILE``
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from keystile import app
from keystile.process import supervisor


def main(file: Path) -> int:
    """Serve until standard input ends; the supervisor's exit code."""
    settings = app.load_settings(file)
    threading.Thread(target=_end_with_input, daemon=True).start()
    return supervisor.serve(settings, announce=sys.stdout)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
