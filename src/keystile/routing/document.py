"""An OpenAPI document as a tree of nodes that know their lines.

Law: this file knows YAML and JSON and nothing of OpenAPI. Nothing is constructed from the nodes: time stamps in
examples stay text, tags call nothing, and an alias is the node it names, however often it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# libyaml's composer calls itself for every level and ends the process when the stack is full.
DEEPEST = 200

_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """What is wrong in a document: its line (from 1; None where unknown), the path to it, the value, what to do."""

    line: int | None
    path: str
    value: str
    message: str


def read_document(text: bytes) -> Node | DocumentFault:
    """The root of a YAML or JSON document, or the fault that makes it unreadable as a whole."""
    try:
        text.decode("utf-8-sig")
        if _too_deep(text):
            return DocumentFault(None, "", "", f"the document is nested more than {DEEPEST} levels deep")
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        return DocumentFault(None, "", "", f"the document is not UTF-8: byte {error.start} is no part of a character")
    except yaml.YAMLError as error:
        # JSON may hold what YAML may not: tabs before a key, surrogate pairs such as 😀.
        return _read_json(text) or _yaml_fault(error)
    return root if root is not None else DocumentFault(None, "", "", "the document is empty")


def line_of(node: Node) -> int | None:
    """The line a node begins on, from 1; None where it came from JSON that YAML cannot read."""
    return node.start_mark.line + 1 if node.start_mark is not None else None


def entries(node: Node) -> Iterator[tuple[str, Node, Node]]:
    """The (key, key node, value node) of a mapping, in order, duplicates too; nothing for any other node."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield str(key.value), key, value


def get(node: Node, key: str) -> Node | None:
    """The first value of that key in a mapping."""
    return next((value for name, _, value in entries(node) if name == key), None)


def items(node: Node) -> list[Node] | None:
    """The nodes of a list; None for any other node."""
    return list(node.value) if isinstance(node, SequenceNode) else None


def text_of(node: Node | None) -> str | None:
    """The text of a scalar that is text; None for numbers, booleans, null, lists and mappings."""
    return str(node.value) if isinstance(node, ScalarNode) and node.tag == _TEXT else None


def is_mapping(node: Node) -> bool:
    """Whether the node is a mapping."""
    return isinstance(node, MappingNode)


def shown(node: Node | None) -> str:
    """A value for people, cut to one line of bearable length."""
    if not isinstance(node, ScalarNode):
        return "" if node is None else "a mapping" if is_mapping(node) else "a list"
    value = " ".join(str(node.value).split())
    return value if len(value) <= 60 else value[:59] + "…"


def _too_deep(text: bytes) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                return True
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return False


def _yaml_fault(error: yaml.YAMLError) -> DocumentFault:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return DocumentFault(mark.line + 1 if mark else None, "", "", f"this is neither YAML nor JSON: {problem}")


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its duplicates."""


def _read_json(text: bytes) -> Node | DocumentFault | None:
    """The nodes of a JSON document, without lines; None when it is none."""
    if not text.decode("utf-8-sig").lstrip().startswith(("{", "[")):
        return None
    try:
        return _node(json.loads(text, object_pairs_hook=_Pairs), 0)
    except RecursionError:
        return DocumentFault(None, "", "", f"the document is nested more than {DEEPEST} levels deep")
    except ValueError:
        return None


def _node(value: object, depth: int) -> Node:
    if depth > DEEPEST:
        raise RecursionError
    deeper: Callable[[object], Node] = partial(_node, depth=depth + 1)
    if isinstance(value, _Pairs):
        return MappingNode("tag:yaml.org,2002:map", [(deeper(key), deeper(each)) for key, each in value])
    if isinstance(value, list):
        return SequenceNode("tag:yaml.org,2002:seq", [deeper(each) for each in value])
    if isinstance(value, str):
        return ScalarNode(_TEXT, value)
    return ScalarNode(_NULL if value is None else "tag:keystile,2025:other", json.dumps(value))
