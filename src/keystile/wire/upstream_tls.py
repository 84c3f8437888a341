"""TLS to an upstream's servers: the context of an upstream, its sessions, and the pool of one server's connections.

Law: policy in, connections out that were verified. Whatever keeps a handshake from being done comes out as
one sentence for the operator that names the server; no client is ever told. A session is offered only to the
server that gave it, and goes with its context: resumption asks for no certificate (RFC 8446 §2.2), so what was
trusted before must not outlive the trust.

The write buffer's limit does not mean quite what it means on plain connections: what is encrypted lies below it,
at most one write and 64 KiB (uvloop's own limit) before ``paused`` tells.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from keystile.wire.pool import Pool
from keystile.wire.upstream import UpstreamConnection

log = logging.getLogger("keystile.wire")

#: Servers of one upstream whose sessions are kept.
MOST_SESSIONS: Final = 256
#: Seconds that a server has for its part of the closing; it owes us nothing more by then.
CLOSING_SECONDS: Final = 2.0
#: Seconds between two lines about the same server: it may fail at every request.
LOG_PAUSE: Final = 10.0

_FLOORS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
#: X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h).
_OTHER_NAME: Final = (62, 64)
#: What OpenSSL calls bytes that are no TLS record: an HTTP answer, most often.
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE")


class TlsFailed(ConnectionError):
    """No TLS with a server: says which and why, in words for the operator."""


@dataclass(slots=True)
class _Attempt:
    """One attempt at a connection. ``reached``: the server was connected to, the handshake has begun."""

    server: tuple[str, str, int]
    reached: bool = False


#: Set in the task that connects: ``wrap_bio`` is told of no server. (uvloop takes no subclass of str for the name.)
_ATTEMPT: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)


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
        attempt = _ATTEMPT.get()
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


class TlsConnection(UpstreamConnection):
    """A connection whose handshake has been done, and the server verified."""

    __slots__ = ("_made", "_tls_pool")

    def __init__(self, pool: TlsPool) -> None:
        super().__init__(pool)
        self._tls_pool = pool
        self._made = cast(ssl.SSLObject, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        super().connection_made(transport)
        self._made = transport.get_extra_info("ssl_object")
        # uvloop's TLS pauses at "size >= high", its TCP at "size > high": both mean "a byte is left" this way.
        self.transport.set_write_buffer_limits(high=1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by whichever side. An alert that comes after the handshake is the server's refusal of us."""
        if isinstance(exc, ssl.SSLError):
            self._tls_pool.failed(exc)
        super().connection_lost(exc)

    def release(self, clean: bool) -> None:
        """As its parent. The first answer has come with what the next connection can resume."""
        if clean and not self.reused:
            self._tls_pool.context.remember(self._tls_pool.server, self._made)
        super().release(clean)


class TlsPool(Pool):
    """The connections to one https server. ``server_name``: what its certificate must be for, None for ``host``.

    ``connect_timeout`` holds for both together, connecting and the handshake.
    """

    def __init__(
        self,
        host: str,
        port: int,
        connect_timeout: float,
        context: ClientContext,
        server_name: str | None = None,
        resolve_every: float = 30.0,
        *,
        counts: bool = False,
    ) -> None:
        super().__init__(host, port, connect_timeout, resolve_every, counts=counts)
        self.context = context
        self.server_name = server_name or host
        self.server = (self.server_name, host, port)
        self._silent_until = float("-inf")

    async def _open(self, address: str, within: float) -> UpstreamConnection:
        """A new connection. Raises ``TlsFailed``, ``TimeoutError`` or another ``OSError``."""
        attempt = _Attempt(self.server)
        mine = _ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout(within):
                _, connection = await self._loop.create_connection(
                    lambda: TlsConnection(self),
                    address,
                    self.port,
                    ssl=self.context,
                    server_hostname=self.server_name,
                    ssl_handshake_timeout=self.connect_timeout,
                    ssl_shutdown_timeout=CLOSING_SECONDS,
                )
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can be for
            if not attempt.reached and isinstance(error, OSError):
                raise
            said = self.failed(error)
            if isinstance(error, TimeoutError):
                raise TimeoutError(said) from error
            raise TlsFailed(said) from error
        finally:
            _ATTEMPT.reset(mine)
        return connection

    def failed(self, error: Exception) -> str:
        """What the operator should know of ``error``: returned, and logged unless that was done just now."""
        self.context.forget(self.server)
        said = f"The upstream server {self.host}:{self.port}: {self._why(error)}"
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + LOG_PAUSE
            log.warning("%s", said)
        return said

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"the TLS handshake was not finished within {self.connect_timeout:g} s."
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _OTHER_NAME:
                return f"its certificate is not for {self.server_name} ({error.verify_message})"
            return f"its certificate cannot be trusted: {error.verify_message}."
        if isinstance(error, ssl.SSLError):
            reason = error.reason or str(error)
            if reason in _NOT_TLS:
                return f"it does not speak TLS on this port ({reason})."
            return f"no TLS with it: {reason.replace('_', ' ').lower()} ({reason})."
        if isinstance(error, OSError):
            return "it closed the connection during the TLS handshake."
        return f"no certificate can be for the name {self.server_name!r}: {error}."
