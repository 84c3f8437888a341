"""What the gateway says before a request is decided on: at the entrance, about its health, to a preflight; and by which
lines a page may read what it says.

Law: none of these answers takes a slot or goes to an upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystile.config.model import Cors
from keystile.relay.admit import came_in_clear
from keystile.relay.cors import allows, answer_fields, preflight_fields
from keystile.relay.entrance import Entrance
from keystile.relay.refusal import Refusal
from keystile.routing.route import Route

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.gateway import Gateway


def answer_at_the_entrance(gateway: Gateway, exchange: Exchange) -> bool:
    """Answer what goes no further because of the way it came; False for what does."""
    entrance = exchange.client.entrance
    assert type(entrance) is Entrance
    if entrance.redirect is not None:
        exchange.path = exchange.target.partition(b"?")[0]
        exchange.own_answer(308, b"Location: %b%b\r\n" % (entrance.redirect, exchange.target), b"")
    elif entrance.is_over(exchange.client.peer):
        exchange.be_the_last()
        exchange.refuse(Refusal.TLS_TOO_OLD)
    elif entrance.refuses_keys and came_in_clear(gateway, exchange):
        exchange.refuse(Refusal.KEY_IN_CLEAR)
    else:
        return False
    return True


def answer_health(gateway: Gateway, exchange: Exchange) -> None:
    """Whether this relay takes requests; for load balancers, without a key."""
    exchange.path = exchange.target
    leaves = gateway.draining and not gateway.replaced
    state = b"draining" if leaves else b"keys unavailable" if gateway.refuses_keys() else b"ok"
    body = b'{"status": "%b"}\n' % state
    exchange.own_answer(
        200 if state == b"ok" else 503,
        b"Content-Type: application/json\r\nCache-Control: no-store\r\n",
        body,
    )


def answer_preflight(gateway: Gateway, exchange: Exchange) -> bool:
    """Answer a CORS preflight for an operation that exists and has a policy; False where it is none."""
    fields = exchange.fields
    path = exchange.path = exchange.target.partition(b"?")[0]
    found = gateway.table.find_for_preflight(path, fields.requested_method)
    if type(found) is not Route or found.cors is None or not fields.origin or not allows(found.cors, fields.origin):
        return False
    exchange.route = found
    exchange.own_answer(
        204,
        preflight_fields(found.cors, fields.origin, fields.requested_method, gateway.settings.keys.headers),
        b"",
    )
    return True


def refusal_fields(gateway: Gateway, exchange: Exchange) -> bytes:
    """The field lines by which the page that called may read a refusal."""
    return answer_fields(_cors_of(gateway, exchange), exchange.fields.origin)


def _cors_of(gateway: Gateway, exchange: Exchange) -> Cors | None:
    """The policy of the operation that was called, known or not admitted: a page may read why it was refused."""
    found: object = exchange.route
    if found is None and exchange.refusal is not Refusal.INTERNAL_ERROR:
        # Refused before the look-up, or nothing was found.
        found = gateway.table.find(exchange.method, exchange.target.partition(b"?")[0])
    return found.cors if type(found) is Route else gateway.settings.cors
