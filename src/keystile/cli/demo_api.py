"""The small REST API that ``keystile demo`` puts the gateway in front of; it runs as a process of its own.

Law: this file is somebody's API and knows nothing of Keystile but the fields that the gateway adds to
a request. It keeps its data in memory and asks for no key: that is what the gateway is for.

``python -m keystile.cli.demo_api`` listens on a free port of 127.0.0.1, prints one line of JSON with that
port, and ends when its standard input ends, so that it cannot outlive the demo. ``--listen 0.0.0.0:9000`` is for
containers (deploy/compose.yaml), which have no standard input: it ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

SLOW_SECONDS = 2.0


@dataclass(slots=True)
class Data:
    """What the API holds: contacts by e-mail address, campaigns by name."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    campaigns: dict[str, dict[str, Any]] = field(default_factory=dict)


DATA = web.AppKey("DATA", Data)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the gateway says it."""

    account: str | None
    scopes: str | None
    address: str | None


def caller(request: web.Request) -> dict[str, Any]:
    """The fields that the gateway added, shown in every answer so that one sees them."""
    fields = request.headers
    return asdict(
        Caller(
            account=fields.get("X-Keystile-Account"),
            scopes=fields.get("X-Keystile-Scopes"),
            address=fields.get("X-Forwarded-For"),
        )
    )


async def list_contacts(request: web.Request) -> web.Response:
    """GET /v4/contacts."""
    contacts = list(request.app[DATA].contacts.values())
    return web.json_response({"contacts": contacts, "caller": caller(request)})


async def show_contact(request: web.Request) -> web.Response:
    """GET /v4/contacts/{email}."""
    contact = request.app[DATA].contacts.get(request.match_info["email"])
    if contact is None:
        return web.json_response({"error": "no such contact"}, status=404)
    return web.json_response({"contact": contact, "caller": caller(request)})


async def list_campaigns(request: web.Request) -> web.Response:
    """GET /v4/campaigns."""
    campaigns = list(request.app[DATA].campaigns.values())
    return web.json_response({"campaigns": campaigns, "caller": caller(request)})


async def add_campaign(request: web.Request) -> web.Response:
    """POST /v4/campaigns with ``{"name": …}``; the same name again replaces it."""
    try:
        body = await request.json()
        name = body["name"]
    except (ValueError, TypeError, KeyError):
        return web.json_response({"error": 'the body must be JSON such as {"name": "Spring"}'}, status=400)
    campaign = {"name": str(name), "status": "draft"}
    request.app[DATA].campaigns[campaign["name"]] = campaign
    return web.json_response({"campaign": campaign, "caller": caller(request)})


async def slow(request: web.Request) -> web.Response:
    """GET /v4/slow: takes two seconds, so that many calls are in flight at once."""
    await asyncio.sleep(SLOW_SECONDS)
    return web.json_response({"seconds": SLOW_SECONDS, "caller": caller(request)})


async def health(_: web.Request) -> web.Response:
    """GET /health."""
    return web.json_response({"status": "ok"})


def build() -> web.Application:
    """The API with a little data in it."""
    app = web.Application()
    people = ("ann@example.com", "bob@example.com")
    app[DATA] = Data(
        contacts={email: {"email": email, "status": "Active"} for email in people},
        campaigns={"Welcome": {"name": "Welcome", "status": "sent"}},
    )
    app.router.add_get("/v4/contacts", list_contacts)
    app.router.add_get("/v4/contacts/{email}", show_contact)
    app.router.add_get("/v4/campaigns", list_campaigns)
    app.router.add_post("/v4/campaigns", add_campaign)
    app.router.add_get("/v4/slow", slow)
    app.router.add_get("/health", health)
    return app


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of ``0.0.0.0:9000``; raises ArgumentTypeError."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 0.0.0.0:9000")
    return host.strip("[]"), int(port)


async def serve(listen: tuple[str, int] | None) -> None:
    """Listen, say where, and go on until standard input ends; or, at an address that was given, until SIGTERM."""
    runner = web.AppRunner(build(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, *(listen or ("127.0.0.1", 0))).start()
        stop: Awaitable[object] = _terminated() if listen else asyncio.to_thread(sys.stdin.buffer.read)
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await stop
    finally:
        await runner.cleanup()


def _terminated() -> Awaitable[bool]:
    """Done at SIGTERM, which from now on ends nothing by itself."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m keystile.cli.demo_api", description="A small API.")
    parser.add_argument("--listen", type=endpoint, metavar="HOST:PORT", help="until SIGTERM, for containers")
    asyncio.run(serve(parser.parse_args(arguments).listen))


if __name__ == "__main__":
    main()
