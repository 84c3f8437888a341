"""``python -m keystile``: the same as the ``keystile`` command.

Law: this file only hands over.
"""

from __future__ import annotations

import sys

from keystile.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
