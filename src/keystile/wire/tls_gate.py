"""One ``SSLContext`` per listener that reads the ClientHello before it chooses the real one.

Law: decides by name, version and the wall clock, at the moment of the hello; tells its watcher, and closes nothing
itself. ``sni_callback`` could not do this: a context swapped in there keeps the floor and the client-certificate
demands of the first, and it does not know the version.

Both event loops only ever call ``wrap_bio``. What it returns holds the first bytes until the hello is whole, then
writes them back and lets the chosen context handshake. A refusal raises ``SSLWantReadError`` once: both loops drop
the alert of a failed handshake, but flush on that. They ask again when the client answers or leaves, and get the
error then.

Each context has ticket keys of its own, so a session is worth nothing under another name, floor or client policy:
the hello is judged before it is resumed, and ``replace`` ends all sessions.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final, NoReturn, Protocol, Self, cast

from keystile.wire.client_hello import BadHello, ClientHello, Instead, read_client_hello
from keystile.wire.tls_policy import Policy, Version, floor

_READABLE: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b"
)
_PROBLEM: Final = (
    b'{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "This port speaks HTTPS, not HTTP."}\n'
)
_PLAIN_HTTP: Final = _READABLE % (len(_PROBLEM), _PROBLEM)

# Alerts of RFC 8446 section 6.2 and RFC 6066 section 3.
_DECODE_ERROR, _PROTOCOL_VERSION, _UNRECOGNIZED_NAME = 50, 70, 112


class Reason(Enum):
    """Why a handshake was refused: one closed list."""

    VERSION = auto()  # it offers none at or above the floor
    CIPHER = auto()  # no cipher, group or signature in common
    NO_CERTIFICATE = auto()  # a client certificate is required and none came
    BAD_CERTIFICATE = auto()  # the client's certificate is not of our authorities, or out of date
    NAME = auto()  # it asks for a name that we have no certificate for
    REJECTED = auto()  # the client sent an alert: it does not want our certificate, mostly
    HTTP = auto()  # plain HTTP on a TLS port
    GARBAGE = auto()
    TOO_SLOW = auto()  # its handshake did not end in time
    OTHER = auto()


_REASONS: Final = {
    "UNSUPPORTED_PROTOCOL": Reason.VERSION,
    "INAPPROPRIATE_FALLBACK": Reason.VERSION,
    "VERSION_TOO_LOW": Reason.VERSION,
    "NO_SHARED_CIPHER": Reason.CIPHER,
    "NO_SHARED_GROUP": Reason.CIPHER,
    "NO_SUITABLE_KEY_SHARE": Reason.CIPHER,
    "NO_SUITABLE_GROUPS": Reason.CIPHER,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": Reason.CIPHER,
    "NO_SHARED_SIGNATURE_ALGORITHMS": Reason.CIPHER,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.NO_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": Reason.BAD_CERTIFICATE,
}


@dataclass(slots=True)
class Attempt:
    """One handshake as its owner sees it: who (any text, for the log) and whether the gate has seen its end.

    Where ``ended`` is still False when its connection is gone, the client left.
    """

    peer: str = ""
    ended: bool = False


#: The owner sets this in the task that gives a socket to the loop: ``wrap_bio`` is told of no address.
ATTEMPT: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


@dataclass(frozen=True, slots=True)
class Done:
    """A handshake that ended well."""

    version: Version
    resumed: bool
    server_name: str | None
    peer: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A handshake that was refused. ``offered``: the versions of the hello, empty where there was none; ``detail``:
    OpenSSL's word for it, or empty. ``server_name`` comes from the client: escape it where it is shown."""

    reason: Reason
    offered: tuple[Version, ...]
    server_name: str | None
    detail: str
    peer: str


