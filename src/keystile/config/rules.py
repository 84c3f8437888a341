"""What must be right across several settings of gateway.yaml.

Law: each rule looks at the file as it is written and says every fault of its kind, so that a fault in one
setting never hides one of another. What is right of one setting alone stands in ``document.py``; rules that
open files stand in ``files.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.util import find_spec

from keystile.config import addresses, choices, files, lender, service_calls, tls_rules, tokens, units, upstream_rules
from keystile.config.addresses import Address
from keystile.config.database import FILES, MIRROR, DatabaseUrl
from keystile.config.faults import Fault, shown_name
from keystile.config.written import Written
from keystile.config.yamltext import Loc, Repeated, path_of

Rule = Callable[[Written], Iterator[Fault]]

_LARGEST_TLS_FILE = 1 << 20
_NEEDS = ("scope", "scopes", "key_only", "public")
_MANAGEMENT: Loc = ("management", "address")
_DEFAULT_LISTENER = Address("127.0.0.1", 8080)
_DEFAULT_MANAGEMENT = Address("127.0.0.1", 8081)
_SCOPE_SOURCES = ("scope_from_description", "scope_from")


def check(written: Written) -> list[Fault]:
    """Every fault that any rule finds."""
    return [fault for rule in _RULES for fault in rule(written)]


def repeated_names(written: Written, repeated: list[Repeated]) -> list[Fault]:
    """A name that stands twice in one mapping: YAML's readers disagree on which one counts."""
    return [
        Fault(
            str(written.file),
            one.line,
            path_of(one.loc),
            None,
            f"stands twice in the same mapping; it already stands in line {one.first_line}",
        )
        for one in repeated
    ]


def _each_row_says_one_need(written: Written) -> Iterator[Fault]:
    for loc in written.items("routes"):
        row = written.get(*loc)
        if row is None or row.fields is None:
            continue
        names = _SCOPE_SOURCES if "openapi" in row.fields else _NEEDS
        said = [name for name in names if written.get(*loc, name)]
        if len(said) != 1:
            found = " and ".join(said) if said else "none"
            yield written.fault(loc, f"says {found}; write exactly one of {', '.join(names)}")


def _scopes_name_some(written: Written) -> Iterator[Fault]:
    for loc in written.items("routes"):
        place = (*loc, "scopes")
        scopes = written.get(*place)
        if scopes is None or written.get(*loc, "openapi"):
            continue
        for name in ("all", "any"):
            if (scopes.fields or {}).get(name) and not written.items(*place, name):
                yield written.fault((*place, name), "is empty, which would need nothing; name a scope")
        if scopes.fields == {}:
            yield written.fault(place, "is empty; write {all: [...]} or {any: [...]}")


def _upstreams_are_known(written: Written) -> Iterator[Fault]:
    upstreams = written.get("upstreams")
    known = list((upstreams.fields or {}) if upstreams else ())
    for loc in written.items("routes"):
        name = written.read(tokens.upstream_name, *loc, "upstream")
        if name is None or name in known:
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {shown_name(near[0])}?" if near else f"there {_listed(known)}"
        yield written.fault((*loc, "upstream"), f"is no upstream; {hint}", show=True)


def _listed(names: list[str]) -> str:
    return f"are {', '.join(map(shown_name, names[:20]))}" if names else "are none"


def _nothing_stands_twice(written: Written) -> Iterator[Fault]:
    """Lists in which a second mention has no meaning or a bad one (a field read twice is two keys)."""
    lists: list[tuple[Loc, Callable[[object], object]]] = [
        (("keys", "headers"), lambda value: tokens.same_field(tokens.key_field(value))),
        (("management", "hosts"), addresses.host_name),
        (("trusted_proxies",), addresses.network),
        (("access_log", "fields"), choices.log_field),
    ]
    lists += [((*loc, "methods"), tokens.method) for loc in written.items("routes")]
    for place, read in lists:
        seen: set[object] = set()
        for loc in written.items(*place):
            value = written.read(read, *loc)
            if value is not None and value in seen:
                yield written.fault(loc, "stands twice in this list", show=True)
            seen.add(value)


