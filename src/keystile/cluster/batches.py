"""Commands about many addresses: as many as one script should handle, since the server does nothing else meanwhile.

Law: leases in, keys and arguments of scripts out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keystile.cluster.scripts import address_key
from keystile.limits.lease import Lease

MOST: Final = 200
"""Addresses in one command: about half a millisecond of the server."""

Command = tuple[list[bytes], list[bytes]]
"""Keys of addresses, and all arguments."""


def move_commands(token: bytes, holder: bytes, before: bytes, leases: Sequence[Lease]) -> list[Command]:
    """``scripts.MOVE``: what each lease holds is held by ``holder`` from now on."""
    return [
        (_keys(token, some), [token, holder, before, *(b"%d" % lease.held for lease in some)])
        for some in _parts(leases)
    ]


def keep_commands(token: bytes, holder: bytes, leases: Sequence[Lease]) -> list[Command]:
    """``scripts.KEEP``: these are still held."""
    return [(_keys(token, some), [token, holder, *(b"%d" % lease.held for lease in some)]) for some in _parts(leases)]


def give_commands(token: bytes, holder: bytes, given: Sequence[tuple[Lease, int, bytes]]) -> list[Command]:
    """``scripts.GIVE``: of each lease so many units, and the names of who is to be told, one after the other."""
    found = []
    for first in range(0, len(given), MOST):
        some = given[first : first + MOST]
        args = [token, holder]
        for _, units, told in some:
            args += [b"%d" % units, told]
        found.append((_keys(token, [lease for lease, _, _ in some]), args))
    return found


def _parts(leases: Sequence[Lease]) -> Iterator[Sequence[Lease]]:
    for first in range(0, len(leases), MOST):
        yield leases[first : first + MOST]


def _keys(token: bytes, leases: Sequence[Lease]) -> list[bytes]:
    return [address_key(token, lease.name) for lease in leases]
