"""The cases: which load, and what is switched on in the gateways meanwhile.

Law: a table. A new case is a new row here and, where it asks for something new, a field that the gateways read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

CONNECTIONS: Final = 64
KIB: Final = 1024
MIB: Final = 1024 * KIB
CAP: Final = 1000
"""All load comes from one address, so the cap stands above wrk's connections: counted, never reached."""

# What a case asks of a gateway beyond the work; who cannot do it says so in its ``leaves_out`` and is skipped.
EACH_CAP: Final = "the cap for each address"
ADDRESSES: Final = "addresses that a trusted proxy tells"
CORES: Final = "several cores"


@dataclass(frozen=True, slots=True)
class Case:
    """``load``: the same request again and again, or none like the one before. ``log``: access log on.

    ``tls``: the client comes over TLS. ``anew``: a new connection for every request. ``target``: of the same request,
    where it is another; ``body``: bytes that it posts. ``secret``: whose key it has. ``refused``: the status of every
    answer, where it is not 200. ``keys``, ``routes``: how many the gateway has, where not as many as the bench is
    told (``routes`` 0: the document's). ``cap``: requests in flight from one address. ``addresses``: how many clients a
    trusted proxy tells of. ``relays``: cores of the gateway. ``asks``: what not every gateway can do. ``paced``: not as
    fast as answers come, but at the bench's rate, by a schedule.
    """

    name: str
    title: str
    load: Literal["same", "varied"]
    log: bool = False
    tls: bool = False
    anew: bool = False
    target: str = ""
    body: int = 0
    secret: Literal["any", "modifies", "narrow", "unknown"] = "any"
    connections: int = CONNECTIONS
    refused: int = 0
    keys: int = 0
    routes: int = 0
    cap: int = CAP
    addresses: int = 0
    relays: int = 1
    asks: str = ""
    paced: bool = False


POSTED: Final = "/v4/contacts"
CASES = {
    case.name: case
    for case in (
        Case("same", "same request each time", "same"),
        Case("varied", "every request different", "varied"),
        Case("log", "same request, access log on", "same", log=True),
        Case("varied-log", "every request different, access log on", "varied", log=True),
        Case("post", "POST of 1 KiB", "same", target=POSTED, body=KIB, secret="modifies"),
        Case("down-64k", "an answer of 64 KiB", "same", target="/v4/contacts/64KiB"),
        Case("down-1m", "an answer of 1 MiB", "same", target="/v4/contacts/1MiB"),
        Case("up-1m", "POST of 1 MiB", "same", target=POSTED, body=MIB, secret="modifies"),
        Case("tls", "same request, TLS kept alive", "same", tls=True),
        Case("tls-new", "a new TLS connection for each request", "same", tls=True, anew=True),
        Case("401", "an unknown key: 401", "same", secret="unknown", refused=401),
        Case("403", "a key without the scope: 403", "same", secret="narrow", refused=403),
        Case("429", "one more than the cap: 429", "same", cap=1, refused=429, asks=EACH_CAP),
        Case("conn-1", "same request, one connection", "same", connections=1),
        Case("conn-512", "same request, 512 connections", "same", connections=512),
        Case("keys-100k", "every request different, 100,000 keys", "varied", keys=100_000),
        Case("routes-10k", "every request different, 10,000 operations", "varied", routes=10_000),
        Case("addresses-1k", "a thousand clients behind a proxy", "same", addresses=1_000, asks=ADDRESSES),
        Case("addresses-1m", "a million clients behind a proxy", "same", addresses=1_000_000, asks=ADDRESSES),
        Case("relays-2", "same request, two relays", "same", relays=2, asks=CORES),
        Case("latency", "same request, at a fixed rate", "same", paced=True),
    )
}

SETS: Final[dict[str, tuple[str, ...]]] = {
    "base": ("same", "varied", "log"),
    "long": tuple(name for name in CASES if name != "varied-log"),
    "all": tuple(CASES),
}
"""Names for several cases at once: what runs by default, what a release is measured by, and all there are."""


def title_of(name: str) -> str:
    """A case in words; its name where it is one of an older bench, whose results are still there."""
    return CASES[name].title if name in CASES else name


def is_paced(name: str) -> bool:
    """Whether a case of this name is measured at a fixed rate."""
    return name in CASES and CASES[name].paced
