"""The proxy that one writes first: aiohttp's web server and its client, on uvloop, with the same policy.

Law: plain, careful, complete as far as the bench looks (``gateways/gateway.py`` says what that is); nothing tuned
beyond what aiohttp's documentation recommends. It is here as the reason for the design, not as an option: besides
what it costs, it passes on another path than it authorised and does not notice a client that leaves.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"}
DROPPED = HOP_BY_HOP | {"x-api-key", "forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"}
DROPPED_BEGINNINGS = ("x-forwarded-", "x-keystile-")


@dataclass(frozen=True, slots=True)
class Key:
    """What a key may do, and what is told of it."""

    account: str
    id: str
    scopes: frozenset[str]
    scopes_text: str
    network: IPv4Network | IPv6Network


class Proxy:
    """The policy and the forwarding; aiohttp's router finds the operation."""

    def __init__(self, backend: str, keys: dict[bytes, Key], cap: int, log: bool) -> None:
        self.backend = URL(backend)
        self.keys = keys
        self.cap = cap
        self.log = log
        self.in_flight: Counter[str] = Counter()
        self.session: ClientSession

    async def hold_session(self, _: web.Application) -> AsyncIterator[None]:
        """One client session for the life of the application."""
        timeout = ClientTimeout(total=600, connect=5)
        connector = TCPConnector(limit=0)
        async with ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=DummyCookieJar()
        ) as self.session:
            yield

    def handler(self, path: str, needs: frozenset[str]) -> Handler:
        """The handler of one operation."""

        async def handle(request: web.Request) -> web.StreamResponse:
            began = time.monotonic()
            key = self.authenticate(request)
            if not needs <= key.scopes:
                raise web.HTTPForbidden(text="the key lacks a scope")
            address = request.remote or ""
            if self.in_flight[address] >= self.cap:
                raise web.HTTPTooManyRequests(headers={"Retry-After": "1"})
            self.in_flight[address] += 1
            request_id = str(uuid.uuid4())
            try:
                answer = await self.forward(request, key, address, request_id)
            finally:
                self.in_flight[address] -= 1
            if self.log:
                self.write_log(request, path, key, answer, request_id, time.monotonic() - began)
            return answer

        return handle

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        """No such operation, which only a valid key may learn."""
        self.authenticate(request)
        raise web.HTTPNotFound

    def authenticate(self, request: web.Request) -> Key:
        """The key, valid from this address."""
        secret = request.headers.get("X-Api-Key", "")
        key = self.keys.get(hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest())
        if key is None:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "ApiKey"})
        if ip_address(request.remote or "") not in key.network:
            raise web.HTTPForbidden(text="not from this address")
        return key

    async def forward(self, request: web.Request, key: Key, address: str, request_id: str) -> web.StreamResponse:
        """Pass the request on and its answer back, both as streams."""
        fields = _kept(request.headers)
        fields["X-Request-Id"] = request_id
        fields["X-Forwarded-For"] = address
        fields["X-Forwarded-Proto"] = request.scheme
        fields["X-Forwarded-Host"] = request.host
        fields["X-Keystile-Account"] = key.account
        fields["X-Keystile-Key"] = key.id
        fields["X-Keystile-Scopes"] = key.scopes_text
        fields.add("Via", "1.1 aiohttp")
        body = request.content if request.body_exists else None
        async with self.session.request(
            request.method, self.backend.join(request.rel_url), headers=fields, data=body, allow_redirects=False
        ) as given:
            answer = web.StreamResponse(status=given.status, reason=given.reason, headers=_kept(given.headers))
            answer.headers["X-Request-Id"] = request_id
            answer.headers.add("Via", "1.1 aiohttp")
            await answer.prepare(request)
            async for chunk in given.content.iter_any():
                await answer.write(chunk)
            await answer.write_eof()
            return answer

    def write_log(
        self, request: web.Request, route: str, key: Key, answer: web.StreamResponse, request_id: str, seconds: float
    ) -> None:
        """One line of JSON."""
        line = {
            "time": time.time(),
            "request_id": request_id,
            "address": request.remote,
            "account": key.account,
            "key": key.id,
            "method": request.method,
            "path": request.path,
            "route": route,
            "status": answer.status,
            "bytes_out": answer.content_length,
            "total": round(seconds * 1000, 3),
        }
        print(json.dumps(line))


def _kept(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (lower := name.lower().replace("_", "-")) not in DROPPED
        and lower not in named
        and not lower.startswith(DROPPED_BEGINNINGS)
    )


def _key(row: dict[str, Any]) -> Key:
    scopes = row["scopes"]
    return Key(row["account"], row["id"], frozenset(scopes), ",".join(scopes), ip_network(row["network"]))


def main(port: str, backend: str, file: str, cap: str, log: str, certificate: str = "") -> None:
    """Serve 127.0.0.1:``port``; over TLS where there is a certificate (PEM, with its key)."""
    said = json.loads(Path(file).read_text())
    keys = {bytes.fromhex(digest): _key(row) for digest, row in said["keys"].items()}
    proxy = Proxy(backend, keys, int(cap), log == "log")
    application = web.Application(client_max_size=0)
    application.cleanup_ctx.append(proxy.hold_session)
    for method, path, scopes in sorted(said["calls"], key=lambda call: "{" in call[1]):  # literals first
        application.router.add_route(method, path, proxy.handler(path, frozenset(scopes)))
    application.router.add_route("*", "/{rest:.*}", proxy.unknown)
    uvloop.install()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    web.run_app(application, host="127.0.0.1", port=int(port), ssl_context=tls, access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
