"""TLS handshakes as the gateway counts and tells them.

Law: counts and log lines; it decides nothing. Strangers must not fill the log: of each address at most a line a
minute, and of all together at most ``MOST_LINES``; everything is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from keystile.wire.tls_gate import Done, Reason, Refused

log = logging.getLogger("keystile.relay")

#: Seconds within which an address gets one line, and all together ``MOST_LINES``.
MINUTE: Final = 60.0
MOST_LINES: Final = 20

_WHY: Final = {
    Reason.VERSION: "it speaks no version that is accepted",
    Reason.CIPHER: "no cipher, group or signature in common",
    Reason.NO_CERTIFICATE: "it shows no client certificate",
    Reason.BAD_CERTIFICATE: "its client certificate is not accepted",
    Reason.NAME: "it asks for a name without a certificate",
    Reason.REJECTED: "it does not accept our certificate, or gave up",
    Reason.HTTP: "it speaks plain HTTP",
    Reason.GARBAGE: "it does not speak TLS",
    Reason.TOO_SLOW: "it did not end in time",
    Reason.OTHER: "the handshake failed",
}


class Handshakes:
    """Implements ``wire.tls_gate.Watcher``. ``now``: seconds, monotonic."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.done_ones = 0
        self.resumed = 0
        self.abandoned = 0
        self.refused_ones = dict.fromkeys(Reason, 0)
        self._told: set[str] = set()
        self._since = float("-inf")

    def started(self, peer: str) -> None:
        """How many have begun is the sum of how they end."""

    def done(self, handshake: Done) -> None:
        """One that ended well."""
        self.done_ones += 1
        self.resumed += handshake.resumed

    def refused(self, refusal: Refused) -> None:
        """One that was refused."""
        self.refused_ones[refusal.reason] += 1
        if self._may_tell(refusal.peer):
            log.warning("TLS handshake of %s refused: %s", refusal.peer or "somebody", _told(refusal))

    def gave_up(self) -> None:
        """One that did not end: its client left."""
        self.abandoned += 1

    def _may_tell(self, peer: str) -> bool:
        now = self._now()
        if now - self._since >= MINUTE:
            self._told.clear()
            self._since = now
        if peer in self._told or len(self._told) >= MOST_LINES:
            return False
        self._told.add(peer)
        return True


def _told(refusal: Refused) -> str:
    parts = [_WHY[refusal.reason]]
    if refusal.offered:
        parts.append(f"it offers {', '.join(map(str, sorted(refusal.offered)))}")
    if refusal.server_name:
        parts.append(f"it asks for {refusal.server_name[:100]!a}")
    if refusal.detail:
        parts.append(refusal.detail)
    return "; ".join(parts)
