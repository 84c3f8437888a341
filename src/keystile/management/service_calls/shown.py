"""API keys and SMTP credentials as the service writes them: JSON in PascalCase.

Law: values to JSON, nothing else. Moments are UTC and cut to milliseconds, never rounded up: a client that copies
the expiry of its own key must not ask for more than it has. Networks are single addresses and CIDRs, which
is all that the clients know; a range FIRST-LAST is shown as the CIDRs that cover it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, summarize_address_range
from typing import cast

from keystile.keys.key import ApiKey, SmtpCredential
from keystile.keys.networks import Networks
from keystile.management.service_calls import levels

Members = dict[str, object]


def api_key(key: ApiKey) -> Members:
    """An ``ApiKey``."""
    known, others = levels.shown(key.scopes)
    members = _common(key)
    members["AccessLevel"] = known
    if others:
        members["OtherAccessLevel"] = others
    return members


def smtp_credential(credential: SmtpCredential) -> Members:
    """An ``SmtpCredentials``, whose access level is one value."""
    return {**_common(credential), "AccessLevel": credential.scope}


def with_token(members: Members, secret: str) -> Members:
    """A ``NewApiKey`` or ``NewSmtpCredentials``: the only time that the secret is shown."""
    return {**members, "Token": secret}


def _common(credential: ApiKey | SmtpCredential) -> Members:
    return {
        "Name": credential.name,
        "DateCreated": moment(credential.created),
        "LastUse": None if credential.last_used_at is None else moment(credential.last_used_at),
        "Expires": None if credential.expires is None else moment(credential.expires),
        "RestrictAccessToIPRange": list(cidrs(credential.networks)),
    }


def moment(at: float) -> str:
    """Unix seconds as ``2026-12-31T00:00:00Z``, with milliseconds where there are any."""
    milliseconds = math.floor(at * 1000)
    second = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rest = milliseconds % 1000
    return f"{second}.{rest:03d}Z" if rest else f"{second}Z"


def cidrs(networks: Networks) -> Iterator[str]:
    """Single addresses and networks, in the order in which they were given."""
    for text in networks.texts:
        first, dash, last = text.partition("-")
        if not dash:
            yield text
            continue
        # Both ends are of one kind: ``Networks`` has seen to that.
        ends = cast("tuple[IPv4Address, IPv4Address]", (ip_address(first), ip_address(last)))
        for network in summarize_address_range(*ends):
            yield str(network.network_address if network.num_addresses == 1 else network)


