"""What one operation takes and answers, in short: parameters, fields of bodies, examples.

Law: a walk over an OpenAPI document that may be wrong, hostile or endless. References are followed inside the document
only, cycles are named and not walked, and every walk has a budget of steps, so a page is small and soon made whatever
the document. It returns text; escaping is the template's.

Source: https://spec.openapis.org/oas/v3.1.0 (Parameter, Request Body, Response, Schema Object).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from keystile.management.reference import Entry, cut
from keystile.routing.plain import Plain, mapping, sequence, words

_DEEPEST_FIELD: Final = 4
_DEEPEST_EXAMPLE: Final = 6
_STEPS: Final = 300
_HOPS: Final = 20
_LONGEST_NAME: Final = 120
_WIDEST: Final = 40
_PLACES: Final = {"path": 0, "query": 1, "header": 2, "cookie": 3}


@dataclass(frozen=True, slots=True)
class Room:
    """How much there is room for: counts, and characters of descriptions and examples."""

    rows: int = 40
    text: int = 400
    example: int = 3000
    prose: int = 8000

    def less(self) -> Room:
        """A quarter of it."""
        return Room(self.rows // 4, self.text // 4, self.example // 4, self.prose // 4)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; ``place``: path, query, header or cookie. ``example`` is empty where the document has none."""

    name: str
    place: str
    required: bool
    kind: str
    description: str
    example: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body by its path, such as ``Recipients.To[]``."""

    name: str
    required: bool
    kind: str
    description: str


@dataclass(frozen=True, slots=True)
class Body:
    """A body of one media type; ``more``: it has further fields than those listed."""

    media_type: str
    kind: str
    required: bool
    description: str
    fields: tuple[Field, ...]
    more: bool
    example: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer by status; ``body`` None where it has none."""

    status: str
    description: str
    body: Body | None


@dataclass(frozen=True, slots=True)
class Details:
    """All that is shown of one operation beyond its entry; ``more``: there are further parameters or answers."""

    description: str
    deprecated: bool
    parameters: tuple[Parameter, ...]
    body: Body | None
    answers: tuple[Answer, ...]
    more: bool


def details(entry: Entry, room: Room) -> Details:
    """Read what the document says of an operation."""
    look = _Look(entry.root, room)
    parameters, answers = _parameters(look, entry), list(_answers(look, entry))
    return Details(
        description=cut(words(entry.said.get("description")), room.prose),
        deprecated=entry.said.get("deprecated") is True,
        parameters=tuple(parameters[: room.rows]),
        body=_body(look, mapping(look.at(entry.said.get("requestBody")))),
        answers=tuple(answers[: room.rows]),
        more=len(parameters) > room.rows or len(answers) > room.rows,
    )


