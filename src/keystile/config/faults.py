"""What is wrong with a configuration: faults, how they are told, and what of a value may be shown.

Law: this file knows how a fault is worded for people, and no rule that finds one. Nothing that looks
like a secret leaves it: a ``Fault`` holds its value as it may be shown, never as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LONGEST_SHOWN = 80
MOST_TOLD = 1000
HIDDEN = "[hidden]"

# Hexadecimal digests and keys, and any long run that mixes letters and digits as tokens do. Dashes, slashes
# and underscores end a run, or every long path and host name would be hidden.
_SECRET_RUN = re.compile(
    r"[0-9A-Fa-f]{32,}|(?=[A-Za-z+=]*[0-9])(?=[0-9+=]*[A-Za-z])[A-Za-z0-9+=]{24,}|(?s:-----BEGIN.*)"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*(?=@)")
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|authorization", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with what looks like a key, a token, a PEM block or a URL's credentials taken out."""
    return _CREDENTIALS.sub(HIDDEN, _SECRET_RUN.sub(HIDDEN, text))


def shown_name(name: str) -> str:
    """A setting's name for people: no secrets, no control characters, not endless."""
    safe = without_secrets(name)
    safe = safe if safe.isprintable() else repr(safe)
    return safe if len(safe) <= LONGEST_SHOWN else safe[: LONGEST_SHOWN - 1] + "…"


def shown_value(value: object, name: str = "") -> str:
    """A value for people, as YAML calls it; ``name`` is the setting's, since some names promise a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, str) and "\n" in value.strip():
        return "a text of several lines"  # most often a PEM block where its path belongs
    text = without_secrets(str(value))
    text = text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
    return repr(text) if isinstance(value, str) else text


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    ``file``: as the operator wrote it. ``line``: from 1, None where there is none. ``path``: of the setting,
    such as ``listeners[0].address``; empty for the whole file. ``value``: as it may be shown, None where the
    message needs none. ``message``: what is wrong and what would be right; it goes on after the value.
    """

    file: str
    line: int | None
    path: str
    value: str | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        said = self.message if self.value is None else f"{self.value} {self.message}"
        return f"{place}: {self.path}: {said}" if self.path else f"{place}: {said}"


class ConfigurationError(Exception):
    """A configuration cannot be used; ``faults`` are all that was found, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: list[Fault] = list(faults)
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[list[Fault]]]:
        return (type(self), (self.faults,))


def in_order(faults: Sequence[Fault], first_file: str) -> list[Fault]:
    """Each fault once: those of the first file by line, then those of every other file by line."""
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: _place(fault, first_file))
    if len(ordered) > MOST_TOLD:
        more = Fault(first_file, None, "", None, f"{len(ordered) - MOST_TOLD} more faults are not shown")
        ordered[MOST_TOLD:] = [more]
    return ordered


def _place(fault: Fault, first_file: str) -> tuple[bool, str, int]:
    return (fault.file != first_file, fault.file, fault.line or 0)
