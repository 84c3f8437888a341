"""From the text of a YAML file to plain values that remember their lines.

Law: this file knows YAML and no setting. It reads events, not PyYAML's nodes: composing nodes recurses in C
and ends the process on deep nesting. What it reads differs from YAML 1.1 where people mean something else:

* only ``true`` and ``false`` are truth values; ``off``, ``no``, ``on`` and ``yes`` stay text;
* only plain decimal whole numbers are numbers; ``1.2``, ``0600``, ``1:30`` and ``2025-03-31`` stay text.

Depth, size and what aliases expand to are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from keystile.config.faults import shown_name, without_secrets

LARGEST_FILE = 8 * 1024 * 1024
DEEPEST = 32
MOST_VALUES = 500_000

Loc = tuple[str | int, ...]

# The C parser is about ten times as fast; PyYAML without libyaml lacks it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq"))
_BRACES_LINE = re.compile(r"\{.*[:\s]/[^\s\"']*\{")
_IPV6_LINE = re.compile(r"[:\s]\[[0-9A-Fa-f:.]*\]:[0-9]")


class BadYaml(Exception):
    """The text cannot be read on; ``line`` from 1 or None."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Piece:
    """One value and where it stands: exactly one of ``fields`` and ``items`` is set, or it is a scalar.

    ``fields``: of a mapping, each with the line of its name. ``size``: how many values it expands to;
    ``depth``: how many of them stand within one another, itself included.
    """

    line: int
    scalar: str | int | bool | None = None
    fields: dict[str, tuple[int, Piece]] | None = None
    items: list[Piece] | None = None
    size: int = 1
    depth: int = 1

    def grow(self, inner: Piece) -> None:
        """Count a value that now stands within this one."""
        self.size += inner.size
        self.depth = max(self.depth, inner.depth + 1)

    def plain(self) -> Any:
        """The value as dicts, lists, text, whole numbers, true, false and None."""
        if self.fields is not None:
            return {name: piece.plain() for name, (_, piece) in self.fields.items()}
        if self.items is not None:
            return [piece.plain() for piece in self.items]
        return self.scalar

    def field(self, name: str) -> Piece | None:
        """The value of one field of a mapping; None where there is none."""
        found = (self.fields or {}).get(name)
        return found[1] if found else None

    def item(self, index: int) -> Piece | None:
        """One item of a list; None where there is none."""
        return self.items[index] if self.items is not None and 0 <= index < len(self.items) else None

    @property
    def is_null(self) -> bool:
        """Whether it is YAML's null, written or left out."""
        return self.scalar is None and self.fields is None and self.items is None

    def at(self, loc: Loc) -> tuple[int, Piece]:
        """Line and value at ``loc``, or of the nearest that is there: a missing field is told at its mapping."""
        line, piece = self.line, self
        for step in loc:
            if isinstance(step, str) and piece.fields is not None and step in piece.fields:
                line, piece = piece.fields[step]
            elif isinstance(step, int) and piece.items is not None and step < len(piece.items):
                piece = piece.items[step]
                line = piece.line
            else:
                break
        return line, piece


@dataclass(frozen=True, slots=True)
class Repeated:
    """A name that stands twice in one mapping; the first one counts for what follows."""

    loc: Loc
    line: int
    first_line: int


def read(text: str) -> tuple[Piece | None, list[Repeated]]:
    """The one document of ``text`` (None where it is empty) and every repeated name; raises BadYaml."""
    try:
        return _Reader(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise BadYaml(line, _told(error, text, line)) from None
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, position) + 1
        raise BadYaml(line, f"is not YAML: {error.reason}") from None
    except RecursionError:  # only PyYAML without libyaml
        raise BadYaml(None, f"is nested more than {DEEPEST} deep") from None


def _told(error: yaml.MarkedYAMLError, text: str, line: int | None) -> str:
    said = without_secrets(error.problem or error.context or "cannot be read")
    if "maximum nesting depth" in said:  # libyaml's own bound, in PyYAML from 6.0.4: it looks ahead of the events
        return f"is nested more than {DEEPEST} deep"
    lines = text.splitlines()
    written = lines[line - 1] if line and line <= len(lines) else ""
    if _IPV6_LINE.search(written):
        return 'is not YAML: an address with brackets needs quotes, such as "[::]:8080"'
    if _BRACES_LINE.search(written):
        return 'is not YAML: within { … } a path with braces needs quotes, such as "/v4/files/{name}"'
    if "cannot start any token" in said:
        return f"is not YAML: {said}; indent with spaces, and quote text that begins with %, @ or a backtick"
    return f"is not YAML: {said}"


