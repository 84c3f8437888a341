"""What a reload would change: two snapshots in, plain values for JSON out.

Law: it compares and decides nothing. It holds no byte of a private key: of one that differs it says only that.
Management works it out, not the command that shows it: so the comparison is by the same reading, as the same user,
that a reload would use, and neither snapshot with its keys ever leaves the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keystile.app import route_table
from keystile.config.difference import listener_changes, setting_changes, upstream_changes
from keystile.config.live import needs_restart
from keystile.config.model import Settings, Tls
from keystile.process.snapshot import Snapshot
from keystile.routing.difference import RouteChange, route_changes
from keystile.routing.route import Route
from keystile.routing.table import scopes_of
from keystile.wire.certificates import certificate_facts

CERTIFICATE, PRIVATE_KEY, AUTHORITY, DOCUMENT = "certificate", "private key", "authority", "document"


def compare(in_force: Snapshot, wanted: Snapshot) -> dict[str, Any]:
    """``settings``, ``listeners``, ``upstreams``, ``routes`` and ``files`` that differ; ``restart``: the names of
    settings for whose sake a reload would take nothing; ``differs``: whether there is anything. Rows that say the
    same in another way differ in nothing."""
    was, now = in_force.settings, wanted.settings
    found: dict[str, Any] = {
        "settings": [asdict(one) for one in setting_changes(was, now)],
        "listeners": [asdict(one) for one in listener_changes(was, now)],
        "upstreams": [asdict(one) for one in upstream_changes(was, now)],
        "routes": [_route(one) for one in route_changes(route_table(was), route_table(now))],
        "files": list(_files(in_force, wanted)),
    }
    return {"differs": any(found.values()), "restart": needs_restart(was, now), **found}


def _route(one: RouteChange) -> dict[str, Any]:
    return {
        "method": one.method,
        "path": one.path,
        "what": one.what,
        "opening": one.opening,
        "was": one.was and _end(one.was),
        "now": one.now and _end(one.now),
    }


def _end(route: Route) -> dict[str, Any]:
    return {
        "row": route.path,
        "scopes": scopes_of(route),
        "upstream": route.upstream,
        "cors": None if route.cors is None else list(route.cors.origins),
        "websocket": route.websocket,
    }


def _files(in_force: Snapshot, wanted: Snapshot) -> Iterator[dict[str, Any]]:
    kinds = {**_kinds(in_force.settings), **_kinds(wanted.settings)}
    for name in dict.fromkeys([*in_force.files, *wanted.files]):
        was, now = in_force.files.get(name), wanted.files.get(name)
        if was != now:
            kind = kinds[name]
            told = _certificate if kind in (CERTIFICATE, AUTHORITY) else _nothing
            yield {"file": name, "kind": kind, "what": _what(was, now), "was": told(was), "now": told(now)}


def _what(was: bytes | None, now: bytes | None) -> str:
    return "added" if was is None else "removed" if now is None else "changed"


def _nothing(_: bytes | None) -> None:
    return None


def _certificate(content: bytes | None) -> dict[str, Any] | None:
    """Whose it is, and until when (Unix seconds); None where that cannot be read."""
    try:
        facts = certificate_facts(content or b"")
    except ValueError:
        return None
    return {"names": list(facts.names), "ends": facts.not_after}


def _kinds(settings: Settings) -> dict[str, str]:
    """What each named file is."""
    found: dict[Path, str] = dict.fromkeys(settings.documents, DOCUMENT)
    for tls in (*(each.tls for each in settings.listeners), settings.management.tls):
        if tls is not None:
            found |= _shown(tls)
    for upstream in settings.upstreams:
        reached = upstream.tls
        if reached is not None:
            named = ((reached.ca, AUTHORITY), (reached.certificate, CERTIFICATE), (reached.private_key, PRIVATE_KEY))
            found |= {path: kind for path, kind in named if path is not None}
    return {str(path): kind for path, kind in found.items()}


def _shown(tls: Tls) -> dict[Path, str]:
    found = {one.certificate: CERTIFICATE for one in tls.certificates}
    found |= {one.private_key: PRIVATE_KEY for one in tls.certificates}
    return found if tls.client_certificates is None else {**found, tls.client_certificates.ca: AUTHORITY}
