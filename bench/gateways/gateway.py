"""What the bench asks of a gateway, and what every gateway is given.

The work, the same for all: no key or an unknown one 401 (SHA-256 of the secret looked up among all keys); a key
used from outside its network 403; an operation that the API does not have 404; one whose scopes the key lacks
403; more than CAP requests in flight from one address 429. On the request: the key's field removed, and the
fields that a client could spoof; X-Request-Id (new), X-Forwarded-For, -Proto, -Host, X-Keystile-Account, -Key and
-Scopes set, Via appended. On the answer: the same X-Request-Id set, Via appended. Kept-alive connections on both
sides. With the log on: one line of JSON for every request on standard output. What a gateway cannot do of it stands
in its ``leaves_out``, and why in its file.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.api import ApiCall
from bench.cases import CAP as CAP
from bench.cases import Case
from bench.keyset import KeySet

# X-Forwarded-* and X-Keystile-* besides.
SPOOFABLE = ("Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP")


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands around the gateway: the API and its document, the keys, the backend, the cores."""

    document: Path
    calls: tuple[ApiCall, ...]
    keys: KeySet
    backend_port: int
    gateway_core: int
    certificate: Path
    """PEM: certificate and private key, for clients that come over TLS."""
    spare_cores: tuple[int, ...] = ()
    """For more relays than one."""

    def gateway_cores(self, count: int) -> str:
        """Where a gateway of so many relays may run."""
        return ",".join(map(str, (self.gateway_core, *self.spare_cores)[:count]))

    def scope_names(self) -> list[str]:
        """Every scope that the API or a key names, sorted."""
        named = {scope for call in self.calls for scope in call.scopes}
        return sorted(named | {scope for key in self.keys.every() for scope in key.scopes})


class Gateway(Protocol):
    """A gateway under test."""

    name: str
    leaves_out: tuple[str, ...]
    """What of the work it does not do, in words for the report."""

    def missing(self) -> str | None:
        """What has to be installed before it can run, as a sentence; None when nothing is missing."""

    def prepare(self, scene: Scene, directory: Path) -> None:
        """Write what all its starts share (keys, routes) into ``directory``; called once."""

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """The command that serves 127.0.0.1:``port`` with what ``prepare`` left in ``directory``."""

    def version(self) -> str:
        """What it calls itself, for the table."""


def found(program: str) -> str | None:
    """Where a program is: beside this Python, where a wheel brings it, or on the path."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program, path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))
