"""A short print of a configuration, by which several hosts see whether they run the same one.

Law: settings and the contents of files in, text out. The same settings give the same print on every host and by every
version that reads them so: what has its default is left out, so a new setting changes nothing before it is used.

Left out is what a host has of its own: the addresses (not the ports) that it listens on, the number of its relays, all
of ``store`` and ``database``, in which folder gateway.yaml lies, certificates and private keys. Documents and the
authorities that are believed count by their contents.

A print is shown, so nobody may find out from it what it was made of. The settings hold no secret (passwords stand in
files, which are not read here, and comments are no settings), and what is not secret but not for everybody, such as
addresses, cannot be guessed and tried either: a print is made with a key that the hosts share and nobody is shown.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from keystile.config.model import Certificate, Listener, Management, Operation, Settings, UpstreamTls

LENGTH: Final = 12
"""Hexadecimal characters: 48 bits tell any number of configurations apart that people write."""
_ITS_OWN: Final[dict[type, frozenset[str]]] = {
    Settings: frozenset({"file", "store", "database", "workers", "documents", "warnings"}),
    Listener: frozenset({"host"}),
    Management: frozenset({"host"}),
    Operation: frozenset({"source"}),
    Certificate: frozenset({"certificate", "private_key"}),
}
_ONLY_WHETHER: Final = frozenset({(UpstreamTls, "certificate"), (UpstreamTls, "private_key")})
"""What a host has of its own and another may lack: where it lies counts for nothing, but whether it is there does."""
Contents = Callable[[Path], bytes]


def print_of(settings: Settings, contents: Contents, key: bytes) -> str:
    """The print; ``contents``: of the files that the settings name. Raises KeyError for one that is not there."""
    return hmac.new(key, canonical(settings, contents), "sha256").hexdigest()[:LENGTH]


def canonical(settings: Settings, contents: Contents) -> bytes:
    """What prints are made of: one text for all that means the same."""
    files = [hashlib.sha256(contents(path)).hexdigest() for path in _files(settings)]
    said = {"settings": _plain(settings, settings.file.parent), "files": files}
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")


def _files(settings: Settings) -> Iterator[Path]:
    """Documents, and who may sign certificates; in the order in which they stand in the settings."""
    yield from settings.documents
    policies = [*(listener.tls for listener in settings.listeners), settings.management.tls]
    yield from (tls.client_certificates.ca for tls in policies if tls and tls.client_certificates)
    yield from (upstream.tls.ca for upstream in settings.upstreams if upstream.tls and upstream.tls.ca)


def _plain(value: Any, folder: Path) -> Any:
    """For JSON. Raises TypeError for a type that no setting has had so far."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        left_out = _ITS_OWN.get(type(value), frozenset())
        members = [each for each in dataclasses.fields(value) if each.name not in left_out]
        found = {each.name: getattr(value, each.name) for each in members if getattr(value, each.name) != each.default}
        whether = {name for kind, name in _ONLY_WHETHER if kind is type(value)}
        return {name: name in whether or _plain(member, folder) for name, member in found.items()}
    if isinstance(value, tuple):
        return [_plain(each, folder) for each in value]
    if isinstance(value, frozenset):
        return sorted(_plain(each, folder) for each in value)
    if isinstance(value, Path):
        return str(value.relative_to(folder)) if value.is_relative_to(folder) else str(value)
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a setting is of the type {type(value).__name__}, which has no place in a print")
