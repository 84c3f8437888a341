"""What an operation of an OpenAPI document needs, read from where the row of gateway.yaml says it stands.

Law: a permission that cannot be read for certain is a fault. Nothing in this file ever makes an operation
public, and an operation takes any valid key only where the document says ``None`` in so many words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from yaml.nodes import Node

from keystile.config.model import Needs
from keystile.routing.document import entries, get, is_mapping, items, text_of

ANY_KEY = "None"
# RFC 6749, 3.3 allows more; a comma would not come back from a list, and quotes or spaces hide mistakes.
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*").fullmatch

Reader = Callable[[Node], Needs]


class NoPermission(ValueError):
    """Why no permission can be read for an operation, and what its author could do."""


def from_description(pattern: re.Pattern[str], any_of: bool) -> Reader:
    """A reader of levels out of the description's text: the pattern's first group, or its whole match."""

    def read(operation: Node) -> Needs:
        description = text_of(get(operation, "description"))
        if description is None:
            raise NoPermission("the operation has no description to read a permission from")
        found = {match[1] if pattern.groups else match[0] for match in pattern.finditer(description)}
        if not found:
            raise NoPermission(f"the description does not match {pattern.pattern!r}")
        if len(found) > 1:
            raise NoPermission("the description states several permissions that differ")
        return _needs((found.pop() or "").split(","), any_of)

    return read


def from_extension(name: str, any_of: bool) -> Reader:
    """A reader of an extension field such as ``x-required-scopes``: text (levels apart by commas) or a list."""

    def read(operation: Node) -> Needs:
        value = get(operation, name)
        if value is None:
            raise NoPermission(f"the operation has no {name}")
        if (text := text_of(value)) is not None:
            return _needs(text.split(","), any_of)
        return _needs(_texts(value, name), any_of)

    return read


def from_security(document: Node, any_of: bool) -> Reader:
    """A reader of security requirements: those of the operation, or else those of the whole document."""
    of_all = get(document, "security")

    def read(operation: Node) -> Needs:
        requirements = get(operation, "security") or of_all
        if requirements is None:
            raise NoPermission("neither the operation nor the document has security requirements")
        alternatives = items(requirements)
        if alternatives is None:
            raise NoPermission("security is a list of requirements")
        return _one_of([_requirement(each) for each in alternatives], any_of)

    return read


def _requirement(node: Node) -> frozenset[str]:
    """The scopes of one security requirement: those of all its schemes together."""
    if not is_mapping(node):
        raise NoPermission("a security requirement is a mapping from a scheme to its scopes")
    return frozenset(scope.strip() for name, _, value in entries(node) for scope in _texts(value, name))


def _one_of(alternatives: Sequence[frozenset[str]], any_of: bool) -> Needs:
    if not all(alternatives) or not alternatives:
        # [], {} and {apikey: []}: whether that means anybody or any key, the row has to say.
        raise NoPermission(
            "its security names no scope; if that is meant, give this operation a row of its own above, "
            "with key_only: true (any valid key) or public: true (no key)"
        )
    if len(set(alternatives)) == 1:
        return _needs(sorted(alternatives[0]), any_of)
    if any(len(each) > 1 for each in alternatives):
        raise NoPermission(
            "alternatives of several scopes each are not supported; give this operation a row of its own above"
        )
    return _needs(sorted(frozenset().union(*alternatives)), any_of=True)


def _texts(node: Node, name: str) -> list[str]:
    nodes = items(node)
    texts = [text_of(each) for each in nodes or ()]
    if nodes is None or None in texts:
        raise NoPermission(f"{name} is a list of scope names (numbers, true and the like in quotes)")
    return [text for text in texts if text is not None]


def _needs(levels: Sequence[str], any_of: bool) -> Needs:
    """All of the levels, or one of them; raises ``NoPermission`` where one is no name of a scope."""
    names = [level.strip() for level in levels]
    if names == [ANY_KEY]:
        return Needs()
    if ANY_KEY in names:
        raise NoPermission(f"{ANY_KEY} stands beside other permissions")
    if not names or not all(map(_SCOPE, names)):
        wrong = next((name for name in names if not _SCOPE(name)), "")
        raise NoPermission(f"{wrong[:60]!r} is not the name of a permission")
    scopes = frozenset(names)
    return Needs(any_of=scopes) if any_of and len(scopes) > 1 else Needs(all_of=scopes)
