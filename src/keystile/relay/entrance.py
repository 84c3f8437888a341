"""A listener as its connections see it: what every answer says besides, and what is asked of requests besides.

Law: what hangs on the way in (plain or TLS, which version, by the wall clock). Who calls and what they may is
``admit.py``'s. Most listeners ask nothing besides, and their requests never come by here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keystile.config.model import Listener
from keystile.relay.forward import VIA_ANSWER
from keystile.wire.peer import Peer
from keystile.wire.tls_gate import Certificates, Gate, Watcher
from keystile.wire.tls_policy import Policy, Version, announcement, floor
from keystile.wire.tls_transport import Securing


@dataclass(frozen=True, slots=True)
class Terms:
    """What a TLS policy of the settings comes to: its versions by the clock, and its contexts by name."""

    policy: Policy
    certificates: Certificates


class Entrance:
    """``terms``: those of a listener with TLS; ``now``: the wall clock, Unix seconds."""

    def __init__(
        self, listener: Listener, terms: Terms | None, watcher: Watcher, now: Callable[[], float]
    ) -> None:
        self.listener = listener
        self.address = (f"[{listener.host}]" if ":" in listener.host else listener.host).encode("ascii")
        self.address += b":%d" % listener.port
        self.now = now
        self.gate = None if terms is None else Gate(terms.policy, terms.certificates, watcher, now)
        self.policy = None if terms is None else terms.policy
        self.redirect = None if listener.redirect is None else listener.redirect.encode("ascii")
        self.refuses_keys = listener.plain_http == "refuse_keys"
        self.says_hsts = listener.tls is not None and listener.tls.hsts is not None
        self.asks = self.redirect is not None or self.refuses_keys

    def replace(self, terms: Terms | None) -> None:
        """Go by other certificates from the next handshake on; connections stay."""
        if self.gate is not None and terms is not None:
            self.gate.replace(terms.certificates, terms.policy)
            self.policy = terms.policy

    def securing(self, handshake_timeout: float) -> Securing | None:
        """What its connections begin with; None for a plain one."""
        return None if self.gate is None else Securing(self.gate, handshake_timeout)

    def is_old(self, peer: Peer) -> bool:
        """Whether a connection came with a version that is accepted for a time only."""
        policy = self.policy
        return policy is not None and peer.tls is not None and policy.is_legacy(Version.of(peer.tls))

    def is_over(self, peer: Peer) -> bool:
        """Whether a connection's version is not accepted now: its day has come, or a rehearsal runs."""
        policy = self.policy
        return policy is not None and peer.tls is not None and Version.of(peer.tls) < floor(policy, self.now())

    def own_lines(self, peer: Peer) -> bytes:
        """Field lines of every answer on a connection: HSTS (RFC 6797), Deprecation (RFC 9745), Sunset (RFC 8594)."""
        tls = self.listener.tls
        if tls is None or self.policy is None:
            return b""
        lines = b"" if tls.hsts is None else b"Strict-Transport-Security: max-age=%d\r\n" % tls.hsts
        said = announcement(self.policy, self.now()) if self.is_old(peer) else None
        if said is not None:
            lines += f"Deprecation: {said.deprecation}\r\nSunset: {said.sunset}\r\n".encode("ascii")
        return lines

    def answer_lines(self, peer: Peer) -> bytes:
        """The same with what answers of the API carry besides."""
        return VIA_ANSWER + self.own_lines(peer)

