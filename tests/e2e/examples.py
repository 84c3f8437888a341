"""Values that conform to the schemas of an OpenAPI document: what a test's client sends and its backend answers.

Law: a pure function of the document. Where the document gives an example, that is the value.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_STRINGS = {
    "date-time": "2024-05-06T07:08:09Z",
    "guid": "11111111-2222-4333-8444-555555555555",
    "binary": "bytes of a file",
    "byte": base64.b64encode(b"bytes of a file").decode(),
}


class _Loader(yaml.CSafeLoader):
    """As JSON would have it: what looks like a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Described:
    """One operation of the document; ``facts`` as they stand there."""

    method: str
    path: str
    name: str
    facts: Mapping[str, Any]

    @property
    def answer(self) -> tuple[int, str, Mapping[str, Any] | None]:
        """Status, media type and schema of the answer when all goes well; no schema means no body."""
        status, said = min(self.facts["responses"].items())
        for media_type, content in said.get("content", {}).items():
            return int(status), media_type, content["schema"]
        return int(status), "", None


class Document:
    """An OpenAPI document."""

    def __init__(self, file: Path) -> None:
        self._document: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), _Loader)

    def operations(self) -> Iterator[Described]:
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield Described(method.upper(), path, item[method]["operationId"], item[method])

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself where this one only refers to it."""
        while "$ref" in schema:
            target: Any = self._document
            for step in schema["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            schema = target
        return schema

    def example(self, schema: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
        """A value of this schema; a schema inside itself (``within``: names on the way) is left out."""
        if "$ref" in schema:
            if schema["$ref"] in within:
                return None
            return self.example(self.resolved(schema), (*within, schema["$ref"]))
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type", "object"):
            case "object":
                return self._object(schema, within)
            case "array":
                items = self.example(schema["items"], within)
                return [] if items is None else [items]
            case "string":
                return _STRINGS.get(schema.get("format", ""), schema.get("example", "some text"))
            case "boolean":
                return schema.get("example", True)
            case "integer":
                return schema.get("example", 7)
            case "number":
                return schema.get("example", 7.5)
        raise AssertionError(f"no example of {schema}")

    def _object(self, schema: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties", {})
        made = {name: self.example(each, within) for name, each in properties.items()}
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            made["more"] = self.example(more, within)
        return {name: value for name, value in made.items() if value is not None}