# -- references ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Look:
    """The document, and how many steps may still be taken in the walk that is going on."""

    root: Mapping[str, Plain]
    room: Room
    left: int = _STEPS
    walked: set[int] = field(default_factory=set)

    def at(self, value: Plain) -> Plain:
        """The value, or what its ``$ref`` names inside this document; None where that leads nowhere."""
        for _ in range(_HOPS):
            pointer = mapping(value).get("$ref")
            if not isinstance(pointer, str):
                return value
            value = self._named(pointer)
        return None

    def _named(self, pointer: str) -> Plain:
        """RFC 6901, in the fragment of a reference without an address."""
        if not pointer.startswith("#/"):
            return None
        value: Plain = dict(self.root)
        for part in pointer[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        return value

    def step(self) -> bool:
        """Take one; False when the walk has been long enough."""
        self.left -= 1
        return self.left > 0


# -- parameters and bodies ----------------------------------------------------------------------------------


def _parameters(look: _Look, entry: Entry) -> list[Parameter]:
    """Those of the operation and those of its path, which the operation's own replace."""
    found: dict[tuple[str, str], Parameter] = {}
    for each in (*sequence(entry.said.get("parameters")), *entry.shared):
        said = mapping(look.at(each))
        name, place = words(said.get("name")), words(said.get("in"))
        if name and place in _PLACES and len(found) <= look.room.rows:
            found.setdefault((name, place), _parameter(look, said, name, place))
    return sorted(found.values(), key=lambda one: (_PLACES[one.place], not one.required))


def _parameter(look: _Look, said: Mapping[str, Plain], name: str, place: str) -> Parameter:
    content = next(iter(mapping(said.get("content")).values()), None)
    schema = look.at(said.get("schema", mapping(content).get("schema")))
    return Parameter(
        name=cut(name, _LONGEST_NAME),
        place=place,
        required=said.get("required") is True or place == "path",
        kind=_kind(look, schema),
        description=_text(look, said.get("description")),
        example=_single(_given(look, said), _given(look, mapping(schema))),
    )


def _single(*candidates: Plain) -> str:
    """The first that can stand in a request line or a field."""
    for value in candidates:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return cut(str(value), _LONGEST_NAME)
    return ""


def _body(look: _Look, said: Mapping[str, Plain]) -> Body | None:
    """The body in JSON where there is one, else in its first media type."""
    content = mapping(said.get("content"))
    if not content:
        return None
    media_type = next((name for name in content if "json" in name.lower()), next(iter(content)))
    media = mapping(look.at(content[media_type]))
    schema = media.get("schema")
    found, look.left, look.walked = list[Field](), _STEPS, set()
    complete = _walk(look, schema, "", 0, found)
    return Body(
        media_type=cut(media_type, _LONGEST_NAME),
        kind=_kind(look, schema),
        required=said.get("required") is True,
        description=_text(look, said.get("description")),
        fields=tuple(found),
        more=not complete,
        example=_example(look, media, schema, media_type),
    )


def _answers(look: _Look, entry: Entry) -> Iterator[Answer]:
    """Every answer; the body of the first that has one, which is what a caller wants to see."""
    shown = False
    for status, each in mapping(entry.said.get("responses")).items():
        said = mapping(look.at(each))
        body = None if shown else _body(look, said)
        shown = shown or body is not None
        yield Answer(cut(status, _LONGEST_NAME), _text(look, said.get("description")), body)


# -- schemas ------------------------------------------------------------------------------------------------


def _kind(look: _Look, schema: Plain) -> str:
    """A type in a few words: ``string (date-time)``, ``array of Contact``, ``one of: A, B``."""
    name, said = _name_of(schema), mapping(look.at(schema))
    inner = "" if not isinstance(said.get("items"), dict) else _kind_of_items(look, said["items"])
    kind = said.get("type")
    several = sequence(kind)
    text = " or ".join(words(each) for each in several[:4]) if several else words(kind)
    if "array" in (text, *several) or (not text and inner):
        return f"array of {inner}" if inner else "array"
    if name:
        return name
    if not text:
        text = "object" if said.get("properties") else _alternatives(said)
    values = sequence(said.get("enum"))
    if values:
        return f"{text or 'value'}: " + cut(" | ".join(_single(each) or "null" for each in values[:24]), 200)
    form = words(said.get("format"))
    return cut(f"{text} ({form})" if form and form != text else text or "any", _LONGEST_NAME)


def _kind_of_items(look: _Look, items: Plain) -> str:
    name, said = _name_of(items), mapping(look.at(items))
    return name or words(said.get("type")) or "values"


def _alternatives(said: Mapping[str, Plain]) -> str:
    for key, text in (("oneOf", "one of"), ("anyOf", "any of"), ("allOf", "all of")):
        if choices := sequence(said.get(key)):
            names = [_name_of(each) or words(mapping(each).get("type")) or "a schema" for each in choices[:6]]
            return f"{text}: {', '.join(names)}"
    return ""


def _name_of(schema: Plain) -> str:
    """The name under which a schema is referred to."""
    pointer = mapping(schema).get("$ref")
    return cut(unquote(pointer.rpartition("/")[2]), _LONGEST_NAME) if isinstance(pointer, str) else ""


def _walk(look: _Look, schema: Plain, path: str, depth: int, found: list[Field]) -> bool:
    """Note the fields below a schema; False where it ended early. A schema inside itself is not walked again."""
    said = look.at(schema)
    if not isinstance(said, dict) or id(said) in look.walked:
        return True
    if depth > _DEEPEST_FIELD:
        return not (said.get("properties") or said.get("items"))
    if not look.step():
        return False
    look.walked.add(id(said))
    try:
        complete = _walk(look, said.get("items"), f"{path}[]", depth + 1, found)
        for part in _parts(said):
            complete = _walk(look, part, path, depth + 1, found) and complete
        return _walk_properties(look, said, path, depth, found) and complete
    finally:
        look.walked.discard(id(said))


def _parts(said: Mapping[str, Plain]) -> Iterator[Plain]:
    """All that a schema is made of; of alternatives the first stands for the others."""
    yield from sequence(said.get("allOf"))[:_WIDEST]
    for key in ("oneOf", "anyOf"):
        yield from sequence(said.get(key))[:1]


def _walk_properties(look: _Look, said: Mapping[str, Plain], path: str, depth: int, found: list[Field]) -> bool:
    required = [each for each in sequence(said.get("required")) if isinstance(each, str)]
    complete = True
    for name, schema in mapping(said.get("properties")).items():
        if len(found) >= look.room.rows:
            return False
        here = f"{path}.{name}" if path else name
        description = _text(look, mapping(look.at(schema)).get("description"))
        found.append(Field(cut(here, _LONGEST_NAME), name in required, _kind(look, schema), description))
        complete = _walk(look, schema, here, depth + 1, found) and complete
    return complete


def _text(look: _Look, value: Plain) -> str:
    """A description in one paragraph; generators of documents like to write a type's name there."""
    text = " ".join(words(value).split())
    return "" if text.lower() in ("string", "integer", "boolean", "number") else cut(text, look.room.text)


# -- examples -----------------------------------------------------------------------------------------------


def _given(look: _Look, said: Mapping[str, Plain]) -> Plain:
    """The example that the document itself gives, in any of the places where one can stand."""
    if "example" in said:
        return said["example"]
    examples = said.get("examples")
    if isinstance(examples, list) and examples:
        return examples[0]
    named = mapping(look.at(next(iter(mapping(examples).values()), None)))
    return named.get("value", said.get("default"))


def _example(look: _Look, media: Mapping[str, Plain], schema: Plain, media_type: str) -> str:
    """An example as text; JSON is written out, with parts of the schema where nobody wrote one."""
    given = _given(look, media)
    if isinstance(given, str) and "json" not in media_type.lower():
        return cut(given, look.room.example)
    look.left, look.walked = _STEPS, set()
    value = _bounded(look, given, 0) if given is not None else _made(look, schema, 0)
    if value is None or "json" not in media_type.lower():
        return ""
    return cut(json.dumps(value, indent=2, ensure_ascii=False, default=str), look.room.example)


def _bounded(look: _Look, value: Plain, depth: int) -> Plain:
    """A copy that ends, since a document's aliases may go round."""
    if isinstance(value, dict | list) and (depth > _DEEPEST_EXAMPLE or not look.step()):
        return None
    if isinstance(value, dict):
        return {name: _bounded(look, each, depth + 1) for name, each in list(value.items())[:_WIDEST]}
    return [_bounded(look, each, depth + 1) for each in value[:10]] if isinstance(value, list) else value


def _made(look: _Look, schema: Plain, depth: int) -> Plain:
    """An example made from a schema; None where it would not end."""
    said = look.at(schema)
    if not isinstance(said, dict) or id(said) in look.walked or depth > _DEEPEST_EXAMPLE or not look.step():
        return None
    given = _given(look, said)
    if given is not None:
        return _bounded(look, given, depth)
    look.walked.add(id(said))
    try:
        return _made_of(look, said, depth)
    finally:
        look.walked.discard(id(said))


def _made_of(look: _Look, said: Mapping[str, Plain], depth: int) -> Plain:
    members: dict[str, Plain] = {}
    for part in _parts(said):
        made = _made(look, part, depth + 1)
        if not isinstance(made, dict):
            return made
        members.update(made)
    for name, each in list(mapping(said.get("properties")).items())[:_WIDEST]:
        members[name] = _made(look, each, depth + 1)
    if members:
        return members
    if isinstance(said.get("items"), dict):
        element = _made(look, said["items"], depth + 1)
        return [] if element is None else [element]
    if values := sequence(said.get("enum")):
        return values[0]
    return _PLAIN_EXAMPLES.get(words(said.get("type")))


_PLAIN_EXAMPLES: Final[Mapping[str, Plain]] = {
    "string": "string",
    "integer": 0,
    "number": 0,
    "boolean": True,
    "array": [],
    "object": {},
}
