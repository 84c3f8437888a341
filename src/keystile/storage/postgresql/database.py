"""Which database a store is in, and how it is reached.

Law: names and files, no connection. A password is never part of a ``Database``: it is read when a connection is made,
so one that was changed on disk counts for the next, and nothing that prints this object can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from keystile.storage.errors import told, unreadable

_LONGEST_PASSWORD = 4096
_DEFAULTS = {
    "connect_timeout": "3",
    "application_name": "keystile",
    # A peer that is gone without a word is noticed within five seconds, whether we wait for it or speak to it.
    "tcp_user_timeout": "5000",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    # Of several hosts, the one that takes changes.
    "target_session_attrs": "read-write",
}


@dataclass(frozen=True, slots=True)
class Database:
    """``options``: libpq's connection parameters (https://www.postgresql.org/docs/current/libpq-connect.html)."""

    options: tuple[tuple[str, str], ...]
    password_file: Path | None = None

    def __str__(self) -> str:
        """As a URL, without what is not needed to know which one it is."""
        said = dict(self.options)
        ports = said.get("port", "").split(",")
        hosts = said.get("host", "").split(",")
        if len(ports) == 1:
            ports *= len(hosts)
        named = zip((f"[{host}]" if ":" in host else quote(host, safe="") for host in hosts), ports, strict=False)
        places = (f"{host}:{port}" if port else host for host, port in named)
        user = quote(said.get("user", ""), safe="")
        return f"postgresql://{user}{'@' if user else ''}{','.join(places)}/{quote(said.get('dbname', ''), safe='')}"

    def parameters(self) -> dict[str, str]:
        """All that a connection is made with, the password included. Raises StoreUnreadable for its file."""
        said = {**_DEFAULTS, **dict(self.options)}
        if self.password_file is not None:
            said["password"] = _password(self.password_file)
        return said


def _password(file: Path) -> str:
    """What the file holds, without the end of its line."""
    with told(file), file.open("rb") as opened:
        content = opened.read(_LONGEST_PASSWORD + 1)
    try:
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise unreadable(file, "the password in it is no UTF-8") from None
    if not text or len(content) > _LONGEST_PASSWORD or "\0" in text or "\n" in text:
        raise unreadable(file, "it does not hold one line with a password")
    return text
