"""The keys that a run calls with, and what each must get for a call.

Law: secrets come from a file or the environment, never from the command line, and are in no text that this file
makes: people see a key's name and its last five characters. The right answer to a call follows from what a key
holds; that is what makes a refusal right or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keystile.keys import secret as secrets
from keystile.loadtest.calls import Call
from keystile.loadtest.scenarios import Role

ENVIRONMENT: Final = "KEYSTILE_LOADTEST_KEYS"
ANSWERED: Final = "answered"
"""The outcome of a request that reached the API and was answered."""
_REFUSED: Final[dict[Role, str]] = {
    "elsewhere": "address-not-allowed",
    "unknown": "invalid-api-key",
    "none": "api-key-required",
}
_SECRET: Final = re.compile(r"[\x21-\x7e]{16,512}").fullmatch


class BadKeys(ValueError):
    """Keys that cannot be read; the text names the line and never what stands in it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One key. ``scopes``: what it holds, None where nobody said (then it may do everything).

    ``refused``: the problem type that every call with it gets, empty for a key that is let in.
    """

    name: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] | None = None
    refused: str = ""

    @property
    def hint(self) -> str:
        """Its last five characters; empty where no key is sent."""
        return secrets.hint(self.secret)

    def right(self, call: Call) -> str:
        """The outcome that a call with it must have."""
        if call.public:
            return ANSWERED
        if self.refused:
            return self.refused
        return ANSWERED if self.scopes is None or call.permits(self.scopes) else "scope-missing"


def made(role: Role, secret: str, scopes: Iterable[str]) -> Credential:
    """A key that was made for a run, in its role."""
    return Credential(role, secret, tuple(sorted(scopes)), _REFUSED.get(role, ""))


def strangers(roles: Iterable[Role]) -> tuple[Credential, ...]:
    """What needs no gateway to be made: a key that none has, and no key."""
    given = {"unknown": secrets.generate(), "none": ""}
    return tuple(made(role, given[role], ()) for role in roles if role in given)


def read(text: str, source: str) -> tuple[Credential, ...]:
    """The keys of a file: one a line, and behind it the scopes that it holds, apart by commas; # for a remark.

    Raises BadKeys.
    """
    found = [
        _line(words, f"{source}, line {number}")
        for number, line in enumerate(text.splitlines(), 1)
        if (words := line.partition("#")[0].split())
    ]
    if not found:
        raise BadKeys(f"{source}: there is no key in it; write one a line")
    return tuple(found)


def _line(words: Sequence[str], place: str) -> Credential:
    if len(words) > 2 or not _SECRET(words[0]):
        raise BadKeys(f"{place}: write a key, and behind it the scopes that it holds, apart by commas")
    scopes = tuple(filter(None, words[1].split(","))) if len(words) == 2 else None
    return Credential(f"given, {place.rpartition(', ')[2]}", words[0], scopes)