class _Reader:
    """Builds pieces from the events of one text."""

    def __init__(self, text: str) -> None:
        if len(text) > LARGEST_FILE:
            raise BadYaml(None, f"is larger than {LARGEST_FILE >> 20} MiB")
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.anchors: dict[str, Piece] = {}
        self.open_anchors: set[str] = set()
        self.repeated: list[Repeated] = []

    def document(self) -> tuple[Piece | None, list[Repeated]]:
        """Everything between stream start and end: no document, or one."""
        next(self.events)  # stream start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None, []
        piece = self.piece(next(self.events), ())
        next(self.events)  # document end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise BadYaml(_line(after), "begins a second document; one file holds one configuration")
        return piece, self.repeated

    def piece(self, event: Any, loc: Loc) -> Piece:
        """The value that begins with ``event``."""
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if len(loc) > DEEPEST:
            raise BadYaml(_line(event), f"is nested more than {DEEPEST} deep")
        if event.tag not in (None, "!") and event.tag not in _TAGS:
            raise BadYaml(_line(event), "has a tag (!…), which no setting needs; leave it out")
        if event.anchor:
            self.open_anchors.add(event.anchor)
        piece = self.untagged(event, loc)
        if piece.size > MOST_VALUES:
            raise BadYaml(_line(event), f"expands to more than {MOST_VALUES} values through its aliases")
        if len(loc) + piece.depth > DEEPEST + 1:
            raise BadYaml(_line(event), f"is nested more than {DEEPEST} deep through its aliases")
        if event.anchor:
            self.open_anchors.discard(event.anchor)
            self.anchors[event.anchor] = piece
        return piece

    def untagged(self, event: Any, loc: Loc) -> Piece:
        """A mapping, a list or a scalar."""
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(event, loc)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(event, loc)
        return Piece(_line(event), scalar=_scalar(event))

    def alias(self, event: Any) -> Piece:
        """What an anchor before it stands for."""
        if event.anchor in self.open_anchors:
            raise BadYaml(_line(event), "has an alias that stands for what it is a part of")
        if event.anchor not in self.anchors:
            raise BadYaml(_line(event), "has an alias without an anchor; quote text that begins with *")
        return self.anchors[event.anchor]

    def sequence(self, start: Any, loc: Loc) -> Piece:
        """A list, up to its end."""
        piece = Piece(_line(start), items=[])
        assert piece.items is not None
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            item = self.piece(event, (*loc, len(piece.items)))
            piece.items.append(item)
            piece.grow(item)
        return piece

    def mapping(self, start: Any, loc: Loc) -> Piece:
        """A mapping, up to its end; what it merges (``<<``) comes after its own fields and never replaces one."""
        piece, merged = Piece(_line(start), fields={}), list[Piece]()
        assert piece.fields is not None
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name = self.name(event)
            value = self.piece(next(self.events), (*loc, name))
            piece.grow(value)
            if name == "<<" and not event.style:
                merged += value.items or [value]
            elif name in piece.fields:
                self.repeated.append(Repeated((*loc, name), _line(event), piece.fields[name][0]))
            else:
                piece.fields[name] = (_line(event), value)
        for other in merged:
            if other.fields is None:
                raise BadYaml(other.line, "is merged with << but is not a mapping")
            piece.fields = {**other.fields, **piece.fields}
        return piece

    def name(self, event: Any) -> str:
        """A field's name as it is written: text, whatever YAML would make of it."""
        if isinstance(event, yaml.AliasEvent):
            scalar = self.alias(event).scalar
            if isinstance(scalar, str):
                return scalar
        if not isinstance(event, yaml.ScalarEvent):
            raise BadYaml(_line(event), "has a name that is no text")
        if event.anchor:
            self.anchors[event.anchor] = Piece(_line(event), scalar=event.value)
        return str(event.value)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> str | int | bool | None:
    """What a scalar means; anything quoted, folded or tagged as text is text."""
    written: str = event.value
    if event.style or event.tag == _TAG + "str" or event.tag == "!":
        return written
    if written in ("", "~", "null", "Null", "NULL"):
        return None
    if written in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return written.lower() == "true"
    return int(written) if _NUMBER.fullmatch(written) else written


def path_of(loc: Loc) -> str:
    """``listeners[0].tls.certificate`` for people."""
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{shown_name(step)}" if path else shown_name(step)
    return path
