"""How many connections this process has descriptors for.

Law: the kernel's limit in, a number out. Every client's connection may need one to an upstream besides, so
half of the descriptors are for clients: then a full house is told so (503), and no request that was let in
fails because there is no descriptor left for it.
"""

from __future__ import annotations

import errno
import resource
from typing import Final

#: Descriptors for everything else: listening sockets, the store, shared memory, the loop.
RESERVED: Final = 128
#: More connections than this are never the default: at some KiB each they are memory as well.
MOST: Final = 65_536
#: Why a socket cannot be had where this process or machine has no more to give: no peer is to blame for it.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def room_for_connections() -> int:
    """Connections of clients that this process can take (at least one)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (soft - RESERVED) // 2))


def raise_limit() -> None:
    """Take all the descriptors that we may have: the soft limit is often 1024, for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