def _star_stands_alone(written: Written) -> Iterator[Fault]:
    for place in [("cors",), *((*loc, "cors") for loc in written.items("routes"))]:
        origins = written.items(*place, "origins")
        if len(origins) > 1 and any(written.read(addresses.origin, *loc) == "*" for loc in origins):
            yield written.fault((*place, "origins"), "holds * and others; write * alone, or leave it out")


def _keys_have_a_place(written: Written) -> Iterator[Fault]:
    headers = written.get("keys", "headers")
    if headers and headers.items == [] and written.get("keys", "query_parameter") is None:
        yield written.fault(("keys", "headers"), "is empty, so no request could carry a key; name a field")


def _addresses_are_free(written: Written) -> Iterator[Fault]:
    """No two of our own addresses may be the same, nor one cover another (0.0.0.0 covers every IPv4 address)."""
    management = written.read(addresses.address, *_MANAGEMENT)
    if written.get(*_MANAGEMENT) is None:
        management = _DEFAULT_MANAGEMENT
    taken: list[tuple[Loc, Address]] = []
    for loc, address in [*_listeners(written), (_MANAGEMENT, management)]:
        if address is None or address.port == 0:
            continue
        for other, held in taken:
            if _collide(held, address):
                yield written.fault(loc, f"collides with {path_of(other)}, which listens on {held}")
        taken.append((loc, address))


def _listeners(written: Written) -> list[tuple[Loc, Address | None]]:
    if written.get("listeners") is None:
        return [(("listeners",), _DEFAULT_LISTENER)]
    places: list[Loc] = [(*loc, "address") for loc in written.items("listeners")]
    return [(loc, written.read(addresses.address, *loc)) for loc in places]


def _collide(one: Address, other: Address) -> bool:
    same_family = (":" in one.host) == (":" in other.host)
    everywhere = {"0.0.0.0", "::"} & {one.host, other.host}
    return one.port == other.port and same_family and (one.host == other.host or bool(everywhere))


def _management_is_not_exposed(written: Written) -> Iterator[Fault]:
    address = written.read(addresses.address, *_MANAGEMENT)
    if address and not address.loopback and written.get("management", "tls") is None:
        message = "can be reached from other machines, and passwords would cross the network in clear; add tls"
        yield written.fault(_MANAGEMENT, message, show=True)


def _no_upstream_is_the_gateway(written: Written) -> Iterator[Fault]:
    """A gateway that is its own upstream answers nothing until its slots run out."""
    ours = {address for _, address in _listeners(written)}
    everywhere = {address.port for address in ours if address and address.host in ("0.0.0.0", "::")}
    for upstream in written.items("upstreams"):
        for loc, server in upstream_rules.servers(written, upstream):
            address = Address({"localhost": "127.0.0.1"}.get(server.host, server.host), server.port)
            if address in ours or (server.port in everywhere and address.host in ("127.0.0.1", "::1")):
                yield written.fault(loc, "is a listener of this gateway itself", show=True)


def _store_and_log_differ(written: Written) -> Iterator[Fault]:
    place = files.access_log_place(written)
    log, store = written.read(choices.access_log, *place), written.read(choices.store, "store")
    mirror = written.read(units.text, "database", "mirror") or MIRROR
    if log and (written.folder / log) == (written.folder / files.store_file(store or "keystile.db", mirror)):
        yield written.fault(place, "is the store's file; name another", show=True)


