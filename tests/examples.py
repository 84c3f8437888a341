"""How many examples a property is tried with.

Law: a number. Every run of the tests draws other examples, so the default suits a run of all tests; ``THOROUGH=1`` in
the environment tries three times as many.
"""

from __future__ import annotations

import os

_THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(thorough: int) -> int:
    """For ``max_examples``: so many in a thorough run."""
    return thorough if _THOROUGH else thorough // 3
