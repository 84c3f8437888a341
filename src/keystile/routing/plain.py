"""An OpenAPI document as plain values, for showing it to people.

Law: mappings, lists, text and numbers; nothing is constructed from tags, and what the gateway allows is never
read from here (that is ``openapi.py``'s, which knows lines and faults). An alias is the very object that it names,
so a small text never grows, and a document may hold itself: whoever walks it counts its steps.
"""

from __future__ import annotations

import re

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from keystile.routing.document import DocumentFault, read_document

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

_NULL = "tag:yaml.org,2002:null"
_TRUE = frozenset({"true", "yes", "on"})
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})").fullmatch
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?").fullmatch
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:keystile,2025:other"})
_BOOLEANS = frozenset({"tag:yaml.org,2002:bool", "tag:keystile,2025:other"})


def read_plain(text: bytes) -> dict[str, Plain]:
    """The document as a mapping; an empty one where the text is none (the gateway would not have started)."""
    root = read_document(text)
    if isinstance(root, DocumentFault):
        return {}
    value = _value(root, {})
    return value if isinstance(value, dict) else {}


def mapping(value: Plain) -> dict[str, Plain]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Plain) -> list[Plain]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def words(value: Plain) -> str:
    """The value if it is text, without white space around it, else nothing."""
    return value.strip() if isinstance(value, str) else ""


def _value(node: Node, known: dict[Node, Plain]) -> Plain:
    """What a node means. ``known`` holds what was met before, unfinished containers too: aliases may go round."""
    if node in known:
        return known[node]
    if isinstance(node, MappingNode):
        members: dict[str, Plain] = {}
        known[node] = members
        for key, value in node.value:
            # The first of two counts, as in ``document.get``.
            members.setdefault(str(key.value), _value(value, known))
        return members
    if isinstance(node, SequenceNode):
        elements: list[Plain] = []
        known[node] = elements
        elements.extend(_value(each, known) for each in node.value)
        return elements
    return _scalar(node) if isinstance(node, ScalarNode) else None


def _scalar(node: ScalarNode) -> Plain:
    """Numbers only where they read the same in JSON; times, octal numbers and the like stay text."""
    tag, text = node.tag, str(node.value)
    if tag == _NULL:
        return None
    if tag in _BOOLEANS and text.lower() in _TRUE | {"false", "no", "off"}:
        return text.lower() in _TRUE
    if tag in _NUMBERS and _INTEGER(text):
        return int(text)
    return float(text) if tag in _NUMBERS and _DECIMAL(text) else text
