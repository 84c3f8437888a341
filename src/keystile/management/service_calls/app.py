"""The application on the Unix socket: the service's own key calls, and nothing else.

Law: the way of a call from its path to its answer. Only here are identity fields believed, since only relays reach
the socket (0600, in the store's directory) and they drop every such field that a client sends. What is served
on the management address (pages, API, health, metrics) is not here, and this is not there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from keystile.config.service_calls import CALLS
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.api.problems import Problem
from keystile.management.service_calls import errors
from keystile.management.service_calls.acting import Acting, Keys, acting
from keystile.management.service_calls.errors import Refused
from keystile.management.service_calls.kinds import ApiKeys, Credentials, SmtpCredentials
from keystile.management.service_calls.payload import LARGEST, NO_SUBACCOUNTS, Payload
from keystile.management.service_calls.place import Place, can_be_reached, place_of
from keystile.routing.table import RouteTable
from keystile.storage.errors import StoreError

log = logging.getLogger(__name__)

#: What each call needs, by kind, method, and whether it names one of them: the same table as the relays'.
NEEDS: Final = {(path.split("/")[1], method, "{" in path): frozenset(scopes) for path, method, scopes in CALLS}
CANNOT_BE_REACHED: Final = "No client could name this in a path. Choose a name without dots alone, backslashes or ;."


@dataclass(frozen=True, slots=True)
class Desk:
    """What the calls work with: ``prefix`` is that of ``management_routes``, ``clock`` gives Unix seconds."""

    store: Keys
    kinds: dict[str, Credentials]
    table: RouteTable
    prefix: str
    clock: Callable[[], float]


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)


def build(
    store: Keys,
    keys: KeyService,
    smtp: SmtpService,
    *,
    table: RouteTable,
    prefix: str,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """The application. ``table``: the relays' route table, which says what names can be reached."""
    app = web.Application(middlewares=[_told], client_max_size=LARGEST + 1)
    kinds: dict[str, Credentials] = {"apikeys": ApiKeys(keys), "smtp": SmtpCredentials(smtp)}
    app[DESK] = Desk(store, kinds, table, prefix, clock)
    app.router.add_route("*", "/{path:.*}", _answer)
    return app


async def _answer(request: web.Request) -> web.Response:
    """One call: where, what it needs, who acts, and only then what is done."""
    desk = request.app[DESK]
    place = place_of(request.raw_path, desk.prefix)
    method = "GET" if request.method == "HEAD" else request.method
    needed = NEEDS.get((place.kind, method, place.name is not None))
    if needed is None:
        raise Refused(errors.METHOD_NOT_ALLOWED if place.kind in desk.kinds else errors.NOT_FOUND)
    if any(value for name, value in request.query.items() if name.lower() == "subaccount"):
        raise Refused(errors.BAD_PAYLOAD, NO_SUBACCOUNTS)
    # Who sends a body slowly is asked for its key only when all of it is here.
    body = await request.read() if method in ("POST", "PUT") else b""
    by = await acting(request.headers, desk.store, needed, desk.clock())
    return await _DO[method](desk, by, place, body)


async def _get(desk: Desk, by: Acting, place: Place, _: bytes) -> web.Response:
    kind = desk.kinds[place.kind]
    if place.name is None:
        return web.json_response(await kind.every(by))
    return web.json_response(await kind.one(by, place.name))


async def _post(desk: Desk, by: Acting, place: Place, body: bytes) -> web.Response:
    wanted = _wanted(desk, place.kind, body)
    return web.json_response(await desk.kinds[place.kind].make(by, wanted), status=201)


async def _put(desk: Desk, by: Acting, place: Place, body: bytes) -> web.Response:
    wanted = _wanted(desk, place.kind, body)
    return web.json_response(await desk.kinds[place.kind].replace(by, place.name or "", wanted))


async def _delete(desk: Desk, by: Acting, place: Place, _: bytes) -> web.Response:
    await desk.kinds[place.kind].delete(by, place.name or "")
    return web.Response()


_DO: Final[dict[str, Callable[[Desk, Acting, Place, bytes], Awaitable[web.Response]]]] = {
    "GET": _get,
    "POST": _post,
    "PUT": _put,
    "DELETE": _delete,
}


def _wanted(desk: Desk, kind: str, body: bytes) -> Payload:
    wanted = desk.kinds[kind].read(body)
    name = wanted.name.strip()
    # An empty name, or one with control characters, breaks a rule of its own.
    if name.isprintable() and name and not can_be_reached(desk.table, desk.prefix, Place(kind, name)):
        raise Refused(errors.BAD_PAYLOAD, CANNOT_BE_REACHED)
    return wanted


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every fault in the service's form; nothing of these answers may be kept by anybody."""
    try:
        response = await handler(request)
    except ConnectionResetError:
        return web.Response(status=400)  # the relay has left, since its client has: nobody reads this
    except Exception as fault:  # noqa: BLE001 - what nobody expected is logged by ``_refusal``
        response = errors.answer(_refusal(request, fault), request.headers.get("X-Request-Id", ""))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "keystile"  # this goes to the public: no versions of ours
    return response


def _refusal(request: web.Request, fault: Exception) -> Refused:
    match fault:
        case Refused():
            return fault
        case KeyRuleBroken():
            return errors.of_rule(fault)
        case web.HTTPRequestEntityTooLarge():
            return Refused(errors.TOO_LARGE)
        case StoreError():
            log.error("the store could not be used for a key call: %s", fault)
            return errors.of_problem(Problem.STORE_UNAVAILABLE)
        case _:
            log.error("internal error in a key call (%s)", request.method, exc_info=fault)
            return errors.of_problem(Problem.INTERNAL_ERROR)
