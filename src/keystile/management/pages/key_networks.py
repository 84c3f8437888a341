"""What a browser asks while somebody types where a key may be used from.

Law: nothing is kept and nothing of the account is read; the same rules answer as when the form is sent.
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from keystile.keys.networks import Networks
from keystile.management.identity import account_of, client_address
from keystile.management.pages.key_forms import entries, network_faults
from keystile.management.pages.layout import posted


async def check_networks(request: web.Request) -> web.Response:
    """Answer ``{"faults": [sentence…], "entries": [canonical…], "note": sentence}``."""
    account_of(request)
    found = entries((await posted(request)).get("networks", ""))
    faults = network_faults(found)
    if faults:
        return _answer(faults, (), "")
    networks = Networks.parse(found)
    return _answer((), networks.texts, note(networks, client_address(request)))


def note(networks: Networks, address: str) -> str:
    """Return what the list means for somebody at ``address``, who may be about to lock their own calls out."""
    if not networks:
        return "Without entries the key may be used from everywhere."
    count = len(networks.texts)
    text = "1 entry." if count == 1 else f"{count} entries."
    try:
        inside = networks.allows(ip_address(address))
    except ValueError:  # a peer without an address of its own, such as a Unix socket's
        return text
    return f"{text} Your address now, {address}, is {'' if inside else 'not '}among them."


def _answer(faults: tuple[str, ...], texts: tuple[str, ...], words: str) -> web.Response:
    return web.json_response(
        {"faults": faults, "entries": texts, "note": words}, headers={"Cache-Control": "no-store"}
    )
