"""Steps 2 to 6 of a request: route, authenticate, restrict, authorize, take a slot.

Law: one synchronous decision. Nothing is awaited between reading shared state
and changing it; no byte is sent from here. The answer is a ``Refusal``, or None
and an exchange that may be forwarded.

Hot path: what depends only on a head's fields is kept in ``Note``, so that a
kept-alive client that repeats them pays once. What decides whether a key may
pass (bell, keyring, expiry, address, scopes, slot) is asked every time.
"""

from __future__ import annotations

from functools import lru_cache
from time import monotonic, time
from typing import TYPE_CHECKING, Final, cast

from keystile.keys.keyring import HeldKey
from keystile.limits.lease import ASK
from keystile.relay.credentials import Presented, presented_in, read_secret, split_query
from keystile.relay.refusal import Refusal
from keystile.routing.route import NoRoute, Route
from keystile.routing.table import RouteTable
from keystile.wire import websocket
from keystile.wire.peer import Peer
from keystile.wire.request_fields import RequestFields

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.gateway import Gateway
    from keystile.wire.client import ClientConnection

#: Longer ones are looked up each time: what is kept stays with the connection.
REMEMBERED_PATH: Final = 1024
# Those of a flood, found once: Python 3.11 finds a member of an enumeration by a call, which costs as much as routing.
_FULL: Final = Refusal.TOO_MANY_AT_ONCE
_INVALID_KEY: Final = Refusal.INVALID_KEY
_SCOPE_MISSING: Final = Refusal.SCOPE_MISSING
_ADDRESS_NOT_ALLOWED: Final = Refusal.ADDRESS_NOT_ALLOWED
# As a number: bytes look for bytes in them by way of an exception, which takes fifteen times as long.
_HASH: Final = 0x23


class Note:
    """What was derived from one ``RequestFields``: see the module."""

    __slots__ = (
        "block",
        "block_group",
        "block_key",
        "lacking",
        "lacking_of",
        "lacking_on",
        "peer",
        "presented",
    )

    def __init__(self, peer: Peer, presented: Presented | Refusal) -> None:
        self.peer = peer
        self.presented = presented
        self.block = b""
        self.block_key: object = None
        self.block_group: object = None
        # What the last key that lacked a permission was told, which scopes it had and what it asked for.
        self.lacking = ""
        self.lacking_of: object = None
        self.lacking_on: object = None


class Went:
    """Where a connection's last request went, once the same has been asked twice in a row: see ``_find``."""

    __slots__ = ("method", "path", "route", "table")

    def __init__(self) -> None:
        self.method = self.path = b""
        self.table: object = None
        self.route: Route | None = None


def note_of(gateway: Gateway, fields: RequestFields, socket_peer: Peer) -> Note:
    """The note on ``fields``, made at the first request that has them."""
    note = fields.note
    if type(note) is not Note:
        peer = gateway.callers.behind(socket_peer, fields) if socket_peer.trusted else socket_peer
        presented = fields.presented  # by the connection's last head, where this one presents the same
        if presented is None:
            presented = fields.presented = presented_in(fields)
        note = fields.note = Note(peer, cast(Presented | Refusal, presented))
    return note


def admit(gateway: Gateway, exchange: Exchange) -> Refusal | None:
    """Decide on ``exchange``. After None it has a route, a key (unless public), and holds a slot."""
    note = exchange.note
    path, mark, query = exchange.target.partition(b"?")
    exchange.path = path
    if _HASH in query:
        return Refusal.BAD_PATH
    found = _find(gateway.table, exchange.method, path, exchange.client)
    if type(found) is NoRoute and found.kind == "bad_path":
        exchange.detail = found.reason
        return Refusal.BAD_PATH
    presented: Presented | Refusal = exchange.in_query or note.presented
    if mark and gateway.query_parameter is not None:
        presented = _with_query(gateway.query_parameter, exchange, query, presented)
    if type(found) is Route:
        exchange.route = found
        if found.needs.public:
            return _handshake_fault(exchange, found) or _take_slot(gateway, exchange)
    if type(presented) is not Presented:
        assert isinstance(presented, Refusal)
        return _explained(gateway, exchange, presented)
    key = _authenticate(gateway, presented)
    if type(key) is not HeldKey:
        assert isinstance(key, Refusal)
        return key
    exchange.key = key
    if not key.networks.allows_number(note.peer.number):
        exchange.detail = _ADDRESS_NOT_ALLOWED.detail.format(address=note.peer.text)
        return _ADDRESS_NOT_ALLOWED
    if type(found) is not Route:
        return _no_route(exchange, found)
    needs = found.needs
    if not needs.all_of <= key.scopes or (needs.any_of and needs.any_of.isdisjoint(key.scopes)):
        return _scope_missing(exchange, found, key)
    if found.websocket:
        return _handshake_fault(exchange, found) or _take_slot(gateway, exchange)
    return _take_slot(gateway, exchange)


def _find(table: RouteTable, method: bytes, path: bytes, client: ClientConnection) -> Route | NoRoute:
    """Where the request goes. Who asks for the same again, whatever else is new, has it looked up once."""
    went = client.went
    if type(went) is not Went:
        went = client.went = Went()
    if path == went.path and method == went.method:
        route = went.route
        if route is not None and went.table is table:
            return route
        found = table.find(method, path)
        if type(found) is Route:
            went.table, went.route = table, found
        return found
    if len(path) <= REMEMBERED_PATH:
        went.path, went.method, went.table, went.route = path, method, None, None
    return table.find(method, path)