class Watcher(Protocol):
    """Who counts and logs. Called on the loop; must not raise."""

    def started(self, peer: str) -> None:
        """A connection begins with TLS."""

    def done(self, handshake: Done) -> None:
        """A handshake has ended well."""

    def refused(self, refusal: Refused) -> None:
        """A handshake was refused, and its client is being told."""


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """Contexts for some names: exact ones and ``*.example.org`` (one label), in any case.

    ``legacy``: for versions below the policy's minimum; None where there are none.
    """

    names: tuple[str, ...]
    modern: ssl.SSLContext
    legacy: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Certificates:
    """All sets of a listener, looked up by name. ``default``: for no name and unknown ones; None refuses these."""

    by_name: Mapping[str, CertificateSet]
    default: CertificateSet | None

    @classmethod
    def of(cls, sets: Sequence[CertificateSet], *, default: bool = True) -> Self:
        """The first set that has a name has it; with ``default`` the first set is for all others."""
        by_name: dict[str, CertificateSet] = {}
        for each in sets:
            for name in each.names:
                by_name.setdefault(name.lower(), each)
        return cls(MappingProxyType(by_name), sets[0] if default and sets else None)

    def find(self, name: str | None) -> CertificateSet | None:
        """Exact, then by wildcard for the first label (RFC 9525 section 6.3), then the default."""
        if name is None:
            return self.default
        name = name.removesuffix(".")
        _, _, parent = name.partition(".")
        return self.by_name.get(name) or self.by_name.get(f"*.{parent}") or self.default


@dataclass(frozen=True, slots=True)
class _Terms:
    """What is in force, in one object, so that no handshake sees half of a change."""

    policy: Policy
    certificates: Certificates


class Gate(ssl.SSLContext):
    """Given to the loop as ``ssl=``. ``now``: the wall clock, Unix seconds.

    ``wrap_bio`` is all that counts; whatever else is set on this context has no effect.
    """

    def __new__(
        cls, policy: Policy, certificates: Certificates, watcher: Watcher, now: Callable[[], float] = time.time
    ) -> Self:
        """``ssl`` makes contexts in ``__new__`` and knows none of these."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(
        self, policy: Policy, certificates: Certificates, watcher: Watcher, now: Callable[[], float] = time.time
    ) -> None:
        self.terms = _Terms(policy, certificates)
        self.watcher = watcher
        self.now = now

    def replace(self, certificates: Certificates, policy: Policy | None = None) -> None:
        """From the next hello on; open connections and handshakes that have chosen keep what they have."""
        self.terms = _Terms(policy or self.terms.policy, certificates)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What the loop drives as an ``SSLObject``. Raises ``ValueError`` on the client's side."""
        if not server_side:
            raise ValueError("a gate is for servers")
        return cast(ssl.SSLObject, GateObject(self, incoming, outgoing))


class _Refusal(Exception):
    """A hello that gets ``answer`` (bytes, as they are) instead of a handshake."""

    def __init__(self, reason: Reason, answer: bytes) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.answer = answer


def _alert(description: int, version: Version | None = None) -> bytes:
    """A fatal alert in clear, under a version that an old client reads too."""
    spoken = min(max(version or Version.TLS_1_0, Version.TLS_1_0), Version.TLS_1_2)
    return bytes((21, spoken >> 8, spoken & 0xFF, 0, 2, 2, description))


def choose(terms: _Terms, hello: ClientHello, now: float) -> tuple[ssl.SSLContext, Version]:
    """The context for a hello, and the floor that must hold when its handshake has ended. Raises ``_Refusal``."""
    lowest = floor(terms.policy, now)
    highest = hello.highest
    if highest is None or highest < lowest:
        raise _Refusal(Reason.VERSION, _alert(_PROTOCOL_VERSION, highest))
    found = terms.certificates.find(hello.server_name)
    if found is None:
        raise _Refusal(Reason.NAME, _alert(_UNRECOGNIZED_NAME, highest))
    if not terms.policy.is_legacy(highest):
        return found.modern, terms.policy.minimum_version
    if found.legacy is None:
        raise _Refusal(Reason.VERSION, _alert(_PROTOCOL_VERSION, highest))
    return found.legacy, lowest


