"""What the gateway's processes say of themselves: one line each, on standard error.

Law: for people and journals, about processes; what happens to requests goes to the access log, never here.
"""

from __future__ import annotations

import sys
import time


def log(text: str) -> None:
    """Write one line with the time (UTC); line breaks within are shown as spaces."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        sys.stderr.write(f"{stamp} keystile: {' '.join(text.splitlines())}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # the journal is gone: nobody is left to tell
        return
