"""Listening sockets: made once by the supervisor, inherited by every child that accepts from them.

Law: addresses in, listening sockets out; no protocol. For each listener there is one socket per relay
(SO_REUSEPORT), and the supervisor keeps them all open as long as the gateway runs; so what waits in the
queue of a dead relay is not lost: its neighbours fetch it (``neighbours.py``), or its replacement does.

Measured with 2 relays on uvloop, connections per relay: bursts of 16 on one shared socket went 0:16, bursts
of 64 from 26:38 down to 0:64 (whoever wakes first takes all); on a socket each 7:9 and 29:35. With
kept-alive connections the imbalance lasts, and one core does the work of two.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from keystile.config.model import MANAGEMENT_UPSTREAM
from keystile.wire import unix

BACKLOG = 4096
"""Connections that may wait to be accepted (the kernel's net.core.somaxconn bounds it too)."""


class CannotListen(Exception):
    """An address is taken, not ours, or not allowed. The message names it."""


def listen(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """So many non-blocking listening sockets for one IP address; port 0 takes any free one.

    Raises CannotListen. An IPv6 address means IPv6 only, so that ``0.0.0.0`` and ``::`` can stand together.
    """
    opened: list[socket.socket] = []
    try:
        # SO_REUSEPORT would let two gateways of one user share the port: look first, as one who does not share.
        probe = _bound(host, port, shared=False)
        if count == 1:
            opened.append(probe)
        else:
            port = probe.getsockname()[1]
            probe.close()
            for _ in range(count):
                opened.append(_bound(host, port, shared=True))
    except OSError as error:
        close_all(opened)
        raise CannotListen(f"cannot listen on {written(host, port)}: {_reason(error)}") from error
    return opened


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    opened.set_inheritable(True)
    return opened


def calls_path(store: Path) -> Path:
    """Where relays reach the management process: a Unix socket beside the store."""
    return unix.beside(store, MANAGEMENT_UPSTREAM)


def listen_beside(store: Path) -> socket.socket:
    """The non-blocking socket that listens there, for its owner only (0600). Raises CannotListen.

    Only the one gateway that runs on the store may call this: what lies there is taken for a leftover.
    """
    path = calls_path(store)
    try:
        opened = unix.bound(path)
        opened.listen(BACKLOG)
    except OSError as error:
        raise CannotListen(f"cannot listen on {path}: {os.strerror(error.errno or 0)}") from error
    opened.setblocking(False)
    opened.set_inheritable(True)
    return opened


def close_all(opened: Iterable[socket.socket]) -> None:
    """Close sockets."""
    for each in opened:
        each.close()


def written(host: str, port: int) -> str:
    """``host:port`` with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(opened: socket.socket) -> str:
    """The address a socket really listens on, as text."""
    host, port = opened.getsockname()[:2]
    return written(host, port)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    if error.errno == errno.EAFNOSUPPORT:
        return "this machine has no IPv6"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not permitted (ports below 1024 need a privilege)"
    return os.strerror(error.errno or 0)
