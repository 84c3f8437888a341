"""From an OpenAPI 3.0 or 3.1 document to the operations of a route table.

Law: this file knows what a document may hold, and it opens nothing: an operation that cannot be read for certain
is a fault, and every fault of a document is reported, not only the first. ``servers`` are not looked at: what
stands before the paths is what the row gives as ``prefix``. Nothing is fetched, and references are not followed.
Source: https://spec.openapis.org/oas/v3.1.0 (Paths Object, Path Item Object, Security Requirement Object).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from yaml.nodes import Node

from keystile.config.model import Cors, Operation
from keystile.routing.document import (
    DocumentFault,
    entries,
    get,
    is_mapping,
    line_of,
    read_document,
    shown,
    text_of,
)
from keystile.routing.permission import (
    NoPermission,
    Reader,
    from_description,
    from_extension,
    from_security,
)
from keystile.routing.template import BadTemplate, Template, parse_template

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
BESIDE_METHODS = frozenset({"summary", "description", "servers", "parameters"})
_VERSION = re.compile(r"3\.[01](\.\d+.*)?").fullmatch


@dataclass(frozen=True, slots=True)
class _Row:
    """What the row of gateway.yaml says of every operation in its document."""

    file: str
    prefix: str
    upstream: str
    row: int
    override: bool
    cors: Cors | None
    read_needs: Reader
    settled: frozenset[tuple[Template, str]]


@dataclass(slots=True)
class _Result:
    operations: list[Operation] = field(default_factory=list)
    faults: list[DocumentFault] = field(default_factory=list)

    def fault(self, node: Node | None, path: str, value: str, message: str) -> None:
        self.faults.append(DocumentFault(line_of(node) if node is not None else None, path, value, message))


def read_operations(
    text: bytes,
    *,
    file: str,
    prefix: str = "",
    scope_from_description: str | None = None,
    scope_from: str | None = None,
    any_of: bool = False,
    upstream: str,
    row: int,
    override: bool = False,
    cors: Cors | None = None,
    earlier: Sequence[Operation] = (),
) -> tuple[list[Operation], list[DocumentFault]]:
    """Every operation of a document and every fault in it.

    ``file`` is the document's name for people. ``earlier``: the operations of the rows above. Where one of them
    has the shape and method of an operation here whose permission cannot be read, it wins anyway: that is no
    fault, and the operation is left out. Such a row is how an author settles one.
    """
    result = _Result()
    root = read_document(text)
    if isinstance(root, DocumentFault):
        return [], [root]
    _check_fields(result, root, "")
    reader = _reader(result, root, scope_from_description, scope_from, any_of)
    if reader is None or not _is_supported(result, root):
        return [], result.faults
    given = _Row(file, prefix.rstrip("/"), upstream, row, override, cors, reader, _settled(earlier))
    _read_paths(result, root, given)
    return result.operations, result.faults


def _reader(
    result: _Result, root: Node, scope_from_description: str | None, scope_from: str | None, any_of: bool
) -> Reader | None:
    """How permissions are read; None, with a fault, where the row does not say it."""
    if scope_from_description is not None and scope_from is None:
        try:
            return from_description(re.compile(scope_from_description), any_of)
        except re.error as error:
            problem = f"this is not a regular expression: {error}"
            result.fault(None, "scope_from_description", scope_from_description, problem)
            return None
    if scope_from_description is None and scope_from == "security":
        return from_security(root, any_of)
    if scope_from_description is None and scope_from is not None and scope_from.startswith("x-"):
        return from_extension(scope_from, any_of)
    problem = "say one of scope_from_description: <regular expression>, scope_from: security, scope_from: x-<name>"
    result.fault(None, "scope_from", scope_from or "", problem)
    return None


def _is_supported(result: _Result, root: Node) -> bool:
    version = get(root, "openapi")
    if version is None:
        problem = "this is not an OpenAPI document: it has no openapi: 3.0.x or 3.1.x"
        result.fault(root, "openapi", shown(get(root, "swagger")), problem)
    elif not _VERSION(shown(version)):
        result.fault(version, "openapi", shown(version), "only OpenAPI 3.0 and 3.1 can be read")
    return not result.faults


def _read_paths(result: _Result, root: Node, given: _Row) -> None:
    paths = get(root, "paths")
    if paths is None or not is_mapping(paths):
        result.fault(paths or root, "paths", shown(paths), "the document has no mapping of paths")
        return
    for path, key, item in _once(result, paths, "paths"):
        if not path.startswith("x-"):
            template = _template(result, key, path, given)
            if template is not None:
                _read_item(result, path, item, template, given)
    if not result.operations and not result.faults:
        result.fault(paths, "paths", "", "the document has no operations")


def _template(result: _Result, key: Node, path: str, given: _Row) -> Template | None:
    try:
        if path.startswith("/"):
            template = parse_template(given.prefix + path)
            if not template.below:
                return template
            problem = "a * has no meaning in the paths of a document; write it as a row"
        else:
            problem = "a path begins with a slash"
    except BadTemplate as bad:
        problem = str(bad)
    result.fault(key, f"paths.{path}", path, problem)
    return None


def _read_item(result: _Result, path: str, item: Node, template: Template, given: _Row) -> None:
    """The operations under one path."""
    where = f"paths.{path}"
    if not is_mapping(item):
        result.fault(item, where, shown(item), "a path holds a mapping of methods")
        return
    for name, key, value in _once(result, item, where):
        if name in METHODS:
            _read_operation(result, path, (name, key, value), template, given)
        elif name not in BESIDE_METHODS and not name.startswith("x-"):
            result.fault(key, f"{where}.{name}", "", _why_not(name))


def _why_not(name: str) -> str:
    if name == "$ref":
        return "a path by reference is not supported: write its operations here"
    if name == "trace":
        return "TRACE is never forwarded: take it out"
    if name == "<<":
        return "a merge key is not supported here: write the operations out"
    if name.lower() in METHODS:
        return f"methods are written in lower case: {name.lower()}"
    return f"this is not a method; known are {', '.join(METHODS)}"


def _read_operation(result: _Result, path: str, entry: tuple[str, Node, Node], template: Template, given: _Row) -> None:
    name, key, value = entry
    where = f"paths.{path}.{name}"
    if not is_mapping(value):
        result.fault(value, where, shown(value), "an operation is a mapping")
        return
    _check_fields(result, value, where)
    try:
        needs = given.read_needs(value)
    except NoPermission as problem:
        if (template, name.upper()) not in given.settled and (template, "*") not in given.settled:
            result.fault(key, where, text_of(get(value, "operationId")) or "", str(problem))
        return
    result.operations.append(
        Operation(
            methods=(name.upper(),),
            path=given.prefix + path,
            needs=needs,
            upstream=given.upstream,
            source=f"{given.file}:{line_of(key)}" if line_of(key) else given.file,
            row=given.row,
            override=given.override,
            cors=given.cors,
        )
    )


def _check_fields(result: _Result, mapping: Node, where: str) -> None:
    """Fields that stand twice, or that come from elsewhere, could say something else than what is read."""
    for name, key, _ in _once(result, mapping, where):
        if name == "<<":
            result.fault(key, f"{where}.<<".lstrip("."), "", _why_not(name))


def _once(result: _Result, mapping: Node, where: str) -> Iterator[tuple[str, Node, Node]]:
    """The entries of a mapping; the second of two with one key is a fault, since readers differ in which counts."""
    seen: set[str] = set()
    for name, key, value in entries(mapping):
        if name in seen:
            result.fault(key, f"{where}.{name}".lstrip("."), "", "this stands here twice")
            continue
        seen.add(name)
        yield name, key, value


def _settled(earlier: Sequence[Operation]) -> frozenset[tuple[Template, str]]:
    found: set[tuple[Template, str]] = set()
    for operation in earlier:
        with suppress(BadTemplate):  # that row is a fault of its own
            shape = parse_template(operation.path)
            found.update((shape, method) for method in operation.methods or ("*",))
    return frozenset(found)
