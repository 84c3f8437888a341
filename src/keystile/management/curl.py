"""An operation as a line for curl, with the key where it belongs.

Law: text for somebody to paste into a shell. Every word that comes from a document or from settings is quoted for
the shell, so that nothing in it is ever run; the key is a placeholder. Nothing is sent from here.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from keystile.config.model import KeyPolicy, Listener, Settings
from keystile.management.reference import Entry, cut
from keystile.management.schema import Body, Details, Parameter
from keystile.routing.conflicts import EVERY

KEY: Final = "YOUR_API_KEY"
_LONGEST_WORD: Final = 600
_NAME: Final = re.compile(r"\{([^{}]*)\}")
_ODD: Final = re.compile(r"[^A-Za-z0-9]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.\[\]-]+").fullmatch
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}").fullmatch
_NEXT_LINE: Final = "\\\n  "


def curl(entry: Entry, details: Details, settings: Settings, host: str) -> str:
    """The command. ``host``: the name by which the reader reached us, for listeners on every address."""
    url = base_url(settings.listeners, host) + _path(entry, details.parameters)
    query = [_pair(one) for one in details.parameters if one.place == "query" and one.required]
    words = ["curl"]
    if entry.method == "HEAD":
        words.append("--head")
    elif entry.method not in ("GET", EVERY):
        words += ["-X", _quoted(entry.method)]
    key_field, key_query = ([], []) if entry.needs.public else credential(settings.keys)
    query += key_query
    words.append(_quoted(cut(url, 4 * _LONGEST_WORD) + ("?" + "&".join(query) if query else "")))
    options = [*key_field, *_fields(details.parameters), *_body(details.body)]
    return " ".join(words) + "".join(f" {_NEXT_LINE}{option}" for option in options)


def base_url(listeners: Sequence[Listener], host: str) -> str:
    """Where clients reach the gateway: its first listener with TLS, else its first."""
    listener = next((one for one in listeners if one.tls), listeners[0])
    scheme, usual = ("https", 443) if listener.tls else ("http", 80)
    name = listener.host
    if name in ("0.0.0.0", "::"):
        name = host if _is_host(host) else "localhost"
    name = f"[{name}]" if ":" in name else name
    # Port 0 is any free one, which only the running gateway knows.
    port = "" if listener.port == usual else f":{listener.port or 'PORT'}"
    return f"{scheme}://{name}{port}"


def credential(policy: KeyPolicy) -> tuple[list[str], list[str]]:
    """Where the key goes: options of curl, and pairs of the query where there is no field for it."""
    if not policy.headers:
        return [], [f"{quote(policy.query_parameter or 'apikey', safe='')}={KEY}"]
    first = policy.headers[0]
    value = f"Bearer {KEY}" if first.lower() == "authorization" else KEY
    return [f"-H {_quoted(f'{first}: {value}')}"], []


def _is_host(text: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return _HOST(text) is not None


def _path(entry: Entry, parameters: Sequence[Parameter]) -> str:
    """The path with examples for parameters, or their names in capitals: curl would expand braces."""
    given = {one.name: one.example for one in parameters if one.place == "path" and one.example}
    path = _NAME.sub(lambda name: quote(given.get(name[1]) or _placeholder(name[1]), safe=""), entry.path)
    # What a template may hold beyond ASCII a request holds in escapes.
    return quote(path.removesuffix("*") + ("..." if path.endswith("*") else ""), safe="/%!$&'()+,;=:@~._-")


def _placeholder(name: str) -> str:
    return _ODD.sub("_", name).strip("_").upper() or "VALUE"


def _pair(parameter: Parameter) -> str:
    value = parameter.example or _placeholder(parameter.name)
    return f"{quote(parameter.name, safe='')}={quote(value, safe='')}"


def _fields(parameters: Sequence[Parameter]) -> Iterator[str]:
    for one in parameters:
        # A name beginning with @ would be a file to curl.
        if one.place == "header" and one.required and _TOKEN(one.name):
            yield f"-H {_quoted(f'{one.name}: {one.example or _placeholder(one.name)}')}"


def _body(body: Body | None) -> Iterator[str]:
    """Short JSON as it is; other bodies from a file, since nobody pastes those."""
    if body is None:
        return
    if body.media_type.startswith("multipart/"):
        name = next((one.name for one in body.fields if "binary" in one.kind or "byte" in one.kind), "file")
        name = name if _TOKEN(name) else "file"  # "a=@/etc/passwd" would send that file along
        yield f"-F {_quoted(f'{name}=@FILE')}"
        return
    yield f"-H {_quoted(f'Content-Type: {body.media_type}')}"
    yield f"--data-binary {_quoted(_one_line(body.example) or '@BODY')}"


def _one_line(example: str) -> str:
    """JSON without white space, where that is short and no end is missing."""
    try:
        line = json.dumps(json.loads(example), ensure_ascii=False)
    except ValueError:
        return ""
    # A string that began with @ would name a file to curl; JSON's begin with a quotation mark.
    return line if len(line) <= _LONGEST_WORD else ""


def _quoted(word: str) -> str:
    """A word for the shell, on one line: what ends a line has no business in a command to be pasted."""
    return shlex.quote(_CONTROL.sub(" ", word))
