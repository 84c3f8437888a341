"""Which attributes a class has: those of its slots, also where it is compiled and has no ``__slots__`` to be read."""

from __future__ import annotations


def attributes(of: type) -> list[str]:
    """Their names, in order; methods are none."""
    return [name for name in dir(of) if not name.startswith("__") and not callable(getattr(of, name))]
