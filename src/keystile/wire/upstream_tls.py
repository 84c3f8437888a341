"""TLS to an upstream's servers: the pool of one server's connections.

Law: connections out that were verified. Whatever keeps a handshake from being done comes out as one sentence for the
operator that names the server; no client is ever told. What is accepted is ``client_context.py``'s.

The write buffer's limit does not mean quite what it means on plain connections: what is encrypted lies below it,
at most one write and 64 KiB (uvloop's own limit) before ``paused`` tells.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final, cast

from keystile.wire.client_context import ATTEMPT, Attempt, ClientContext, TlsFailed
from keystile.wire.pool import Pool
from keystile.wire.tls import reason_of
from keystile.wire.upstream import UpstreamConnection

log = logging.getLogger("keystile.wire")

#: Seconds that a server has for its part of the closing; it owes us nothing more by then.
CLOSING_SECONDS: Final = 2.0
#: Seconds between two lines about the same server: it may fail at every request.
LOG_PAUSE: Final = 10.0

#: X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h).
_OTHER_NAME: Final = (62, 64)
#: What OpenSSL calls bytes that are no TLS record: an HTTP answer, most often.
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE")


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
        attempt = Attempt(self.server)
        mine = ATTEMPT.set(attempt)
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
            ATTEMPT.reset(mine)
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
            reason = reason_of(error) or str(error)
            if reason in _NOT_TLS:
                return f"it does not speak TLS on this port ({reason})."
            return f"no TLS with it: {reason.replace('_', ' ').lower()} ({reason})."
        if isinstance(error, OSError):
            return "it closed the connection during the TLS handshake."
        return f"no certificate can be for the name {self.server_name!r}: {error}."
