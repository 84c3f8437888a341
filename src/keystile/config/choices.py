"""Settings that are one of a few words, or that only later versions serve.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right. A setting
that this version knows but does not serve is refused by name (``NotYet``), never ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from keystile.config.units import text

STORE = "sqlite:///"
NOT_YET = "is not yet served by this version"


class NotYet(ValueError):
    """The setting is known and will be served later; its value does not matter."""


def not_yet(what: str) -> Callable[[object], None]:
    """A reader that takes nothing (null, false) and refuses everything else by name."""

    def read(value: object) -> None:
        if value is not None and value is not False:
            raise NotYet(f"{NOT_YET} ({what}); leave it out")

    return read


def one_of(*words: str, instead: str = "") -> Callable[[object], str]:
    """A reader of one of a few words."""
    said = instead or " or ".join(words)

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"is not known here; write {said}")

    return read


def over_limit(value: object) -> Literal["refuse"]:
    """``refuse``; a mapping is read as ``WaitingSection``."""
    one_of("refuse", instead="refuse, or {wait_up_to: 2s, waiting_per_ip: 20}")(value)
    return "refuse"


def tls_version(value: object) -> str:
    """``1.2`` or ``1.3``, with or without quotes."""
    if value in ("1.0", "1.1"):
        raise ValueError("is older than what everybody may speak; write 1.2 or 1.3, and older versions under legacy")
    if value in ("1.2", "1.3"):
        return str(value)
    raise ValueError("is not a TLS version; write 1.2 or 1.3")


profile = one_of("intermediate", "modern")


def legacy_version(value: object) -> str:
    """``1.0`` or ``1.1``, with or without quotes."""
    if value in ("1.0", "1.1"):
        return str(value)
    raise ValueError("is not a TLS version before 1.2; write 1.0 or 1.1, or leave legacy out")


def only_true(value: object) -> Literal[True]:
    """``true``: these settings are there or not."""
    if value is True:
        return True
    raise ValueError("says nothing; write true, or leave it out")


def cors_off(value: object) -> Literal[False] | None:
    """``false`` (or ``off``) for no origins, null for those of all routes."""
    if value is None:
        return None
    if value is False or value in ("off", "false"):
        return False
    raise ValueError("is no mapping; write {origins: [...]}, or false for none")


def store(value: object) -> str:
    """The path of the store's file, as written: relative, or absolute after four slashes."""
    written = text(value)
    if written.startswith(("postgresql:", "postgres:")):
        raise ValueError(f"{NOT_YET} (stores in PostgreSQL); write such as sqlite:///keystile.db")
    path = written.removeprefix(STORE)
    if path == written or not path or path.endswith("/") or set("?#") & set(path):
        raise ValueError("is not a store; write such as sqlite:///keystile.db")
    if path == ":memory:":
        raise ValueError("is seen by one process only; write a file, such as sqlite:///keystile.db")
    return path


def slots(value: object) -> Literal["host"]:
    """``host``; counts over several hosts come later."""
    if isinstance(value, str) and value.startswith(("valkey:", "valkeys:", "redis:", "rediss:")):
        raise ValueError(f"{NOT_YET} (counting over several hosts); write host")
    one_of("host")(value)
    return "host"


def access_log(value: object) -> str | None:
    """``stdout``, a file as written, or None for none."""
    if value is False or value in ("off", "false"):
        return None
    # Words that somebody means as a choice, not as the name of a file.
    if not isinstance(value, str) or value.lower() in (
        "stderr",
        "on",
        "no",
        "yes",
        "none",
        "null",
        "true",
        "",
    ):
        raise ValueError("is no place for the access log; write stdout, off, or a file such as logs/access.log")
    return text(value)
