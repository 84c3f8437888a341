"""What the gateway's processes say of themselves: one line each, on standard error.

Law: for people and journals, about processes; what happens to requests goes to the access log, never here.
"""

from __future__ import annotations

import logging
import sys
import time

from keystile.keys.secret import redact


class Redacting(logging.Formatter):
    """Formats what libraries log, tracebacks included, without the keys in it: a wrong request may hold one."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of ``record`` with every well-formed key redacted."""
        return redact(super().format(record))


def catch_library_logs() -> None:
    """Send what this process's libraries log, from warnings on, to standard error without keys."""
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def log(text: str) -> None:
    """Write one line with the time (UTC); line breaks within are shown as spaces."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        sys.stderr.write(f"{stamp} keystile: {' '.join(text.splitlines())}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # the journal is gone: nobody is left to tell
        return
