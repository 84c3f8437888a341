"""Parameters of the query: which there are, how each is read, and how the document describes it.

Law: one table. What is not in it, or is given twice, is refused and named; nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from keystile.keys import naming
from keystile.management.api.problems import ApiProblem, Problem

MOST: Final = 100
"""Items of one page."""
USUAL: Final = 50
MOST_HOURS: Final = 24 * 31
"""How far back usage can be asked for."""
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``read`` turns its text into a value, or raises ValueError with a sentence that says why not."""

    name: str
    schema: Mapping[str, object]
    description: str
    read: Callable[[str], Any]
    absent: Any = None


def _number(first: int, last: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # Plain digits only: int() would also take "+5", "5_0" and digits of other scripts.
        if not _NUMBER.fullmatch(text) or not first <= int(text) <= last:
            raise ValueError(f"A whole number from {first} to {last}.")
        return int(text)

    return read


def _email(text: str) -> str:
    try:
        return naming.email_address(text)
    except ValueError:
        raise ValueError("An e-mail address.") from None


LIMIT: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
    "How many items one page has at most.",
    _number(1, MOST),
    USUAL,
)
CURSOR: Final = Parameter(
    "cursor",
    {"type": "string", "minLength": 1, "maxLength": 1000},
    "Where the page begins: `next` of the one before. It means nothing else.",
    str,
)
ACCOUNT: Final = Parameter(
    "account",
    {"type": "string", "minLength": 3, "maxLength": naming.MAX_EMAIL_LENGTH},
    "Whose; an operator may name any account's e-mail address, everybody else only their own. Default: one's own.",
    _email,
)
HOURS: Final = Parameter(
    "hours",
    {"type": "integer", "minimum": 1, "maximum": MOST_HOURS, "default": 24 * 7},
    "How many hours back.",
    _number(1, MOST_HOURS),
    24 * 7,
)
PAGING: Final = (LIMIT, CURSOR)


def read_query(request: web.Request, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Return the value of every parameter, what is absent included; raises ApiProblem (400)."""
    known = {parameter.name: parameter for parameter in parameters}
    values = {name: parameter.absent for name, parameter in known.items()}
    given: set[str] = set()
    for name, text in request.query.items():
        if name not in known:
            raise ApiProblem(Problem.MALFORMED, "There is no such parameter.", field=name)
        if name in given:
            raise ApiProblem(Problem.MALFORMED, "A parameter is given twice.", field=name)
        given.add(name)
        values[name] = _read(known[name], text)
    return values


def _read(parameter: Parameter, text: str) -> Any:
    try:
        return parameter.read(text)
    except ValueError as fault:
        raise ApiProblem(Problem.MALFORMED, str(fault), field=parameter.name) from None
