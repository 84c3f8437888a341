"""The gateway that all is done to: its gateway.yaml in every version that a reload makes of it.

Law: settings only. ``Wanted`` is what may change from one reload to the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import free_port

from keystile.wire.certificates import self_signed
from tests.chaos.kinds import CALM, LONE, SHAKY
from tests.soak.gateway import RealGateway

CARE: dict[str, dict[str, object]] = {
    CALM: {},
    SHAKY: {
        "health_check": {"path": "/health/now", "interval": "1s", "timeout": "500ms"},
        "breaker": {"open_for": "500ms"},
        "retries": {"attempts": 1, "budget": "20%"},
    },
    LONE: {"breaker": {"open_for": "500ms"}},
}
"""What is done about servers that fail, by upstream."""
SCOPE, OTHER = "Soak", "Other"
WORKERS = 2


@dataclass(slots=True)
class Ports:
    """Of the gateway's listeners."""

    plain: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)
    extra: int = field(default_factory=free_port)
    management: int = field(default_factory=free_port)


@dataclass(slots=True)
class Wanted:
    """``extra``: number of a route that comes and goes with a reload, 0 for none; ``listens``: on the port that comes
    and goes; ``swapped``: the shaky upstream's servers in the other order."""

    request_timeout: int = 600
    max_fields: int = 100
    extra: int = 0
    listens: bool = False
    swapped: bool = False


def written(wanted: Wanted, ports: Ports, servers: dict[str, int]) -> str:
    """gateway.yaml; JSON is YAML."""
    tls = {"certificate": "cert.pem", "private_key": "key.pem"}
    listeners: list[dict[str, object]] = [{"address": f"127.0.0.1:{ports.plain}"}]
    listeners += [{"address": f"127.0.0.1:{ports.extra}"}] if wanted.listens else []
    listeners += [{"address": f"127.0.0.1:{ports.tls}", "tls": tls}]
    shaky = ["shaky2", "shaky1"] if wanted.swapped else ["shaky1", "shaky2"]
    upstreams = {CALM: ["calm"], SHAKY: shaky, LONE: ["shaky2"]}
    return json.dumps(
        {
            "listeners": listeners,
            "management": {"address": f"127.0.0.1:{ports.management}"},
            "workers": WORKERS,
            "store": "sqlite:///keystile.db",
            "keys": {"per_account": 1000},
            "limits": {
                "request_timeout": f"{wanted.request_timeout}s",
                "max_fields": wanted.max_fields,
                "max_lag": "none",  # how busy this machine is is nobody's promise
            },
            "access_log": "access.log",
            "upstreams": {
                name: {"servers": [f"http://127.0.0.1:{servers[server]}" for server in behind], **CARE[name]}
                for name, behind in upstreams.items()
            },
            "routes": _routes(wanted),
        },
        indent=1,
    )


def _routes(wanted: Wanted) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"path": "/calm/ws", "methods": ["GET"], "scope": SCOPE, "websocket": True, "upstream": CALM},
        {"path": "/guarded/*", "scope": OTHER, "upstream": CALM},
        {"path": "/read/now", "methods": ["GET"], "scope": SCOPE, "upstream": CALM},
    ]
    rows += [{"path": f"/{name}/*", "scope": SCOPE, "upstream": name} for name in (CALM, SHAKY, LONE)]
    if wanted.extra:
        rows.append({"path": f"/extra{wanted.extra}/*", "scope": SCOPE, "upstream": CALM})
    return rows


class Ground:
    """The files of a gateway, and what is written in them now."""

    def __init__(self, directory: Path, servers: dict[str, int]) -> None:
        self.ports = Ports()
        self.wanted = Wanted()
        self._servers = servers
        self.gateway = RealGateway(directory, 1, WORKERS)
        self.commands_file = directory / "commands.yaml"
        """What other commands read, so that they work while gateway.yaml is a bad one: the same store."""
        self.log = directory / "access.log"
        for name, content in zip(("cert.pem", "key.pem"), self_signed(["localhost"], 2), strict=True):
            (directory / name).write_bytes(content)
        self.write()
        self.commands_file.write_text(self.gateway.file.read_text(encoding="utf-8"), encoding="utf-8")

    def write(self, more: str = "") -> None:
        """Write gateway.yaml anew, as editors do: another file under the same name. ``more`` makes it a bad one."""
        text = written(self.wanted, self.ports, self._servers)
        if more:
            text = text.replace('"limits":', f"{json.dumps(more)}: 1, \"limits\":", 1)
        beside = self.gateway.file.with_name("gateway.yaml.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.gateway.file)
