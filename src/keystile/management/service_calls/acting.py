"""Who acts: the API key that a relay has admitted, as the store knows it now.

Law: this is the only place that believes identity fields, and it stands behind a socket that only relays reach.
Of what they say only the key's id, the digest of its secret and the caller's address are used: what the key may do
is read from the store, since it may have been edited, or have gone, while the request was on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from keystile.keys.authority import Authority
from keystile.keys.key import ApiKey
from keystile.management.service_calls.errors import ADDRESS_NOT_ALLOWED, INVALID_KEY, SCOPE_MISSING, Refused


class Keys(Protocol):
    """The part of the store that is needed here."""

    async def key_by_id(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, whoever's it is."""


@dataclass(frozen=True, slots=True)
class Acting:
    """``account``: the e-mail address whose key acts; ``origin``: what the audit table says of where from."""

    account: str
    authority: Authority
    origin: str


async def acting(fields: Mapping[str, str], keys: Keys, needed: frozenset[str], now: float) -> Acting:
    """The acting key, which holds what is ``needed``; ``now`` in Unix seconds. Raises ``Refused``.

    What is asked here is asked once more in the transaction of a change (``Authority.confirm``).
    """
    try:
        key_id = fields["X-Keystile-Key"]
        presented = bytes.fromhex(fields["X-Keystile-Presented"])
        address = ip_address(fields["X-Keystile-Address"])
    except (KeyError, ValueError):
        raise Refused(INVALID_KEY) from None
    key = await keys.key_by_id(key_id)
    if key is None or (key.expires is not None and key.expires <= now):
        raise Refused(INVALID_KEY)
    if not key.networks.allows(address):
        raise Refused(ADDRESS_NOT_ALLOWED, f"This API key may not be used from {address}.")
    if missing := needed - key.scopes:
        names = " and ".join(sorted(missing))
        raise Refused(SCOPE_MISSING, f"This call needs {names}, which the API key does not have.")
    origin = f"API key {key.name!r} (…{key.hint}) from {address}"
    return Acting(key.account_email, Authority.of(key, presented, address), origin)
