"""What keys there must be, by the answers to the changes that were made: a model to compare the store with.

Law: pure. A change whose answer was lost makes a key unsure until somebody has looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Kept:
    """One key; ``secret`` is the one that works; ``sure``: no answer about it was lost since it was looked at."""

    id: str
    secret: str
    scopes: frozenset[str]
    sure: bool = True


@dataclass(slots=True)
class Shadow:
    """The keys by name. ``secrets``: all that were ever shown. ``gone``: names of deleted keys."""

    keys: dict[str, Kept] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def made(self, name: str, answer: Mapping[str, Any]) -> Kept:
        """A key was created, or changed, and its secret shown."""
        kept = self.keys[name] = Kept(answer["id"], answer["key"], frozenset(answer["scopes"]))
        self.secrets.append(kept.secret)
        return kept

    def deleted(self, name: str) -> None:
        """A key was deleted."""
        del self.keys[name]
        self.gone.add(name)

    def settle(self, name: str) -> None:
        """Nobody can know any more what its secret is, or whether it is there: it is none of ours from now on."""
        self.keys.pop(name, None)

    def compare(self, listed: Sequence[Mapping[str, Any]]) -> list[str]:
        """What ``keys list --json`` shows otherwise than it must be."""
        there = {str(each["name"]): each for each in listed}
        found = [f"the deleted key {name} is there" for name in self.gone & set(there)]
        for name, kept in self.keys.items():
            if name not in there:
                found.append(f"the key {name} is missing")
                continue
            shown = there[name]
            if shown["id"] != kept.id:
                found.append(f"the key {name} is another one")
            if frozenset(shown["scopes"]) != kept.scopes:
                found.append(f"the key {name} has the scopes {shown['scopes']}, not {sorted(kept.scopes)}")
            if shown["hint"] != kept.secret[-5:]:
                found.append(f"the key {name} has another secret")
        return found
