"""The operations of ``management_routes``: the service's own key calls, and what each needs.

Law: one table, and which rows of gateway.yaml get in its way. How the calls are answered is management's
business; that a document may hold the same operations is no fault, since it describes the whole service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from keystile.config import templates, tokens
from keystile.config.faults import Fault
from keystile.config.model import MANAGEMENT_UPSTREAM, Cors, Needs, Operation
from keystile.config.written import Written
from keystile.config.yamltext import Loc

PLACE: Final[Loc] = ("management_routes",)
VIEW: Final = "ViewAccessTokens"
MODIFY: Final = "ModifyAccessTokens"
SEND: Final = "SendSmtp"
#: Path below the prefix, method, scopes. A key that makes an SMTP credential hands on SendSmtp, so it needs it.
CALLS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("/apikeys", "GET", (VIEW,)),
    ("/apikeys", "POST", (MODIFY,)),
    ("/apikeys/{name}", "GET", (VIEW,)),
    ("/apikeys/{name}", "PUT", (MODIFY,)),
    ("/apikeys/{name}", "DELETE", (MODIFY,)),
    ("/smtp", "GET", (VIEW,)),
    ("/smtp", "POST", (MODIFY, SEND)),
    ("/smtp/{name}", "GET", (VIEW,)),
    ("/smtp/{name}", "PUT", (MODIFY,)),
    ("/smtp/{name}", "DELETE", (MODIFY,)),
)

_Shape = tuple[str | None, ...]


def operations(written: Written, cors: Cors | None) -> list[Operation]:
    """The operations, before those of any row; none where ``management_routes`` is not set or has a fault."""
    prefix = _prefix(written)
    if prefix is None:
        return []
    return [
        Operation(
            methods=(method,),
            path=prefix + path,
            needs=Needs(all_of=frozenset(scopes)),
            upstream=MANAGEMENT_UPSTREAM,
            source=written.source(PLACE),
            row=-1,
            override=True,
            cors=cors,
        )
        for path, method, scopes in CALLS
    ]


def check(written: Written) -> Iterator[Fault]:
    """Rows that say themselves what one of these calls needs: they would never count, and were meant to.

    A row with another shape is none of them (``/v4/*``, ``/v4/security/{kind}``): there the usual order holds,
    a literal before a parameter before everything below.
    """
    prefix = _prefix(written)
    if prefix is None:
        return
    ours = [(_shape(prefix + path), method) for path, method, _ in CALLS]
    for loc in written.items("routes"):
        path = written.read(templates.template, *loc, "path")
        if path is None:
            continue
        methods = {written.read(tokens.method, *each) for each in written.items(*loc, "methods")}
        taken = [method for shape, method in ours if shape == _shape(path) and (method in methods or not methods)]
        if taken:
            message = f"is what management_routes serves ({' '.join(taken)}); leave out this row, or management_routes"
            yield written.fault((*loc, "path"), message, show=True)


def _prefix(written: Written) -> str | None:
    return written.read(templates.calls_prefix, *PLACE, "prefix")


def _shape(path: str) -> _Shape:
    """Segments as requests are compared with them: decoded, and None for a parameter."""
    return tuple(None if part.startswith("{") else unquote(part) for part in path.split("/"))
