"""Texts of gateway.yaml that mean a number: durations, sizes, whole numbers, workers.

Law: each function takes one value as YAML gave it (text, whole number, true, false, nothing, list, mapping)
and returns it with its real type. It raises ValueError with a message that goes on after the shown value:
``is not a duration; write …``. It never repeats the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeGuard

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
LONGEST = 365 * 86400.0
MOST_WORKERS = 64
MOST_CONNECTIONS = 1_000_000

# Bounded digits, ASCII only: float() and int() accept far more than people mean (1_0, ٣, 4,300 digits).
# Both also stand in the JSON Schema, hence no named groups.
DURATION = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)"
SIZE = r"([0-9]{1,15})(B|KiB|MiB|GiB|TiB)"
_DURATION = re.compile(DURATION)
_SIZE = re.compile(SIZE)


def text(value: object) -> str:
    """The value, if it is text without control characters."""
    if isinstance(value, str):
        if not value:
            raise ValueError("is empty; write a value")
        if not value.isprintable():
            raise ValueError("holds a character that cannot be printed")
        return value
    if isinstance(value, bool | int):
        raise ValueError("is no text; write it in quotes")
    raise ValueError("is no text; write one text")


def flag(value: object) -> bool:
    """True or false and nothing that resembles it."""
    if isinstance(value, bool):
        return value
    raise ValueError("is neither true nor false; write true or false")


def duration(value: object, *, zero: bool = False, longest: float = LONGEST) -> float:
    """Seconds of a duration such as ``600s``; more than nothing unless ``zero``, at most ``longest`` (seconds)."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a duration; write a number with ms, s, m, h or d, such as 600s")
    # Milliseconds are divided, since 0.001 is not exact in binary and 250ms should be 0.25.
    number, unit = float(match[1]), match[2]
    seconds = number / 1000 if unit == "ms" else number * SECONDS[unit]
    if seconds > longest:
        raise ValueError(f"is too long; write at most {longest / SECONDS['d']:.0f}d")
    if not (seconds or zero):
        raise ValueError("is no time at all; write more, such as 1s")
    return seconds


def duration_or_zero(value: object) -> float:
    """As ``duration``, where ``0s`` has a meaning."""
    return duration(value, zero=True)


def hsts_age(value: object) -> float | None:
    """Whole seconds up to ten years (RFC 6797 section 6.1.1 counts in them); 0s withdraws it, null says nothing."""
    if value is None:
        return None
    seconds = duration(value, zero=True, longest=10 * LONGEST)
    if seconds != int(seconds):
        raise ValueError("is not a number of whole seconds; write such as 730d")
    return seconds


def whole_seconds(value: object) -> int:
    """Whole seconds, for a protocol that counts in them: a duration or a bare number, at most one day."""
    seconds = value if _is_number(value) else duration(value, zero=True)
    if not 0 <= seconds <= SECONDS["d"] or seconds != int(seconds):
        raise ValueError("is not a number of whole seconds up to one day; write such as 600s")
    return int(seconds)


def size(value: object) -> int:
    """Bytes of a size such as ``32KiB``; a bare number is bytes."""
    if _is_number(value):
        if value >= 0:
            return value
        raise ValueError("is less than nothing; write a size such as 32KiB")
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a size; write a whole number with B, KiB, MiB or GiB, such as 32KiB")
    return int(match[1]) * BYTES[match[2]]


def size_between(least: int, most: int, said: str) -> Callable[[object], int]:
    """A reader of sizes within bounds, told as ``said``, such as ``from 1KiB to 16MiB``."""

    def read(value: object) -> int:
        number = size(value)
        if not least <= number <= most:
            raise ValueError(f"is out of range; write a size {said}")
        return number

    return read


def text_or_none(value: object) -> str | None:
    """Text, or null."""
    return None if value is None else text(value)


def size_or_none(value: object) -> int | None:
    """Bytes, or None for the word ``none`` (and for YAML's null)."""
    if value is None or value == "none":
        return None
    try:
        number = size(value)
    except ValueError:
        raise ValueError("is not a size; write a whole number with B, KiB, MiB or GiB, or none") from None
    if not number:
        raise ValueError("would refuse every body; write none for no bound, or a size such as 25MiB")
    return number


