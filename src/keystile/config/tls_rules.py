"""What must be right across the TLS settings of gateway.yaml: of listeners, management and upstreams.

Law: as in ``rules.py``: it looks at the file as it is written, says every fault, and opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator

from keystile.config import choices, moments, upstream_rules
from keystile.config.faults import Fault
from keystile.config.written import Written
from keystile.config.yamltext import Loc, path_of

_MANAGEMENT: Loc = ("management", "tls")
_NOT_OF_MANAGEMENT = ("certificates", "profile", "legacy", "client_certificates", "hsts")
_ONLY_IN_CLEAR = ("redirect", "plain_http")


def check(written: Written) -> Iterator[Fault]:
    """Every fault that any rule here finds."""
    for listener in written.items("listeners"):
        place = (*listener, "tls")
        if written.get(*place) is None:
            continue
        yield from _in_clear_only(written, listener)
        yield from _one_or_several(written, place)
        yield from _no_contradiction(written, place)
        yield from _rehearsals(written, (*place, "legacy"))
    yield from _management(written)
    for upstream in written.items("upstreams"):
        yield from _upstream(written, upstream)


def _in_clear_only(written: Written, listener: Loc) -> Iterator[Fault]:
    for name in _ONLY_IN_CLEAR:
        if written.get(*listener, name) is not None:
            yield written.fault((*listener, name), "has no meaning with tls; give it to the plain listener", show=True)


def _one_or_several(written: Written, place: Loc) -> Iterator[Fault]:
    alone = [name for name in ("certificate", "private_key") if written.get(*place, name) is not None]
    if written.get(*place, "certificates") is not None:
        for name in alone:
            yield written.fault((*place, name), "stands beside certificates; put it there", show=True)
    elif not alone:
        yield written.fault(place, "names no certificate; write certificate and private_key, or certificates")
    else:
        yield from both(written, place)


def both(written: Written, place: Loc) -> Iterator[Fault]:
    """A certificate and its key are of use together only."""
    for name, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if written.get(*place, name) is None and written.get(*place, other) is not None:
            yield written.fault((*place, name), f"is missing: {other} is of no use without it")


def _no_contradiction(written: Written, place: Loc) -> Iterator[Fault]:
    """``modern`` is TLS 1.3 only, and ``legacy`` is for what is older than a floor of 1.2."""
    modern = written.read(choices.profile, *place, "profile") == "modern"
    floor = written.read(choices.tls_version, *place, "minimum_version")
    if modern and floor == "1.2":
        yield written.fault((*place, "minimum_version"), "contradicts profile: modern (TLS 1.3 only)", show=True)
    if written.get(*place, "legacy") is None:
        return
    if modern:
        yield written.fault((*place, "legacy"), "contradicts profile: modern, which is TLS 1.3 only; leave one out")
    if floor == "1.3":
        message = "contradicts minimum_version 1.3, which refuses even 1.2; write 1.2 there, or leave legacy out"
        yield written.fault((*place, "legacy"), message)


def _rehearsals(written: Written, place: Loc) -> Iterator[Fault]:
    retire_at = written.read(moments.day, *place, "retire_on")
    before: list[tuple[Loc, float, float]] = []
    for loc in written.items(*place, "rehearsals"):
        start, end = (written.read(moments.moment, *loc, name) for name in ("from", "to"))
        if start is not None and retire_at is not None and start >= retire_at:
            yield written.fault((*loc, "from"), "is not before retire_on; rehearse earlier", show=True)
        elif end is not None and retire_at is not None and end > retire_at:
            yield written.fault((*loc, "to"), "is after retire_on begins (00:00 UTC); end it before", show=True)
        if start is None or end is None:
            continue
        if start >= end:
            yield written.fault((*loc, "to"), "is not after from; write a later moment", show=True)
            continue
        for other, first, last in before:
            if start < last and first < end:
                yield written.fault(loc, f"overlaps {path_of(other)}; make one of the two, or move one")
        before.append((loc, start, end))


def _management(written: Written) -> Iterator[Fault]:
    if written.get(*_MANAGEMENT) is None:
        return
    refused = [name for name in _NOT_OF_MANAGEMENT if written.get(*_MANAGEMENT, name) is not None]
    for name in refused:
        message = "is for listeners only; management takes certificate, private_key and minimum_version"
        yield written.fault((*_MANAGEMENT, name), message)
    if "certificates" not in refused:
        yield from _one_or_several(written, _MANAGEMENT)


def _upstream(written: Written, upstream: Loc) -> Iterator[Fault]:
    servers = written.items(*upstream, "servers")
    read = upstream_rules.servers(written, upstream)
    for loc, server in read:
        if server.tls != read[0][1].tls:
            message = f"differs from {path_of(read[0][0])}; write all servers of an upstream as https://, or none"
            yield written.fault(loc, message, show=True)
    place = (*upstream, "tls")
    if written.get(*place) is None:
        return
    if read and len(read) == len(servers) and not any(server.tls for _, server in read):
        yield written.fault(place, "has no meaning without https:// servers; write them so, or leave it out")
    yield from both(written, place)
