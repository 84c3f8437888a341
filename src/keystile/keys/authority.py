"""What a credential that makes or alters others may hand on: its own scopes, networks and expiry, and no more.

Law: this file compares what credentials permit, and asks a transaction whether the acting key is still what it
was. It knows no call and no route: that a key may manage others at all (ModifyAccessTokens) was decided where
the call was admitted, and stays true because ``confirm`` asks for every scope of ``Authority`` again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import Account, ApiKey, Permits
from keystile.keys.networks import Address, Networks
from keystile.keys.scopes import as_text
from keystile.keys.store import Transaction

_NAMED = 10  # scopes that a message names; a key has up to 256


@dataclass(frozen=True, slots=True)
class Authority:
    """What the acting API key ``key_id`` held when its call was admitted.

    ``expires`` is in Unix seconds, None means never; empty ``networks`` mean everywhere. Where they are known,
    ``presented`` is the SHA-256 of the secret it came with and ``address`` where it came from: then a key that was
    changed, or kept away from there, between admission and commit cannot act either.
    """

    key_id: str
    scopes: frozenset[str]
    networks: Networks
    expires: float | None
    presented: bytes | None = field(default=None, repr=False)
    address: Address | None = None

    @classmethod
    def of(cls, key: ApiKey, presented: bytes | None = None, address: Address | None = None) -> Authority:
        """Return what this key may hand on."""
        return cls(key.id, key.scopes, key.networks, key.expires, presented, address)

    def exceeded_by(self, other: Permits) -> tuple[str, ...]:
        """Return what ``other`` permits beyond this, as sentences for people; nothing where it lies within."""
        return beyond(other, self)

    def require(self, other: Permits) -> None:
        """Raise KeyRuleBroken ``beyond_authority``, naming what exceeded, unless ``other`` lies within."""
        exceeded = self.exceeded_by(other)
        if exceeded:
            raise KeyRuleBroken("beyond_authority", "; ".join(exceeded))

    async def confirm(self, tx: Transaction, account: Account, now: float) -> None:
        """Raise ``beyond_authority`` unless the key, now, is this account's and still holds all that it held."""
        key = await tx.key_by_id(self.key_id)
        if key is None or key.account_id != account.id:
            raise KeyRuleBroken("beyond_authority", "the key that asks is no key of this account")
        if key.expires is not None and key.expires <= now:
            raise KeyRuleBroken("beyond_authority", "the key that asks has expired")
        if beyond(self, key) or not await self._may_still_come(tx, key, now):
            raise KeyRuleBroken("beyond_authority", "the key that asks was altered meanwhile; ask again")

    async def _may_still_come(self, tx: Transaction, key: ApiKey, now: float) -> bool:
        if self.address is not None and not key.networks.allows(self.address):
            return False
        return self.presented is None or await tx.opens(key.id, self.presented, now)


def beyond(other: Permits, own: Permits) -> tuple[str, ...]:
    """Return what ``other`` permits that ``own`` does not, as sentences for people."""
    found: list[str] = []
    scopes = other.scopes - own.scopes
    if scopes:
        found.append(f"the key that asks lacks {_listed(scopes)}")
    if not own.networks.contains(other.networks):
        found.append(f"the key that asks may be used from {_where(own)} only, and the other from {_where(other)}")
    if own.expires is not None and (other.expires is None or other.expires > own.expires):
        found.append("the key that asks expires before the other would")
    return tuple(found)


def _listed(scopes: frozenset[str]) -> str:
    names = as_text(scopes).split()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ("the scope " if len(names) == 1 else "the scopes ") + ", ".join(names[:_NAMED]) + more


def _where(permits: Permits) -> str:
    texts = permits.networks.texts
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more or "everywhere"