class GateObject:
    """Stands for an ``SSLObject`` until the hello has come, and hands over to the real one from then on."""

    def __init__(self, gate: Gate, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._gate = gate
        self._incoming = incoming
        self._outgoing = outgoing
        self._held = b""
        self._real: ssl.SSLObject | None = None
        self._lowest = Version.TLS_1_3
        self._hello: ClientHello | None = None
        self._failed: Exception | None = None
        self._attempt = ATTEMPT.get() or Attempt()
        gate.watcher.started(self._attempt.peer)

    @property
    def refused(self) -> bool:
        """Whether the handshake has failed, and what tells the client so has been written."""
        return self._failed is not None

    @property
    def chosen(self) -> ssl.SSLObject:
        """The real object. Raises ``SSLWantReadError`` before the hello has come."""
        return self._chosen()

    # -- the handshake ----------------------------------------------------------------------------

    def do_handshake(self) -> None:
        """As of ``SSLObject``; a refusal is raised at the second call, after the first has let its alert out."""
        if self._failed is not None:
            raise self._failed
        real = self._real or self._choose()
        try:
            real.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._refuse(_reason(error), error.reason or "", error)
        self._finish(real)

    def _choose(self) -> ssl.SSLObject:
        self._held += self._incoming.read()
        try:
            self._hello = read_client_hello(self._held)
            if self._hello is None:
                self._wait()
            context, self._lowest = choose(self._gate.terms, self._hello, self._gate.now())
        except BadHello as error:
            http = error.kind is Instead.HTTP
            self._outgoing.write(_PLAIN_HTTP if http else _alert(_DECODE_ERROR))
            self._refuse(Reason.HTTP if http else Reason.GARBAGE)
        except _Refusal as refusal:
            self._outgoing.write(refusal.answer)
            self._refuse(refusal.reason)
        self._incoming.write(self._held)
        self._held = b""
        self._real = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        return self._real

    def _wait(self) -> NoReturn:
        if self._incoming.eof:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the client left before its hello was whole")
        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the hello is not whole yet")

    def _refuse(self, reason: Reason, detail: str = "", error: ssl.SSLError | None = None) -> NoReturn:
        self._fail(reason, detail, error)
        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the refusal leaves first") from error

    def too_slow(self) -> None:
        """The handshake's time is over. There is no alert for that: whoever drives it cuts the connection."""
        if self._failed is None:
            self._fail(Reason.TOO_SLOW, "", None)

    def _fail(self, reason: Reason, detail: str, error: ssl.SSLError | None) -> None:
        hello = self._hello
        self._held = b""
        self._failed = error or ssl.SSLError(ssl.SSL_ERROR_SSL, f"refused: {reason.name.lower()}")
        self._attempt.ended = True
        offered, name = ((), None) if hello is None else (hello.offered, hello.server_name)
        self._gate.watcher.refused(Refused(reason, offered, name, detail, self._attempt.peer))

    def _finish(self, real: ssl.SSLObject) -> None:
        version = Version.of(real.version() or "")
        if version < self._lowest:
            # OpenSSL read the hello otherwise than we did; nothing known does this.
            self._refuse(Reason.VERSION, "agreed below the floor")
        self._attempt.ended = True
        name = None if self._hello is None else self._hello.server_name
        self._gate.watcher.done(Done(version, bool(real.session_reused), name, self._attempt.peer))

    # -- afterwards: whatever else an SSLObject does ----------------------------------------------

    def read(self, *arguments: Any) -> Any:
        """As of ``SSLObject``. uvloop takes this method once, before the handshake."""
        return self._chosen().read(*arguments)

    def write(self, data: Any) -> int:
        """As of ``SSLObject``."""
        return self._chosen().write(data)

    def pending(self) -> int:
        """As of ``SSLObject``. uvloop takes this method, too, before the handshake."""
        return 0 if self._real is None else self._real.pending()

    def unwrap(self) -> None:
        """As of ``SSLObject``; nothing where no handshake has begun."""
        if self._real is not None and self._failed is None:
            self._real.unwrap()

    def version(self) -> str | None:
        """``TLSv1.3``; None before the handshake, as of ``SSLObject``."""
        return None if self._real is None else self._real.version()

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for, in lower case."""
        return None if self._hello is None else self._hello.server_name

    @property
    def context(self) -> ssl.SSLContext:
        """The real context once it is chosen, the gate before."""
        return self._gate if self._real is None else self._real.context

    def _chosen(self) -> ssl.SSLObject:
        if self._real is None:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the hello has not come yet")
        return self._real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # Nothing may raise SSLWantReadError out of a mere look at an attribute.
        if self._real is None:
            raise AttributeError(name)
        return getattr(self._real, name)


def _reason(error: ssl.SSLError) -> Reason:
    said = error.reason or ""
    if "ALERT" in said:  # TLSV1_ALERT_UNKNOWN_CA and its like come from the client
        return Reason.REJECTED
    return _REASONS.get(said, Reason.OTHER)
