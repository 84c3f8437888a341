"""Who a request comes from: the cookie or the token it carries, its client's address, and whether it was meant.

Law: HTTP's side of ``access.py``. Nobody is believed here but by a secret, and no change made with a cookie is
believed unless a page of ours asked for it: it carries the session's own ``csrf`` text, and where the browser says
from where it was sent (Sec-Fetch-Site, Origin), that is here.

The cookie is HttpOnly and SameSite=Strict: no other site's page gets an answer meant for who has signed in, not even
to a plain link. Strict is no burden here, since nothing sends people links to these pages but for one-time links,
which need no session. On TLS it is Secure and has the prefix ``__Host-``, so that no neighbouring host can set it.

Refusals are aiohttp's own; the application writes them as pages, or as problem+json under ``/api/``.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from keystile.config.page import link_path
from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.wire import peer
from keystile.wire.forwarded import Told, told_by

__all__ = ["Identity", "link_path"]

IDENTITY: Final = web.RequestKey("identity", Identity)
BODY_WITHIN: Final = 30.0
"""Seconds that the body of a request has; it has 64 KiB at most."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Answered to everybody alike: no question to the store for each picture and each look at the metrics.
_FOR_ALL = re.compile(r"/static/.*|/health|/metrics")
# Forms of whoever has not signed in; they carry a token of their own (pages/first_form.py).
_BEFORE_SIGN_IN = frozenset({"/sign-in", "/link"})
_PLAIN = re.compile("/[!-~]*")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+) *")
_NOT_MEANT = "This request did not come from a page of ours, or the page is too old. Load the page again and repeat it."


@web.middleware
async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks, and refuse (403) a change by cookie that no page of ours asked for.

    Who asks is asked again when all of the request is here, so that one whose head came in with a session, a token
    or an account cannot wait with its body until these have ended.
    """
    if not _FOR_ALL.fullmatch(request.path):
        found = await _identify(request)
        if request.body_exists and (found is not None or request.path in _BEFORE_SIGN_IN):
            await _whole(request)
            found = await _identify(request)
        if found is not None:
            request[IDENTITY] = found
            guarded = request.method not in _SAFE and request.path not in _BEFORE_SIGN_IN
            if found.kind == "session" and guarded and not await _meant(request, found.csrf):
                raise web.HTTPForbidden(text=_NOT_MEANT)
    return await handler(request)


def identity_of(request: web.Request) -> Identity | None:
    """Who asks, if they have signed in."""
    return request.get(IDENTITY)


def account_of(request: web.Request) -> Identity:
    """Who asks; raises the answer for who has not signed in: to the sign-in page, or 401 under ``/api/``."""
    identity = identity_of(request)
    if identity is not None:
        return identity
    if _is_api(request):
        raise web.HTTPUnauthorized(
            text="Sign in, or send a management token as Bearer.",
            headers={"WWW-Authenticate": 'Bearer realm="keystile"'},
        )
    # What was to be changed is not repeated after signing in; its address may know no GET.
    back = f"?next={quote(request.path_qs, safe='/')}" if request.method in _SAFE else ""
    raise web.HTTPSeeOther(f"/sign-in{back}")


def operator_of(request: web.Request) -> Identity:
    """Who asks, an operator; raises as ``account_of``, and 403 for anybody else."""
    identity = account_of(request)
    if not identity.account.operator:
        raise web.HTTPForbidden(text="Only an operator may do this.")
    return identity


def actor(identity: Identity) -> str:
    """How the audit table calls who asks."""
    return identity.account.email


def origin_of(request: web.Request) -> str:
    """How the audit table says from where: "page from 192.0.2.1", "api from 192.0.2.1"."""
    return f"{'api' if _is_api(request) else 'page'} from {client_address(request)}"


def client_address(request: web.Request) -> str:
    """The client's address, after trusted proxies; "unknown" where there is none, as on a Unix socket."""
    ip = _socket_ip(request)
    return "unknown" if ip is None else str(_told(request, ip).address)


def secure(request: web.Request) -> bool:
    """Whether the browser speaks TLS: to us, or to a trusted proxy that says so."""
    if request.secure:
        return True
    ip = _socket_ip(request)
    trusted = ip is not None and peer.Trusted(services(request).settings.trusted_proxies).holds(ip)
    return ip is not None and trusted and _told(request, ip).proto.lower() == b"https"


def page_address(request: web.Request, path: str) -> str:
    """A path of ours as an address that somebody can be sent."""
    return f"{'https' if secure(request) else 'http'}://{request.host}{path}"


def link_address(request: web.Request, token: str) -> str:
    """The address of a one-time link."""
    return page_address(request, link_path(token))


