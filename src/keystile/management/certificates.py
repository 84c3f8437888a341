"""Until when the certificates of a configuration are good, for metrics and pages.

Law: settings and the accepted contents of files in, plain values out. The warning at start is ``keystile check``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keystile.config.model import Settings, Tls
from keystile.wire.certificates import certificate_facts


@dataclass(frozen=True, slots=True)
class CertificateEnd:
    """``place``: who shows it, such as ``listener 192.0.2.1:8443``; ``file``: its path; ``ends``: Unix seconds."""

    place: str
    file: str
    names: tuple[str, ...]
    ends: float


def certificate_ends(settings: Settings, contents: Callable[[Path], bytes]) -> tuple[CertificateEnd, ...]:
    """Every certificate that is shown to clients or upstreams, the first to end first.

    One that this library cannot read (OpenSSL takes some) is left out; ``keystile check`` says so.
    """
    found = []
    for place, path in dict.fromkeys(_places(settings)):  # each once, whatever listeners share
        try:
            facts = certificate_facts(contents(path))
        except ValueError:
            continue
        found.append(CertificateEnd(place, str(path), facts.names, facts.not_after))
    return tuple(sorted(found, key=lambda one: (one.ends, one.place, one.file)))


def _places(settings: Settings) -> Iterator[tuple[str, Path]]:
    shown: list[tuple[str, Tls | None]] = [
        (f"listener {_address(one.host, one.port)}", one.tls) for one in settings.listeners
    ]
    management = settings.management
    shown.append((f"management {_address(management.host, management.port)}", management.tls))
    for place, tls in shown:
        if tls is not None:
            yield from ((place, one.certificate) for one in tls.certificates)
    for upstream in settings.upstreams:
        if upstream.tls is not None and upstream.tls.certificate is not None:
            yield f"upstream {upstream.name}", upstream.tls.certificate


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
