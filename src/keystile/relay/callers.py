"""Who is calling: from a socket, a PROXY protocol header or a trusted proxy's fields to a peer.

Law: whom the settings let speak for others; it reads no bytes (``wire/peer.py``, ``wire/forwarded.py`` do) and
makes no decision about requests.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

from keystile.config.model import Settings
from keystile.keys.networks import number_of
from keystile.limits.crowd import EXEMPT
from keystile.limits.slots import SlotTable, name_of_ipv4
from keystile.wire.forwarded import told_by
from keystile.wire.peer import Address, Peer, Trusted, client_behind, lines_of, packed_ipv4, parse_address
from keystile.wire.proxy_protocol import ProxyHeader
from keystile.wire.request_fields import RequestFields
from keystile.wire.tls import peer_subject

_number_of_ipv4: Final = struct.Struct(">I").unpack  # as ``number_of``, from its four bytes


class Callers:
    """``slots``: gives addresses the names under which they are counted."""

    def __init__(self, settings: Settings, slots: SlotTable) -> None:
        self._trusted = Trusted(settings.trusted_proxies)
        self._prefix_length = settings.limits.ipv6_prefix_length
        self._slots = slots

    def at(self, transport: asyncio.Transport, announced: ProxyHeader | None) -> Peer:
        """Who is at the other end of the socket, or for whom the proxy there has opened the connection.

        A proxy that speaks no HTTP and names nobody (UNKNOWN, LOCAL) passes on what its client wrote: so the
        fields in it are believed no more than a client's.
        """
        name = transport.get_extra_info("peername")
        ip = parse_address(name[0] if name else "0.0.0.0")
        secured = transport.get_extra_info("ssl_object")
        tls = secured.version() if secured is not None else None
        subject = peer_subject(secured.getpeercert()) if secured is not None else None
        if announced is None:
            return self._peer(ip, tls, subject=subject)
        if announced.source is None:
            return self._peer(ip, tls, subject=subject, may_be_trusted=False)
        return self._peer(announced.source, tls, subject=subject, socket=str(ip))

    def behind(self, proxy: Peer, fields: RequestFields) -> Peer:
        """The caller for whom a trusted proxy speaks."""
        assert proxy.ip is not None
        if not fields.forwarded:
            told_plainly = self._told_plainly(proxy, fields.forwarded_for)
            if told_plainly is not None:
                return told_plainly
            ip = client_behind(proxy.ip, fields.forwarded_for, self._trusted)
            return self._peer(ip, proxy.tls, socket=proxy.socket)
        told = told_by(proxy.ip, fields.forwarded, self._trusted)
        # Upstreams are told in X-Forwarded-*, whichever way we were.
        if told.address != proxy.ip:
            fields.forwarded_for = (str(told.address).encode("ascii"),)
        fields.forwarded_proto, fields.forwarded_host = told.proto, told.host
        return self._peer(told.address, proxy.tls, socket=proxy.socket)

    def _told_plainly(self, proxy: Peer, forwarded_for: tuple[bytes, ...]) -> Peer | None:
        """The same caller, where the last hop is an IPv4 address alone and no proxy of ours, as it mostly is.

        For each request behind a proxy: a third of what the rule takes that knows every case.
        """
        if not forwarded_for:
            return None
        try:
            text = forwarded_for[-1].rpartition(b",")[2].strip(b" \t").decode("ascii")
        except UnicodeDecodeError:
            return None
        packed = packed_ipv4(text)
        if packed is None:
            return None
        number: int = _number_of_ipv4(packed)[0]
        if self._trusted.holds_ipv4(number):
            return None
        return Peer(text, tls=proxy.tls, slot=name_of_ipv4(packed), number=number, socket=proxy.socket)

    def crowd_name(self, ip: Address) -> bytes:
        """By which name connections from ``ip`` are counted; trusted proxies are not."""
        return EXEMPT if self._trusted.holds(ip) else self._slot_name(ip)

    def _peer(
        self,
        ip: Address,
        tls: str | None,
        *,
        subject: str | None = None,
        socket: str = "",
        may_be_trusted: bool = True,
    ) -> Peer:
        text = str(ip)
        return Peer(
            text,
            ip=ip,
            tls=tls,
            trusted=may_be_trusted and self._trusted.holds(ip),
            slot=self._slot_name(ip),
            number=number_of(ip),
            socket=socket,
            lines=lines_of(text, tls, subject),
        )

    def _slot_name(self, ip: Address) -> bytes:
        return self._slots.name_of(ip, self._prefix_length)