def _databases_can_be_used(written: Written) -> Iterator[Fault]:
    """The driver is there, and every file that a connection is made with."""
    store = written.read(choices.store, "store")
    if not isinstance(store, DatabaseUrl):
        is_file = store is not None or written.get("store") is None  # else its own fault is told
        if is_file and written.get("database") is not None:
            yield written.fault(("database",), "has no meaning: the store is a file; leave it out")
        return
    if not _is_installed("psycopg"):
        yield written.fault(("store",), "needs what is not installed; pip install 'keystile[postgresql]'")
    named = [(("store",), name, store.get(name)) for name in FILES]
    password = written.read(units.text, "database", "password_file")
    for loc, name, file in (*named, (("database", "password_file"), "password_file", password)):
        if file and file != "system":
            try:
                files.bounded(files.absolute(written.folder, file), _LARGEST_TLS_FILE)
            except (OSError, ValueError) as error:
                yield written.fault(loc, f"{name} cannot be read: {files.reason(error)}")


def _spans_need_a_trace(written: Written) -> Iterator[Fault]:
    """Spans are of exchanges in whose trace the gateway takes part."""
    if written.get("telemetry", "otlp") is None:
        return
    if written.read(choices.trace, "telemetry", "trace") != "begin":
        yield written.fault(("telemetry", "otlp"), "has no spans to send to; write trace: begin, or leave it out")
    if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        yield written.fault(("telemetry", "otlp"), "needs what is not installed; pip install 'keystile[otel]'")


def _lender_can_be_asked(written: Written) -> Iterator[Fault]:
    """Slots over many hosts: the library is there, and a password is in one place that can be read."""
    slots = written.get("slots")
    place: Loc = ("slots", "url") if slots is not None and slots.fields is not None else ("slots",)
    found = None if slots is None else written.read(lender.slots, *place)
    if found is None:
        return
    yield from _tls_of_lender(written, found)
    if not _is_installed("hiredis"):
        yield written.fault(place, "needs what is not installed; pip install 'keystile[valkey]'")
    file = written.read(units.text, "slots", "password_file")
    if file is None:
        return
    if written.get("slots", "password_env") is not None:
        yield written.fault(("slots", "password_env"), "is a second place for the password; leave one of the two out")


def _tls_of_lender(written: Written, found: lender.Lender) -> Iterator[Fault]:
    place: Loc = ("slots", "tls")
    if written.get(*place) is None:
        return
    if not found.is_tls:
        yield written.fault(place, "has no meaning in clear; write slots.url as valkeys://, or leave it out")
    yield from tls_rules.both(written, place)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # nothing of what it lies in
        return False


def _proxies_are_named_where_they_must_speak(written: Written) -> Iterator[Fault]:
    """A listener that wants a PROXY protocol header closes whatever is no trusted proxy: without any, everything."""
    if written.items("trusted_proxies"):
        return
    for loc in written.items("listeners"):
        place = (*loc, "proxy_protocol")
        if written.read(units.flag, *place):
            yield written.fault(place, "would close every connection: name the proxies in trusted_proxies")


def _websockets_are_opened_with_get(written: Written) -> Iterator[Fault]:
    for loc in written.items("routes"):
        if not written.read(units.flag, *loc, "websocket") or not written.items(*loc, "methods"):
            continue
        if not any(written.read(tokens.method, *method) == "GET" for method in written.items(*loc, "methods")):
            yield written.fault((*loc, "websocket"), "has no meaning without GET, which opens one; add it to methods")


_RULES: tuple[Rule, ...] = (
    _each_row_says_one_need,
    _scopes_name_some,
    _upstreams_are_known,
    _nothing_stands_twice,
    _star_stands_alone,
    _keys_have_a_place,
    _addresses_are_free,
    _management_is_not_exposed,
    _no_upstream_is_the_gateway,
    _store_and_log_differ,
    _databases_can_be_used,
    _spans_need_a_trace,
    _proxies_are_named_where_they_must_speak,
    _websockets_are_opened_with_get,
    service_calls.check,
    _lender_can_be_asked,
    tls_rules.check,
    upstream_rules.check,
)
