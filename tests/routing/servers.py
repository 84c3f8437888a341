"""How common servers read a path, as small normalisers written from their documentation and known reports.

Law: each takes the raw path as the gateway forwards it and gives the segments its routes are matched with, or
None where that server refuses the path. They know nothing of the gateway's own rules.

Two things are simplified. Express matches literals against the undecoded path; here it decodes needless escapes
first, as the design fixes it (``/%61dmin`` is ``/admin``). Redirects (Flask on ``//``, nginx on a directory) are
taken as if the second request came through too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

Reading = Callable[[str], list[str] | None]


def decoded(path: str) -> str:
    """Percent-decoded once; what is no escape stays, what is no UTF-8 is replaced."""
    return unquote(path, errors="replace")


def without_dots(path: str) -> str:
    """Slashes merged and dot segments resolved; above the root stays the root."""
    kept: list[str] = []
    parts = re.sub(r"/+", "/", path)[1:].split("/")
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in {".", ""}:
            kept.append(part)
    tail = "/" if parts[-1] in {"", ".", ".."} and kept else ""
    return "/" + "/".join(kept) + tail


def split(path: str) -> list[str]:
    """The segments of a path that is decoded already."""
    return path[1:].split("/")


def nginx(path: str) -> list[str] | None:
    """location: decodes once, merges slashes, resolves dots; NUL is refused."""
    text = decoded(path)
    return None if "\0" in text else split(without_dots(text))


def express(path: str) -> list[str] | None:
    """path-to-regexp: splits the raw path, decodes each parameter, ignores a trailing slash (and case)."""
    parts = [decoded(part) for part in split(path)]
    return parts[:-1] if parts[-1] == "" and len(parts) > 1 else parts


def flask(path: str) -> list[str] | None:
    """WSGI: PATH_INFO is decoded as a whole; Werkzeug merges slashes."""
    return split(re.sub(r"/+", "/", decoded(path)))


def spring_path_pattern(path: str) -> list[str] | None:
    """PathPattern: splits, takes ;parameters off each segment, decodes it; a trailing slash did not matter in 5."""
    parts = [decoded(part.partition(";")[0]) for part in split(path)]
    return parts[:-1] if parts[-1] == "" and len(parts) > 1 else parts


def spring_ant(path: str) -> list[str] | None:
    """UrlPathHelper with AntPathMatcher: ;parameters off, decoded as a whole, slashes merged."""
    text = re.sub(r"/+", "/", decoded(re.sub(r";[^/]*", "", path)))
    return split(text[:-1] if text.endswith("/") and text != "/" else text)


def tomcat(path: str) -> list[str] | None:
    """CoyoteAdapter with encodedSolidusHandling=decode and allowBackslash: parameters off, decoded, normalised."""
    text = decoded(re.sub(r";[^/]*", "", path)).replace("\\", "/")
    return None if "\0" in text else split(without_dots(text))


def shiro(path: str) -> list[str] | None:
    """WebUtils (CVE-2020-11989): decoded, and everything behind the first semicolon off, in a filter's eyes."""
    return split(without_dots(decoded(path).partition(";")[0] or "/"))


def twice(path: str) -> list[str] | None:
    """A server that decodes behind one that has decoded already, and rewrites in between."""
    return nginx(re.split(r"[?#]", without_dots(decoded(path)), maxsplit=1)[0])


SERVERS: dict[str, Reading] = {
    each.__name__: each for each in (nginx, express, flask, spring_path_pattern, spring_ant, tomcat, shiro, twice)
}
IGNORES_CASE = {"express"}

# What a chain of servers may do to a raw path, in any order, before the last one splits and decodes it.
STEPS: tuple[Callable[[str], str], ...] = (
    decoded,
    without_dots,
    lambda path: re.sub(r";[^/]*", "", path),
    lambda path: path.partition(";")[0],
    lambda path: re.sub(r"/+", "/", path),
    lambda path: path.replace("\\", "/"),
)
