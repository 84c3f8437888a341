"""Texts of gateway.yaml that are names: of fields, parameters, scopes, methods, upstreams; and small choices.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right.
"""

from __future__ import annotations

import re
import warnings
from difflib import get_close_matches
from functools import lru_cache

from keystile.config.model import MANAGEMENT_UPSTREAM
from keystile.config.units import text

# RFC 9110 section 5.6.2
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]{1,100}")
_REDACTED = re.compile(r"\*?[A-Za-z0-9._~-]{1,100}\*?")
_UPSTREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
# A scope-token of RFC 6749 section 3.3 without the comma, as keys/scopes.py has it; a test holds them equal.
_SCOPE = re.compile(r"[!#-+\--\[\]-~]{1,200}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Fields that mean something else to the gateway on every request, so that none can carry a key.
_TAKEN_FIELDS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "via",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cookie",
        "origin",
        "date",
        "x-request-id",
        "access-control-request-method",
        "access-control-request-headers",
    }
)


def same_field(name: str) -> str:
    """One spelling for all that upstreams take for the same field: lower case, ``_`` as ``-``."""
    return name.lower().replace("_", "-")


def field_name(value: object) -> str:
    """The name of a request field."""
    if _TOKEN.fullmatch(written := text(value)):
        return written
    raise ValueError("is not the name of a field; write one such as X-Api-Key")


def key_field(value: object) -> str:
    """The name of a field that may carry a key."""
    name = field_name(value)
    plain = same_field(name)
    if plain in _TAKEN_FIELDS or plain.startswith(("x-forwarded-", "x-keystile-")):
        raise ValueError("cannot carry keys: the field has another meaning; write one such as X-Api-Key")
    return name


def query_parameter(value: object) -> str | None:
    """The name of a query parameter that may carry a key, or None."""
    if value is None:
        return None
    if _PARAMETER.fullmatch(written := text(value)):
        return written
    raise ValueError("is not the name of a query parameter; write letters, digits, '.', '_', '~' or '-'")


def redacted_parameter(value: object) -> str:
    """The name of a query parameter that is redacted, with ``*`` at either end for any text; ``*`` alone for all."""
    written = text(value)
    if written == "*" or _REDACTED.fullmatch(written):
        return written
    raise ValueError("is not the name of a query parameter; write such as token, *token* or *")


def scope(value: object) -> str:
    """The name of one permission."""
    if _SCOPE.fullmatch(written := text(value)):
        return written
    hint = "; several scopes are written as scopes: {all: [A, B]}" if re.search(r"[\s,]", written) else ""
    raise ValueError(f'is not a scope: 1 to 200 visible ASCII characters but comma, " and \\{hint}')


def method(value: object) -> str:
    """A request method (they are case-sensitive: RFC 9110 section 9.1)."""
    written = text(value)
    if written in ("TRACE", "CONNECT"):
        raise ValueError("is never forwarded; leave it out")
    if _METHOD.fullmatch(written):
        return written
    raise ValueError(f"is not a method; write {_nearest_method(written.upper())}")


@lru_cache(maxsize=64)  # one mistake often stands in every row
def _nearest_method(word: str) -> str:
    near = get_close_matches(word, _METHODS, n=1)
    return near[0] if near else "an upper-case word such as GET"


def upstream_name(value: object) -> str:
    """The name of an upstream."""
    if (written := text(value)) == MANAGEMENT_UPSTREAM:
        raise ValueError("is where management_routes leads, the gateway's own process; write another name")
    if _UPSTREAM.fullmatch(written):
        return written
    raise ValueError("is not a name for an upstream; write up to 64 letters, digits, '_', '.' or '-'")


def scope_source(value: object) -> str | None:
    """Where an OpenAPI document keeps permissions: ``security`` or the name of a field of its own."""
    if value is None:
        return None
    if re.fullmatch(r"security|x-[A-Za-z0-9_.-]{1,100}", written := text(value)):
        return written
    raise ValueError("is neither security nor a field of the document that begins with x-")


def description_pattern(value: object) -> str | None:
    """A regular expression with exactly one group, which finds the permissions in a description."""
    if value is None:
        return None
    written = text(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of patterns that will mean something else some day
            groups = re.compile(written).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if groups != 1:
        raise ValueError("must have exactly one group, such as 'Required Access Level: (.+)'")
    return written