def lag_or_none(value: object) -> float | None:
    """Seconds that a turn of a relay's loop may take, or None for the word ``none`` (and for YAML's null)."""
    if value is None or value == "none":
        return None
    try:
        seconds = duration(value)
    except ValueError:
        raise ValueError("is not a duration; write such as 50ms, or none") from None
    if not 0.005 <= seconds <= 10:
        raise ValueError("is out of range; write from 5ms to 10s, or none")
    return seconds


def memory_or_none(value: object) -> int | None:
    """Bytes that a relay may have in memory, or None for the word ``none`` (and for YAML's null)."""
    if value is None or value == "none":
        return None
    try:
        number = size(value)
    except ValueError:
        raise ValueError("is not a size; write a whole number with B, KiB, MiB or GiB, or none") from None
    if not 128 * BYTES["MiB"] <= number <= BYTES["TiB"]:
        # A relay that has just started has some 70 MiB, and more with every key.
        raise ValueError("is out of range; write from 128MiB to 1TiB, or none")
    return number


def rate_or_none(value: object) -> float | None:
    """Bytes a second of a rate such as ``512B/s``, or None for the word ``none`` (and for YAML's null)."""
    if value is None or value == "none":
        return None
    written = value.removesuffix("/s") if isinstance(value, str) and value.endswith("/s") else ""
    match = _SIZE.fullmatch(written)
    if match is None or not int(match[1]):
        raise ValueError("is not a rate; write a size for each second, such as 512B/s, or none")
    return float(int(match[1]) * BYTES[match[2]])


def share(value: object) -> float:
    """A share such as ``50%``, as a number from 0 to 1; more than nothing."""
    match = re.fullmatch(r"([0-9]{1,3})%", value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= 100:
        raise ValueError("is not a share; write a whole number with % from 1% to 100%, such as 50%")
    return int(match[1]) / 100


def share_or_none(value: object) -> float:
    """As ``share``, where ``0%`` has a meaning."""
    return 0.0 if value == "0%" else share(value)


def most_in_flight(value: object) -> int | None:
    """A number of requests, or None for the word ``none`` (and for YAML's null)."""
    if value is None or value == "none":
        return None
    if _is_number(value) and 1 <= value <= MOST_CONNECTIONS:
        return value
    raise ValueError(f"is not a number of requests; write none, or a whole number from 1 to {MOST_CONNECTIONS}")


def statuses(value: object) -> tuple[tuple[int, int], ...]:
    """Ranges of statuses from 100 to 599: ``200-399``, ``200-299, 304``, or one alone."""
    written = str(value) if _is_number(value) else value
    parts = written.split(",") if isinstance(written, str) else []
    found = [re.fullmatch(r" *([1-5][0-9]{2})(?:-([1-5][0-9]{2}))? *", part) for part in parts]
    ranges = tuple((int(one[1]), int(one[2] or one[1])) for one in found if one is not None)
    if not ranges or len(ranges) != len(parts) or any(first > last for first, last in ranges):
        raise ValueError("is no range of statuses; write such as 200-399, or 200-299, 304")
    return ranges


def connections(value: object) -> int | None:
    """A number of connections; ``auto`` is None: as many as there are descriptors for."""
    if value == "auto":
        return None
    if _is_number(value) and 1 <= value <= MOST_CONNECTIONS:
        return value
    raise ValueError(f"is not a number of connections; write auto, or a whole number from 1 to {MOST_CONNECTIONS}")


def whole(least: int, most: int) -> Callable[[object], int]:
    """A reader of whole numbers from ``least`` to ``most``."""

    def read(value: object) -> int:
        if _is_number(value) and least <= value <= most:
            return value
        raise ValueError(f"is not a whole number from {least} to {most}")

    return read


def workers(value: object) -> int:
    """A number of relay processes; ``auto`` is one for each core that this process may run on."""
    if value == "auto":
        return min(_cores(), MOST_WORKERS)
    if _is_number(value) and 1 <= value <= MOST_WORKERS:
        return value
    raise ValueError(f"is not a number of workers; write auto, or a whole number from 1 to {MOST_WORKERS}")


def _cores() -> int:
    # The affinity mask counts what a container or taskset left us; macOS has none.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
