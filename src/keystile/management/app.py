"""The management application: what is served on the management address.

Law: it puts the parts together (pages, API, health, metrics) and guards all of them alike: hosts, the fields that
tell browsers what they may not do, answers to what is not there. Calls that relays forward are not served here, and
on TCP identity fields are never read.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

from keystile.management import api
from keystile.management.api import problems
from keystile.management.context import SERVICES, Services
from keystile.management.health import Health
from keystile.management.identity import identified
from keystile.management.metrics import OPEN_METRICS, PROMETHEUS, Sample, exposition, wants_open_metrics
from keystile.management.pages import account, history, keys, layout, operators, reference, sign_in, usage
from keystile.storage.errors import StoreError

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024
"""Bytes: forms and documents here are small."""
_SECURITY = {
    # Scripts, styles and pictures are our own files; nothing stands inline, nothing is framed or sent elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_MACHINES = ("/health", "/metrics")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the application asks: ``health`` now, ``samples`` of all metrics."""

    health: Callable[[], Awaitable[Health]]
    samples: Callable[[], Awaitable[Iterable[Sample]]]


SOURCES: web.AppKey[Sources] = web.AppKey("sources", Sources)


def build(sources: Sources, services: Services, hosts: tuple[str, ...] = ()) -> web.Application:
    """The application.

    ``hosts``: the only values of Host that are answered. When empty: addresses and localhost, which no page elsewhere
    can have its own name point to (DNS rebinding); health and metrics, which hold nothing of anybody's, at any name.
    """
    app = web.Application(
        middlewares=[_secured, _told, _only_for(hosts), identified], client_max_size=LARGEST_BODY
    )
    app[SOURCES] = sources
    app[SERVICES] = services
    served = [web.get("/", _first), web.get("/health", _health), web.get("/metrics", _metrics)]
    for part in (layout, sign_in, account, keys, history, usage, reference, operators, api):
        served += part.routes()
    app.add_routes(
        web.route(one.method, one.path, one.handler, **{**one.kwargs, "expect_handler": _expected}) for one in served
    )
    return app


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """``Expect`` (RFC 9110 §10.1.1): aiohttp asks this before any middleware, and would quote what it does not know."""
    if request.headers["Expect"].lower() != "100-continue":
        return expectation_failed(request)
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
    return None


def expectation_failed(request: web.Request) -> web.StreamResponse:
    """The answer to an expectation that is not known, wherever it was sent."""
    answer = _say(request, 417, "Expectation failed", "The only expectation served is 100-continue.")
    _forbid(answer)
    return answer


@web.middleware
async def _secured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer, refusals of aiohttp's own included, forbids what a browser might do with it."""
    try:
        response = await handler(request)
    except web.HTTPException as refused:
        _forbid(refused)
        raise
    _forbid(response)
    return response


def _forbid(response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY)
    response.headers.setdefault("Cache-Control", "no-store")


def _only_for(hosts: tuple[str, ...]) -> Middleware:
    """Answer only requests for these hosts (with or without port): a page elsewhere cannot rebind its name to us."""
    allowed = {host.lower() for host in hosts}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.host.lower()
        name = _without_port(host)
        served = host in allowed or name in allowed if allowed else _is_nobodys(name) or request.path in _FOR_MACHINES
        if not served:
            raise web.HTTPMisdirectedRequest(text="this host is not served here; see management.hosts\n")
        return await handler(request)

    return check


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _is_nobodys(name: str) -> bool:
    """Whether a host is one whose meaning nobody else can set: an address, or localhost."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is wrong is said in the form that the caller reads: a page, or problem+json under /api/."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        if refused.status < 400 or refused.content_type in ("text/html", problems.CONTENT_TYPE):
            raise
        return _refused(request, refused)
    except StoreError as error:
        log.error("the store could not be used for %s %s: %s", request.method, request.path, error)
        said = "The store cannot be used right now. Nothing has been changed; try again in a moment."
        answer = _say(request, 503, "Store unavailable", said)
        answer.headers.setdefault("Retry-After", "1")
        return answer
    except ConnectionResetError:
        return web.Response(status=400)  # the client left in the middle of its body: nobody reads this
    except Exception:
        log.exception("internal error in %s %s", request.method, request.path)
        return _say(request, 500, "Internal error", "Something went wrong here. It has been logged.")


def _refused(request: web.Request, refused: web.HTTPException) -> web.StreamResponse:
    texts = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
        413: "The body is too large.",
    }
    answer = _say(request, refused.status, refused.reason, texts.get(refused.status, (refused.text or "").strip()))
    for name in ("Allow", "WWW-Authenticate", "Retry-After"):
        if name in refused.headers:
            answer.headers[name] = refused.headers[name]
    return answer


def _say(request: web.Request, status: int, title: str, text: str) -> web.StreamResponse:
    if request.path.startswith("/api/"):
        return problems.answer(status, title, text)
    if request.path in _FOR_MACHINES:
        return web.Response(status=status, text=f"{text}\n")
    return layout.refuse(request, status, title, text)


async def _first(_: web.Request) -> web.Response:
    raise web.HTTPSeeOther("/keys")


async def _health(request: web.Request) -> web.Response:
    health = await request.app[SOURCES].health()
    return web.json_response(health.to_dict(), status=health.http_status)


async def _metrics(request: web.Request) -> web.Response:
    open_metrics = wants_open_metrics(",".join(request.headers.getall("Accept", [])))
    text = exposition(await request.app[SOURCES].samples(), open_metrics=open_metrics)
    kind = OPEN_METRICS if open_metrics else PROMETHEUS
    return web.Response(body=text.encode(), headers={"Content-Type": kind, "Vary": "Accept"})
