"""Paths of gateway.yaml: templates of routes, prefixes of documents, the health path.

Law: says which templates are well formed; which request matches one is ``routing``'s to say. Literals are
written as in a URL (``/a%20b``; letters beyond ASCII also as they are) and compared decoded, so an escape must
not hide what the gateway refuses in requests. Same words as in ``units.py``: ValueError with what would be right.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from keystile.config.units import text

LONGEST = 2000
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.-]{0,99}\}")
# Not of control characters, nor of % / ; \\: what hides behind those is refused or read twice.
_ESCAPE = re.compile(r"%(?!25|2[Ff]|3[Bb]|5[Cc]|7[Ff])[2-9A-Fa-f][0-9A-Fa-f]")
_EXAMPLE = "such as /v4/files/{name}"


def template(value: object) -> str:
    """A route's path: ``/v4/files/{name}``, ``/v2/*``.

    ``{name}`` stands for one whole segment, ``/*`` only at the end and for everything below.
    """
    path = _path(value)
    segments = path[1:].split("/")
    if segments[-1] == "*":
        segments.pop()
    for segment in segments:
        _check_segment(segment)
    names = [segment for segment in segments if segment.startswith("{")]
    if len(set(names)) != len(names):
        raise ValueError("names two segments alike; give each its own name")
    return path


def prefix(value: object) -> str:
    """What is put before every path of a document: nothing, or such as ``/v4``."""
    if value in ("", None, "/"):
        return ""
    path = _path(value)
    if set("{}*") & set(path):
        raise ValueError("is not a prefix; write plain segments, such as /v4")
    return path.rstrip("/")


def calls_prefix(value: object) -> str:
    """What is put before the service's own key calls: such as ``/v4/security``; ``/`` for nothing."""
    if value is None:
        raise ValueError("is empty; write such as /v4/security, or / for nothing")
    return prefix(value)


def health_path(value: object) -> str | None:
    """One plain path that the relays answer themselves, or None."""
    if value is None:
        return None
    path = _path(value)
    # No escapes, so that the raw path of a request can be compared byte for byte.
    if not path.isascii() or set("{}*%") & set(path):
        raise ValueError("is not a plain path; write one such as /healthz")
    return path


def probe_path(value: object) -> str:
    """What servers are asked for when they are asked whether they are well: a path, perhaps with a query."""
    path = text(value)
    if not path.startswith("/") or not path.isascii() or set(" #\\") & set(path) or len(path) > LONGEST:
        raise ValueError("is not what a server can be asked for; write a path such as /health")
    return path


def _path(value: object) -> str:
    """A path that begins with ``/``, with nothing in it that the gateway refuses in requests."""
    path = text(value)
    if not path.startswith("/"):
        raise ValueError(f"does not begin with /; write a path {_EXAMPLE}")
    if len(path) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    for character, meaning in (("?", "a query"), ("#", "a fragment"), ("\\", "a backslash"), (";", "a parameter")):
        if character in path:
            raise ValueError(f"holds {meaning}; write the path alone, {_EXAMPLE}")
    if " " in path:
        raise ValueError("holds a space; write it as %20")
    if "%" in _ESCAPE.sub("", path):
        raise ValueError("holds a % that is no escape of a plain character, such as %20 for a space")
    segments = _decoded(path[1:]).split("/")
    if "" in segments[:-1]:
        raise ValueError("holds an empty segment (//), which the gateway refuses in every request")
    if {".", ".."} & set(segments):
        raise ValueError("holds a . or .. segment, which the gateway refuses in every request")
    return path


def _decoded(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("holds escapes that are not UTF-8") from None


def _check_segment(segment: str) -> None:
    if "*" in segment:
        raise ValueError("has * elsewhere than as its last segment; write such as /v2/*")
    if set("{}") & set(segment) and not _PARAMETER.fullmatch(segment):
        raise ValueError(f"has braces that are not one whole segment with a name; write {_EXAMPLE}")
