"""A query as the access log may hold it: where values are redacted by name, and keys wherever they stand.

Law: bytes as they came in, text that may be read by whoever reads logs out. It says too little rather than too much:
a piece of which it is not clear what a server would read in it is redacted whole. What goes on to the upstream is not
touched here.

Names are compared as the most lenient server would read them: decoded however often they were encoded, in lower case,
``_`` as ``-``, without control characters, and each part of ``user[password]`` and ``user.password`` by itself. Names
are also looked for inside of values (``next=/x?apikey=…``, ``a=1;apikey=…``, JSON). All work is linear in the
query's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from keystile.keys.secret import redact

REDACTED: Final = "[redacted]"
#: Characters of a query that are logged; pieces beyond are left out whole, since a key cut in two is not recognised.
LONGEST: Final = 4096
#: How often a piece may be encoded over and over before it is redacted unread.
MOST_LAYERS: Final = 4
#: Names by which keys are sent, whatever the settings say.
ALWAYS: Final = ("apikey", "api-key", "x-api-key", "authorization")

_CONTROLS: Final = bytes([*range(0x20), 0x7F])
_AROUND_NAMES: Final = b"&;?#/\\ ,{}[]()<>\"'|$+"
_TO_SPACES: Final = bytes.maketrans(_AROUND_NAMES, b" " * len(_AROUND_NAMES))
_COLON_AS_EQUALS: Final = bytes.maketrans(b":", b"=")


class Redaction:
    """``names``: of parameters, in which ``*`` at an end stands for any text; ``carriers``: names that carry keys."""

    def __init__(self, names: Iterable[str], carriers: Iterable[str] = ()) -> None:
        wanted = [_plain(name) for name in (*names, *carriers, *ALWAYS)]
        self._all = "*" in wanted
        self._whole = frozenset(name for name in wanted if "*" not in name)
        self._ends = tuple(name[1:] for name in wanted if name[:1] == "*" and "*" not in name[1:])
        self._starts = tuple(name[:-1] for name in wanted if name[-1:] == "*" and "*" not in name[:-1])
        self._within = tuple(name[1:-1] for name in wanted if name[:1] == name[-1:] == "*" and len(name) > 2)

    def covers(self, name: str) -> bool:
        """Whether the value of this parameter (as ``_plain`` has it) is not for the log."""
        return (
            self._all
            or name in self._whole
            or name.startswith(self._starts)
            or name.endswith(self._ends)
            or any(part in name for part in self._within)
        )

    def of(self, query: bytes) -> str:
        """``query`` (what stands behind the ``?``) without what is not for the log."""
        pieces, cut = _shortened(query)
        told = [self._piece(piece) for piece in pieces]
        return redact("&".join([*told, "…"] if cut else told))

    def _piece(self, piece: bytes) -> str:
        """One parameter. Told as it was written, unless a key was encoded in it."""
        name, equals, _ = piece.partition(b"=")
        whole, inner = _decoded(piece), _decoded(name)
        if whole is None or inner is None or any(map(self.covers, _names(inner, is_name=False))):
            return REDACTED
        if any(map(self.covers, _names(whole, is_name=not equals))):
            return f"{redact(name.decode('latin-1'))}={REDACTED}" if equals else name.decode("latin-1")
        decoded = whole.decode("latin-1")
        said = redact(decoded)
        return said if said != decoded else piece.decode("latin-1")


def _shortened(query: bytes) -> tuple[list[bytes], bool]:
    """The parameters that fit, and whether there are more."""
    if len(query) <= LONGEST:
        return query.split(b"&"), False
    return query[: LONGEST + 1].split(b"&")[:-1], True


def _decoded(piece: bytes) -> bytes | None:
    """``piece`` with every layer of encoding taken off; None where that has no end."""
    for _ in range(MOST_LAYERS):
        inner = unquote_to_bytes(piece) if b"%" in piece else piece
        if inner == piece:
            return piece
        piece = inner
    return None


def _names(decoded: bytes, *, is_name: bool) -> Iterator[str]:
    """Everything in it that could be a name: what stands before ``=`` or ``:``; with ``is_name`` all of it."""
    parts = decoded.translate(_COLON_AS_EQUALS, _CONTROLS).split(b"=")
    for part in parts if is_name else parts[:-1]:
        for word in part.translate(_TO_SPACES).split():
            name = _plain(word.decode("latin-1"))
            yield name
            if "." in name:
                yield from name.split(".")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
