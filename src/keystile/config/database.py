"""Where a store in PostgreSQL is: the URL of ``store``, read as libpq reads it, and what is not good in it.

Law: text in, libpq's parameters out; no connection and no password. A URL with a password in it is refused: it would
stand in every copy of gateway.yaml.

Source: https://www.postgresql.org/docs/current/libpq-connect.html (34.1.1.2, connection URIs; 34.1.2, parameters).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

EXAMPLE: Final = "postgresql://keystile@db.example.com/keystile"
MIRROR: Final = "keystile-mirror.db"
"""What a host keeps of the keys, where ``database.mirror`` says nothing else."""
FILES: Final = ("sslrootcert", "sslcert", "sslkey")
"""Parameters that name a file."""
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_KNOWN: Final = ("application_name", "channel_binding", "connect_timeout", "sslmode", *FILES, "target_session_attrs")
_START: Final = re.compile(r"postgres(?:ql)?://", re.ASCII)
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?", re.ASCII)
_LOCAL: Final = re.compile(r"/.*|localhost|127\.[0-9.]+|::1", re.ASCII)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """``options``: libpq's parameters by name, files as they are written. ``is_local``: no network is on the way."""

    options: tuple[tuple[str, str], ...]
    is_local: bool

    def get(self, name: str) -> str:
        """A parameter; empty where it is not given."""
        return dict(self.options).get(name, "")

    @property
    def is_protected(self) -> bool:
        """Whether nobody on the way can read or change what is said."""
        return self.is_local or self.get("sslmode") in ("verify-ca", "verify-full")


def is_database(text: str) -> bool:
    """Whether it begins as the URL of a database does."""
    return _START.match(text) is not None


def parse(text: str) -> DatabaseUrl:
    """Read a URL. Raises ValueError, without repeating it."""
    rest, _, query = _START.sub("", text, count=1).partition("?")
    authority, slash, name = rest.partition("/")
    who, at, places = authority.rpartition("@")
    if ":" in who:
        raise ValueError("holds a password; write it into a file, and the file's name as database.password_file")
    if "#" in text or not slash or not name or "/" in name:
        raise ValueError(f"names no database; write such as {EXAMPLE}")
    hosts, ports = _places(places)
    said = {"host": ",".join(hosts), **({"port": ",".join(ports)} if any(ports) else {}), "dbname": _text(name)}
    if at:
        said["user"] = _text(who)
    is_local = all(_LOCAL.fullmatch(host) for host in hosts)
    return DatabaseUrl(tuple({**said, **_tls(_options(query), is_local=is_local)}.items()), is_local)


def shown(options: dict[str, str]) -> str:
    """As a URL again, without what is not needed to know which one it is."""
    hosts, ports = options["host"].split(","), options.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    named = [f"[{host}]" if ":" in host else quote(host, safe="") for host in hosts]
    places = [host + (f":{port}" if port else "") for host, port in zip(named, ports, strict=True)]
    user = f"{quote(options['user'], safe='')}@" if "user" in options else ""
    return f"postgresql://{user}{','.join(places)}/{quote(options['dbname'], safe='')}"


def _places(text: str) -> tuple[list[str], list[str]]:
    """Hosts and ports, as many of both."""
    hosts, ports = [], []
    for each in text.split(","):
        found = _PLACE.fullmatch(each)
        host = "" if found is None else _text(found[1]).strip("[]")
        port = "" if found is None else found[2] or ""
        if not host or (port and not 1 <= int(port) <= 65535):
            raise ValueError(f"names no host; write such as {EXAMPLE}, or %2Frun%2Fpostgresql for a socket's folder")
        hosts.append(host)
        ports.append(port)
    return hosts, ports


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    if unknown := sorted({name for name, _ in pairs} - set(_KNOWN)):
        raise ValueError(f"has the option {unknown[0][:40]!r}; known are {', '.join(_KNOWN)}")
    if len(dict(pairs)) < len(pairs) or any(not value or "\0" in value for _, value in pairs):
        raise ValueError("gives an option twice, or empty")
    return dict(pairs)


def _tls(options: dict[str, str], *, is_local: bool) -> dict[str, str]:
    """What is not said is the safe way: verified TLS, unless no network is on the way."""
    mode = options.setdefault("sslmode", "prefer" if is_local else "verify-full")
    if mode not in _MODES:
        raise ValueError(f"has an unknown sslmode; write one of {', '.join(_MODES)}")
    if mode == "verify-ca" and "sslrootcert" not in options:
        raise ValueError("needs sslrootcert for verify-ca, or any authority would do; or write verify-full")
    if mode == "verify-full":
        options.setdefault("sslrootcert", "system")
    return options


def _text(text: str) -> str:
    found = unquote(text, errors="strict")
    if "\0" in found or "," in found:
        raise ValueError("holds what no name can hold")
    return found