def cookie_name(request: web.Request, name: str = "keystile") -> str:
    """The cookie's name, with the prefix by which browsers keep neighbouring hosts from setting it."""
    return f"__Host-{name}" if secure(request) else name


def set_cookie(
    request: web.Request, response: web.StreamResponse, value: str, name: str = "keystile", max_age: int | None = None
) -> None:
    """Set a cookie of ours; ``max_age`` in seconds, None for until the browser ends."""
    full, on_tls = cookie_name(request, name), secure(request)
    response.set_cookie(full, value, max_age=max_age, path="/", httponly=True, samesite="Strict", secure=on_tls)


def drop_cookie(request: web.Request, response: web.StreamResponse, name: str = "keystile") -> None:
    """Have the browser forget a cookie of ours."""
    set_cookie(request, response, "", name, max_age=0)


def local_path(text: str | None, otherwise: str = "/keys") -> str:
    """The path to go on to after signing in: what was asked for, if it can only mean a page of ours.

    Browsers take ``//host``, ``/\\host`` and ``/<tab>/host`` for other hosts, and dots resolve to the former.
    """
    if not text or not _PLAIN.fullmatch(text) or "\\" in text or "#" in text:
        return otherwise
    path = text.partition("?")[0]
    segments = path.split("/")[1:]
    # A "/" at the end is no harm; nothing between two slashes, and dots, make browsers and libraries go elsewhere.
    odd = "" in segments[:-1] or any(each in (".", "..") for each in segments)
    hidden = re.search("%(2[ef]|5c|[01].|7f)", path, re.IGNORECASE)
    if odd or hidden or segments[0] in ("sign-in", "sign-out", "link"):
        return otherwise
    return text


def sent_from_here(request: web.Request) -> bool:
    """Whether a browser sent this from a page of ours, as far as it says; programs say nothing, and pass."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    if origin == "null":
        # Forms of a page with "Referrer-Policy: no-referrer" have this Origin (Fetch, 3.2), as ours do.
        return site == "same-origin"
    return _is_ours(origin, request)


def same(given: str, expected: str) -> bool:
    """Whether two texts are the same, in constant time; nothing is the same as an empty one."""
    return bool(expected) and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


async def _meant(request: web.Request, csrf: str) -> bool:
    if not sent_from_here(request):
        return False
    given = request.headers.get("X-CSRF-Token")
    if given is None and request.content_type == "application/x-www-form-urlencoded":
        given = await _csrf_field(request)
    return same(given or "", csrf)


async def _whole(request: web.Request) -> None:
    """Read the body, which the application bounds (413), within ``BODY_WITHIN``; aiohttp keeps it for handlers."""
    try:
        async with asyncio.timeout(BODY_WITHIN):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The body did not arrive in time.") from None


async def _csrf_field(request: web.Request) -> str | None:
    try:
        given = (await request.post()).get("csrf")
    except (ValueError, LookupError):  # an unknown charset, bytes that are none of it
        raise web.HTTPBadRequest(text="The form cannot be read.") from None
    return given if isinstance(given, str) else None


async def _identify(request: web.Request) -> Identity | None:
    access = services(request).access
    if _is_api(request) and "Authorization" in request.headers:
        # A program that sends credentials means these, not a cookie that came along.
        bearer = _BEARER.fullmatch(request.headers["Authorization"])
        return await access.token(bearer[1], client_address(request)) if bearer else None
    secret = request.cookies.get(cookie_name(request))
    return await access.session(secret, client_address(request)) if secret else None


def _is_ours(origin: str, request: web.Request) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # https although we speak plain: by a proxy that we are not told to trust.
    schemes = ("https",) if secure(request) else ("http", "https")
    return parts.scheme in schemes and parts.netloc.lower() == request.host.lower()


def _is_api(request: web.Request) -> bool:
    return request.path.startswith("/api/")


def _told(request: web.Request, ip: peer.Address) -> Told:
    """What trusted proxies say of the client, in the one field that the settings name; the other is never read."""
    settings = services(request).settings
    trusted = peer.Trusted(settings.trusted_proxies)
    if settings.client_address_field == "Forwarded":
        return told_by(ip, _lines(request, "Forwarded"), trusted)
    address = peer.client_behind(ip, _lines(request, "X-Forwarded-For"), trusted)
    return Told(address, b",".join(_lines(request, "X-Forwarded-Proto")).rpartition(b",")[2].strip())


def _lines(request: web.Request, name: str) -> list[bytes]:
    return [line.encode("latin-1", "replace") for line in request.headers.getall(name, [])]


def _socket_ip(request: web.Request) -> peer.Address | None:
    try:
        return peer.parse_address(request.remote or "")
    except ValueError:
        return None
