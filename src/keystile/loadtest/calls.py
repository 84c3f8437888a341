"""The calls of a run: operations of a route table with plausible values in their paths, and how often each is made.

Law: values only; nothing is sent from here. Reading weighs most, as it does in what people do with an API. What
changes keys (``management_routes``) is never called, and a mix of reads holds nothing but GET.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import quote

from keystile.config.model import Needs, Operation
from keystile.loadtest.scenarios import Mix

Manner = Literal["plain", "drip", "sip"]
"""Sent and read at once; sent in small pieces; read in small pieces."""

WEIGHTS: Final[Mapping[str, int]] = {"GET": 12, "POST": 3, "PUT": 2, "PATCH": 1, "DELETE": 1}
"""How often an operation of each method is called, to the others; methods that are not here never are."""
BODY: Final = b'{"Name": "loadtest", "Status": "Draft"}'
LONG_BODY: Final = b'{"Name": "%s"}' % (b"loadtest " * 2000)
"""What drips."""
NUMBER: Final = "{n}"
"""Stands in a target for a number that differs from request to request."""
_VALUES: Final[Mapping[str, str]] = {
    "email": f"person{NUMBER}@example.com",
    "domain": f"mail{NUMBER}.example.com",
    "date": "2026-01-31",
    "name": f"spring-{NUMBER}",
    "id": f"10{NUMBER}",
}
"""Values of parameters by what their names end in; others get ``sample`` and a number."""
_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")
_WITHOUT_BODY: Final = ("GET", "HEAD", "DELETE")


@dataclass(frozen=True, slots=True)
class Call:
    """One operation: ``template`` as the table names it, ``target`` as it is sent, with ``{n}`` for a number.

    ``every`` and ``some``: the scopes of which a key needs all, and one. ``weight``: how often, to the others.
    """

    method: str
    template: str
    target: str
    weight: int = 1
    public: bool = False
    every: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    manner: Manner = "plain"

    @property
    def body(self) -> bytes:
        """What is sent with it."""
        if self.method in _WITHOUT_BODY:
            return b""
        return LONG_BODY if self.manner == "drip" else BODY

    def permits(self, scopes: Iterable[str]) -> bool:
        """Whether a key with these scopes may make it."""
        held = set(scopes)
        return held.issuperset(self.every) and (not self.some or not held.isdisjoint(self.some))


def calls_of(operations: Iterable[Operation], mix: Mix, *, writes: bool = True) -> tuple[Call, ...]:
    """The calls of a mix; without ``writes`` only what reads. The first row of an operation wins, as in the table."""
    methods = ("GET",) if mix == "reads" or not writes else tuple(WEIGHTS)
    found: dict[tuple[str, str], Call] = {}
    for operation in operations:
        for method in _methods(operation, methods):
            template = _PARAMETER.sub("{}", operation.path)
            found.setdefault((method, template), _call(operation, method))
    return tuple(found.values())


def key_only(target: str, method: str = "GET", manner: Manner = "plain") -> Call:
    """A call to a path that any valid key opens; ``target`` with its query."""
    return Call(method, target.partition("?")[0], target, manner=manner)


def slowly(calls: Iterable[Call]) -> tuple[Call, ...]:
    """What slow users do where nothing is made for them: the first call that only reads, dripped and sipped."""
    first = next((call for call in calls if call.method == "GET"), None)
    return () if first is None else (replace(first, manner="drip"), replace(first, manner="sip"))


def _methods(operation: Operation, methods: Iterable[str]) -> Iterator[str]:
    if operation.row < 0 or operation.websocket:
        return
    yield from (method for method in methods if not operation.methods or method in operation.methods)


def _call(operation: Operation, method: str) -> Call:
    needs: Needs = operation.needs
    path = _PARAMETER.sub(lambda found: _value(found[1]), operation.path)
    if path.endswith("*"):
        path = f"{path[:-1]}sample{NUMBER}"
    return Call(
        method,
        operation.path,
        quote(path, safe="/%!$&'()+,=:@~._-{}"),
        WEIGHTS[method],
        needs.public,
        tuple(sorted(needs.all_of)),
        tuple(sorted(needs.any_of)),
    )


def _value(name: str) -> str:
    lower = name.lower()
    return next((value for ending, value in _VALUES.items() if lower.endswith(ending)), f"sample{NUMBER}")
