"""Settings that are one of a few words, or that only later versions serve.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right. A setting
that this version knows but does not serve is refused by name (``NotYet``), never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal

from keystile.config import database
from keystile.config.database import DatabaseUrl
from keystile.config.log_fields import FIELDS
from keystile.config.units import text, text_or_none

STORE = "sqlite:///"
DEFAULT_STORE = f"{STORE}keystile.db"
LONGEST_NAME = 64
"""Characters of what a host is called."""
NOT_YET = "is not yet served by this version"
# No user name: it would be a secret in clear, and gateway.yaml is no place for one.
_COLLECTOR = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")


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


def name_of_host(value: object) -> str | None:
    """What people call a host, or null."""
    written = text_or_none(value)
    if written is not None and len(written) > LONGEST_NAME:
        raise ValueError(f"is longer than {LONGEST_NAME} characters; write such as gateway-1")
    return written


def store(value: object) -> str | DatabaseUrl:
    """The path of the store's file, as written: relative, or absolute after four slashes. Or a database."""
    written = text(value)
    if database.is_database(written):
        return database.parse(written)
    path = written.removeprefix(STORE)
    if path == written or not path or path.endswith("/") or set("?#") & set(path):
        raise ValueError("is not a store; write such as sqlite:///keystile.db")
    if path == ":memory:":
        raise ValueError("is seen by one process only; write a file, such as sqlite:///keystile.db")
    return path


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


DEFAULT = "default"
"""The word that stands for the fields that a line has where nothing is said."""


def log_field(value: object) -> str:
    """The name of a member of access log lines, or ``default`` for all the usual ones."""
    written = text(value)
    if written == DEFAULT or written in FIELDS:
        return written
    near = get_close_matches(written, FIELDS, n=1)
    raise ValueError(f"is no field of the access log; write {near[0] if near else ', '.join([DEFAULT, *FIELDS])}")


def trace(value: object) -> str:
    """``pass``, ``begin`` or ``off``."""
    return "off" if value is False else one_of("pass", "begin", "off")(value)


def otlp(value: object) -> str | None:
    """The URL that spans are sent to, or None."""
    if value is None:
        return None
    written = text(value)
    if not _COLLECTOR.fullmatch(written):
        raise ValueError("is no address of a collector; write such as http://127.0.0.1:4318/v1/traces")
    return written
