"""What a browser calls itself, in words that its owner knows it by.

Law: a text in, a short text out; a guess for people, on which nothing hangs.
"""

from __future__ import annotations

import re

# In this order: most browsers also name those that they descend from.
_BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)[^ ]* (?:Mobile/\S+ )?Safari/"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iOS", "iPhone|iPad"),
    ("Windows", "Windows"),
    ("macOS", "Mac OS X"),
    ("Linux", "Linux"),
)
_SHORT = 60


def browser_of(agent: str) -> str:
    """Return ``Firefox 140 on Linux``; what is no known browser as it is, in short."""
    name = next((f"{name} {found[1]}" for name, text in _BROWSERS if (found := re.search(text, agent))), "")
    if not name:
        return agent[:_SHORT] or "Unknown"
    system = next((system for system, text in _SYSTEMS if re.search(text, agent)), "")
    return f"{name} on {system}" if system else name
