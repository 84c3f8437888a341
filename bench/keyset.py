"""The keys that every gateway under test holds: the same accounts, secrets, scopes and networks.

Law: knows no gateway. Secrets are made here, from a fixed seed, so that all gateways and all rounds see the
same requests; they open nothing but a bench that has ended.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

KEYS_PER_ACCOUNT = 15

# Every load asks only for what these allow; the sets differ so that no gateway can treat all keys alike.
COMMON = ("ViewContacts", "ViewCampaigns", "ViewReports", "ViewTemplates", "ViewSettings")
SCOPE_SETS = (
    COMMON,
    (*COMMON, "ModifyContacts", "SendHttp"),
    (*COMMON, "ViewFiles", "ViewChannels", "ViewSegments"),
    (*COMMON, "ModifyContacts", "ModifyCampaigns", "ModifyTemplates", "SendHttp", "VerifyEmails"),
)
ALLOWED = "127.0.0.0/8"
ELSEWHERE = "10.0.0.0/8"


@dataclass(frozen=True, slots=True)
class BenchKey:
    """One key: ``network`` is the only one that it may be used from."""

    id: str
    account: str
    name: str
    secret: str
    scopes: tuple[str, ...]
    network: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class KeySet:
    """``keys`` carry the load. For the check before a run: ``narrow`` lacks the scopes, ``elsewhere`` the network.

    ``unknown`` is a well-formed secret that belongs to no key.
    """

    keys: tuple[BenchKey, ...]
    narrow: BenchKey
    elsewhere: BenchKey
    unknown: str

    def every(self) -> Iterable[BenchKey]:
        """All of them, as a gateway has to hold them."""
        return (*self.keys, self.narrow, self.elsewhere)


def make_keys(count: int) -> KeySet:
    """``count`` keys for the load and the two for the check, the same ones at every call."""
    dice = random.Random(20)
    keys = tuple(_key(dice, number, SCOPE_SETS[number % len(SCOPE_SETS)], ALLOWED) for number in range(count))
    narrow = _key(dice, count, ("Export",), ALLOWED)
    elsewhere = _key(dice, count + 1, SCOPE_SETS[0], ELSEWHERE)
    return KeySet(keys, narrow, elsewhere, _secret(dice))


def _key(dice: random.Random, number: int, scopes: tuple[str, ...], network: str) -> BenchKey:
    account = f"customer{number // KEYS_PER_ACCOUNT:05d}@example.com"
    return BenchKey(dice.randbytes(8).hex(), account, f"key {number}", _secret(dice), scopes, network)


def _secret(dice: random.Random) -> str:
    body = dice.randbytes(44).hex().upper()
    return f"{body}{zlib.crc32(body.encode()):08X}"
