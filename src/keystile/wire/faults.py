"""What can be wrong with bytes: one closed list.

Law: a fault says what was wrong with the message and nothing of statuses or
texts of answers; ``relay/refusal.py`` is the only place that turns one into a
refusal.
"""

from __future__ import annotations

from enum import Enum, auto


class Fault(Enum):
    """Why a request head or body, or an answer, cannot be read."""

    MALFORMED = auto()
    BAD_FRAMING = auto()
    UNKNOWN_CODING = auto()
    UNKNOWN_METHOD = auto()
    BAD_VERSION = auto()
    BAD_HOST = auto()
    BAD_TARGET = auto()
    TARGET_TOO_LONG = auto()
    HEAD_TOO_LARGE = auto()
    HEAD_TOO_SLOW = auto()
    BODY_TOO_LARGE = auto()
    UNKNOWN_EXPECTATION = auto()


class WireError(Exception):
    """Bytes that cannot be read by the rules.

    ``fault``: which rule; ``detail``: one sentence that is safe to show to whoever sent them (it never
    repeats what was sent, which may hold a key).
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
