"""``python -m keystile.process.resume FD``: the supervisor, going on with the state of its predecessor in this process.

Law: it reads the state and hands over; nobody but ``upgrade.py`` executes it.
"""

from __future__ import annotations

import os
import sys

from keystile.process import handover
from keystile.process.supervisor import resume


def main() -> int:
    """Go on until told to stop; the exit code is the supervisor's."""
    fd = int(sys.argv[1])
    state = handover.read(fd)
    os.close(fd)
    return resume(state)


if __name__ == "__main__":
    sys.exit(main())
