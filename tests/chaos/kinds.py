"""The kinds of requests that are sent, and what is a right answer to each whatever goes on: rows of data.

Law: data. What else an answer may be, and because of what, stands in ``rules.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

CALM, SHAKY, LONE = "calm", "shaky", "lone"
"""Upstreams: of a server that never fails; of two, of which one fails now and then; of that one alone."""

CUT = "cut"
"""An outcome: the connection ended before the answer was whole."""
NO_CONNECTION = "no connection"
LEFT = "left"
"""The caller hung up by itself."""
NO_ANSWER = "no answer"
"""Neither an answer nor an end of the connection, for longer than anything lasts here."""
WRONG = "wrong: "
"""How an outcome begins where an answer came that is not the one to this request."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``right``: outcomes that are as they must be (a status, ``LEFT``); ``upstream``: where it goes, empty where the
    gateway must answer it itself; ``once``: no server may see it twice, whatever goes on; ``capped``: more callers of
    its address than the cap has slots."""

    name: str
    right: tuple[str, ...] = ("200",)
    upstream: str = CALM
    once: bool = False
    capped: bool = False


_ROWS = (
    Kind("GET, kept connection"),
    Kind("GET, new connection"),
    Kind("GET, kept, shaky upstream", upstream=SHAKY),
    Kind("GET, new, shaky upstream", upstream=SHAKY),
    Kind("GET, kept, lone upstream", upstream=LONE),
    Kind("POST with length", once=True),
    Kind("POST in chunks", once=True),
    Kind("POST, shaky upstream", upstream=SHAKY, once=True),
    Kind("download with length"),
    Kind("download in chunks"),
    Kind("download, shaky upstream", upstream=SHAKY),
    Kind("slow to send", once=True),
    Kind("slow to read"),
    Kind("leaves before the answer", right=("200", LEFT)),
    Kind("leaves within the answer", right=("200", LEFT)),
    Kind("leaves within its body", right=(LEFT,), once=True),
    Kind("crowd of 26", capped=True),
    Kind("burst of 25", capped=True),
    Kind("GET over TLS, kept"),
    Kind("GET over TLS, new"),
    Kind("WebSocket", right=("101",)),
    Kind("wrong key", right=("401",), upstream=""),
    Kind("no key", right=("401",), upstream=""),
    Kind("missing scope", right=("403",), upstream=""),
    Kind("unknown path", right=("404",), upstream=""),
    Kind("wrong method", right=("405",), upstream=""),
    Kind("over a reload"),
    Kind("over an upgrade"),
    Kind("route that a reload made"),
    Kind("route that a reload took", right=("404",), upstream=""),
    Kind("listener that a reload made"),
    Kind("key that was created"),
    Kind("key that lost its scope", right=("403",)),
    Kind("key that has its scope again"),
    Kind("old secret of a changed key", right=("401",)),
    Kind("new secret of a changed key"),
    Kind("key that was deleted", right=("401",)),
)
KINDS = {kind.name: kind for kind in _ROWS}
