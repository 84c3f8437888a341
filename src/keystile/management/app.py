"""The management application: what is served on the management address.

Law: HTTP for people and machines who look after the gateway: health, metrics, and a plain page that says
what is here. It knows neither relays nor shared memory; what it shows is handed in as functions.
Calls that carry identity fields are not answered here: on TCP they are never read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from keystile import __version__
from keystile.management.health import Health
from keystile.management.metrics import CONTENT_TYPE, Sample, exposition

_SECURITY = {
    # Nothing may be loaded, framed or sent anywhere.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Keystile</title>
<h1>Keystile {__version__}</h1>
<p>This is the management address of an API-key gateway. The API itself is served elsewhere.</p>
<ul>
<li><a href="/health">/health</a>: whether the gateway does its work</li>
<li><a href="/metrics">/metrics</a>: numbers for Prometheus</li>
</ul>
</html>
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the application asks: ``health`` now, ``samples`` of all metrics."""

    health: Callable[[], Awaitable[Health]]
    samples: Callable[[], Awaitable[Iterable[Sample]]]


SOURCES: web.AppKey[Sources] = web.AppKey("sources", Sources)


def build(sources: Sources, hosts: tuple[str, ...] = ()) -> web.Application:
    """The application. ``hosts``: the only values of Host that are answered (any, when empty)."""
    middlewares: list[Middleware] = [_secured]
    if hosts:
        middlewares.append(_only_for(hosts))
    app = web.Application(middlewares=middlewares, client_max_size=64 * 1024)
    app[SOURCES] = sources
    app.add_routes([web.get("/", _page), web.get("/health", _health), web.get("/metrics", _metrics)])
    return app


@web.middleware
async def _secured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer, refusals of aiohttp's own included, forbids what a browser might do with it."""
    try:
        response = await handler(request)
    except web.HTTPException as refused:
        refused.headers.update(_SECURITY)
        raise
    response.headers.update(_SECURITY)
    return response


def _only_for(hosts: tuple[str, ...]) -> Middleware:
    """Answer only requests for these hosts (with or without port): a page elsewhere cannot rebind its name to us."""
    allowed = {host.lower() for host in hosts}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.host.lower()
        if host not in allowed and _without_port(host) not in allowed:
            raise web.HTTPMisdirectedRequest(text="this host is not served here\n")
        return await handler(request)

    return check


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


async def _page(_: web.Request) -> web.Response:
    return web.Response(text=_PAGE, content_type="text/html")


async def _health(request: web.Request) -> web.Response:
    health = await request.app[SOURCES].health()
    return web.json_response(health.to_dict(), status=health.http_status)


async def _metrics(request: web.Request) -> web.Response:
    text = exposition(await request.app[SOURCES].samples())
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
