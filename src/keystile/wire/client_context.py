"""TLS to an upstream's servers: what is accepted, and the sessions that they have given.

Law: policy. A session is offered only to the server that gave it, and goes with its context: resumption asks for no
certificate (RFC 8446 §2.2), so what was trusted before must not outlive the trust.

A file of its own, since mypyc compiles no class that is an ``SSLContext`` or a ``ConnectionError``.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

#: Servers of one upstream whose sessions are kept.
MOST_SESSIONS: Final = 256

_FLOORS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsFailed(ConnectionError):
    """No TLS with a server: says which and why, in words for the operator."""


@dataclass(slots=True)
class Attempt:
    """One attempt at a connection. ``reached``: the server was connected to, the handshake has begun."""

    server: tuple[str, str, int]
    reached: bool = False


#: Set in the task that connects: ``wrap_bio`` is told of no server. (uvloop takes no subclass of str for the name.)
ATTEMPT: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


class ClientContext(ssl.SSLContext):
    """A context that offers each server the last session which that server gave."""

    def __init__(self, _protocol: int) -> None:
        self._sessions: OrderedDict[tuple[str, str, int], ssl.SSLSession] = OrderedDict()

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As its parent; the event loop calls it once the server is connected to."""
        attempt = ATTEMPT.get()
        if attempt is not None:
            attempt.reached = True
            session = self._sessions.get(attempt.server)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, server: tuple[str, str, int], made: ssl.SSLObject) -> None:
        """Keep the session of ``made``. In TLS 1.3 there is none before the first answer was read (RFC 8446 §4.6.1)."""
        session = made.session
        if session is None or not (session.has_ticket or (made.version() == "TLSv1.2" and session.id)):
            return
        sessions = self._sessions
        sessions[server] = session
        sessions.move_to_end(server)
        if len(sessions) > MOST_SESSIONS:
            sessions.popitem(last=False)

    def forget(self, server: tuple[str, str, int]) -> None:
        """Offer this server no session: the last handshake failed."""
        self._sessions.pop(server, None)


def client_context(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    private_key: Path | None = None,
    minimum_version: Literal["1.2", "1.3"] = "1.2",
    verify: bool = True,
) -> ClientContext:
    """A context for the servers of one upstream. Reads files, and takes some 30 ms: make it once.

    ``ca``: certificates (PEM) that are trusted instead of the system's; ``certificate``, ``private_key``: ours, for
    servers that ask for one (``private_key`` None: it is in the same file); ``verify`` False: whoever answers is
    believed. Ciphers follow Mozilla's "intermediate" profile. Raises ``OSError`` (``ssl.SSLError`` among them)
    where a file cannot be read, needs a passphrase or does not match.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _FLOORS[minimum_version]
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        context.load_verify_locations(ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        context.load_cert_chain(certificate, private_key, password="")  # else OpenSSL would ask at the terminal
    return context