def came_in_clear(gateway: Gateway, exchange: Exchange) -> bool:
    """Whether a key came over plain HTTP. Where it is one of ours, the exchange has it: its owner is to know.

    What a trusted proxy has taken over TLS and says so has not come in clear.
    """
    fields = exchange.fields
    if exchange.client.peer.trusted and fields.forwarded_proto == b"https":
        return False
    exchange.path, mark, query = exchange.target.partition(b"?")
    presented: Presented | Refusal = exchange.note.presented
    if mark and gateway.query_parameter is not None:
        presented = _with_query(gateway.query_parameter, exchange, query, presented)
    if type(presented) is not Presented:
        return presented not in (Refusal.NO_KEY, Refusal.OTHER_CREDENTIALS)
    key = _authenticate(gateway, presented)
    if type(key) is HeldKey:
        exchange.key = key
    return True


def still_admitted(gateway: Gateway, exchange: Exchange) -> Refusal | None:
    """Whether an exchange that was admitted long ago would be now, by its key as it is now; its slot it has."""
    route = exchange.route
    assert route is not None
    if route.needs.public:
        return None
    presented = exchange.in_query or exchange.note.presented
    assert type(presented) is Presented
    key = _authenticate(gateway, presented)
    if type(key) is not HeldKey:
        assert isinstance(key, Refusal)
        return key
    if not key.networks.allows_number(exchange.note.peer.number):
        return _ADDRESS_NOT_ALLOWED
    needs = route.needs
    if not needs.all_of <= key.scopes or (needs.any_of and needs.any_of.isdisjoint(key.scopes)):
        return _SCOPE_MISSING
    return None


def _handshake_fault(exchange: Exchange, route: Route) -> Refusal | None:
    """What keeps a request that asks to become a WebSocket from it, where the route serves those."""
    fields = exchange.fields
    if not route.websocket or not websocket.is_asked_for(fields):
        return None
    exchange.upgrades = True
    exchange.detail = websocket.fault_of(exchange.method, fields)
    if exchange.detail is not None:
        return Refusal.BAD_REQUEST
    if not websocket.knows_version(fields):
        exchange.fields_of_refusal = b"Sec-WebSocket-Version: %b\r\n" % websocket.VERSION
        return Refusal.WEBSOCKET_VERSION
    return None


def _authenticate(gateway: Gateway, presented: Presented) -> HeldKey | Refusal:
    follower = gateway.follower
    if follower.words[0] != follower.seen:
        follower.catch_up()
    if follower.unreadable_since is not None and monotonic() - follower.unreadable_since > gateway.trust_without_store:
        return Refusal.KEYS_UNAVAILABLE
    return gateway.keyring.find(presented.digest, time()) or _INVALID_KEY


def _take_slot(gateway: Gateway, exchange: Exchange) -> Refusal | None:
    client = exchange.client
    waiting = gateway.waiting
    if waiting is not None and not exchange.waits_until and waiting.has_line(exchange.note.peer.slot):
        exchange.detail = gateway.cap_detail
        return _FULL  # newcomers stand behind those who wait
    row = gateway.slots.take(exchange.note.peer.slot, gateway.cap, client.slot_row)
    if row >= 0:
        client.slot_row = exchange.slot_row = row
        return None
    if row == -1:
        client.slot_row = gateway.slots.full_row
        exchange.detail = gateway.cap_detail
        return _FULL
    return Refusal.OVERLOADED if row > ASK else Refusal.COUNT_UNAVAILABLE


def _with_query(
    parameter: bytes, exchange: Exchange, query: bytes, presented: Presented | Refusal
) -> Presented | Refusal:
    """A key in the query counts like one in a field, and is taken out of what goes on."""
    values, kept = split_query(query, parameter)
    if not values:
        return presented
    exchange.target = exchange.path + b"?" + kept if kept else exchange.path
    if len(values) > 1 or presented not in (Refusal.NO_KEY, Refusal.OTHER_CREDENTIALS):
        exchange.in_query = Refusal.TWO_KEYS
    else:
        exchange.in_query = read_secret(values[0])
    return exchange.in_query


def _explained(gateway: Gateway, exchange: Exchange, refusal: Refusal) -> Refusal:
    exchange.detail = refusal.detail.format(headers=gateway.header_names)
    return refusal


def _no_route(exchange: Exchange, found: Route | NoRoute) -> Refusal:
    assert isinstance(found, NoRoute)
    if found.kind == "wrong_method":
        exchange.fields_of_refusal = b"Allow: " + found.allow + b"\r\n"
        return Refusal.METHOD_NOT_ALLOWED
    return Refusal.AMBIGUOUS_PATH if found.kind == "ambiguous" else Refusal.NOT_FOUND


def _scope_missing(exchange: Exchange, route: Route, key: HeldKey) -> Refusal:
    note, scopes = exchange.note, key.scopes
    if note.lacking_of is not scopes or note.lacking_on is not route:
        note.lacking = _said_of_missing(route.needs.all_of, route.needs.any_of, scopes)
        note.lacking_of, note.lacking_on = scopes, route
    exchange.detail = note.lacking
    return _SCOPE_MISSING


@lru_cache(maxsize=1024)
def _said_of_missing(all_of: frozenset[str], any_of: frozenset[str], scopes: frozenset[str]) -> str:
    """What a key lacks: all of these, or one of those. A client that is refused is mostly refused the same again."""
    missing = all_of - scopes
    names = " and ".join(sorted(missing)) if missing else "one of " + ", ".join(sorted(any_of))
    return _SCOPE_MISSING.detail.format(scopes=names)
