"""Keystile: an API-key gateway in front of a REST API.

Law: nothing but the version and what it was built as stands here, so that importing the package costs nothing.
"""

from typing import Literal

__version__ = "0.1.0"


def build() -> Literal["compiled", "source"]:
    """Whether this copy's hot modules are compiled (setup.py), without importing one.

    A process that has them in memory answers for those, whatever has been installed on disk since.
    """
    from importlib.util import find_spec  # here, so that importing the package stays free

    found = find_spec("keystile.limits.slots")
    return "source" if found is None or str(found.origin).endswith(".py") else "compiled"
