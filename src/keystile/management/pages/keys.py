"""The list of an account's API keys.

Law: this file shows; what alters a key is in ``key_new.py``, ``key_edit.py``, ``key_change.py`` and ``key_delete.py``.
Of a secret it knows the last five characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from keystile.keys.audit import What
from keystile.keys.key import ApiKey
from keystile.management.context import services
from keystile.management.identity import account_of
from keystile.management.pages import key_change, key_delete, key_edit, key_new
from keystile.management.pages.key_networks import check_networks
from keystile.management.pages.layout import render
from keystile.management.pages.old_tls import next_end, own_old_tls

_RECENT = 200
"""Events among which it is looked for whether a key's secret has come in clear."""


@dataclass(frozen=True, slots=True)
class Row:
    """A key as the list shows it; ``permissions`` in short; ``exposed``: its secret has come in clear."""

    key: ApiKey
    permissions: str
    expired: bool
    exposed: bool


async def list_keys(request: web.Request) -> web.Response:
    """Show all keys of the account."""
    identity, parts = account_of(request), services(request)
    now = parts.clock()
    events = await parts.keys.events(_RECENT, account=identity.account.email)
    exposed = {(event.key_id, event.key_hint) for event in events if event.what is What.KEY_EXPOSED}
    rows = [
        Row(
            key,
            parts.catalogue.describe(key.scopes),
            key.expires is not None and key.expires <= now,
            (key.id, key.hint) in exposed,
        )
        for key in await parts.keys.list(identity.account.email)
    ]
    old_tls = await own_old_tls(parts, identity.account.id)
    return render(
        request,
        "keys.html",
        rows=rows,
        limit=parts.settings.keys.per_account,
        old_tls=old_tls,
        old_tls_ends=next_end(parts.settings, now),
    )


def routes() -> list[web.RouteDef]:
    """The list, and the four forms: the address of a form is also where it is sent."""
    return [
        web.get("/keys", list_keys),
        web.post("/keys/check-networks", check_networks),
        web.get("/keys/new", key_new.show_form),
        web.post("/keys/new", key_new.create),
        web.get("/keys/{id}/edit", key_edit.show_form),
        web.post("/keys/{id}/edit", key_edit.save),
        web.get("/keys/{id}/change", key_change.show_form),
        web.post("/keys/{id}/change", key_change.change),
        web.get("/keys/{id}/delete", key_delete.show_form),
        web.post("/keys/{id}/delete", key_delete.delete),
    ]
