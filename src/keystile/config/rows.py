"""From the rows of ``routes`` to operations.

Law: one row of gateway.yaml is one operation, or stands for a document's; how documents are read and which
operations contradict one another is routing's to say (``borrowed.py``). Rows with faults of their own are
left out, since those are told elsewhere and a guess would bring forth false ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keystile.config import files, service_calls, units, validate
from keystile.config.borrowed import DocumentFault, DocumentReader, OperationsChecker
from keystile.config.document import CorsSection, Document, OpenApiRow, PathRow
from keystile.config.faults import Fault, shown_name, shown_value, without_secrets
from keystile.config.model import Cors, Needs, Operation
from keystile.config.written import Written


@dataclass(slots=True)
class Rows:
    """What came of all rows; ``documents``: absolute paths."""

    operations: list[Operation] = field(default_factory=list)
    documents: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def cors_of(section: CorsSection | None) -> Cors | None:
    """The CORS policy that a section means."""
    if section is None:
        return None
    return Cors(tuple(section.origins), tuple(section.headers), section.max_age)


def read(
    written: Written, document: Document | None, read_document: DocumentReader, contents: dict[Path, bytes]
) -> Rows:
    """The operations of every row that has no fault."""
    rows = Rows(service_calls.operations(written, cors_of(document.cors if document else None)))
    for loc in written.items("routes"):
        if document is None and written.get(*loc, "openapi"):
            # Said for rows with other faults, too; those without are read once more below.
            rows.faults += files.read(written, (*loc, "openapi"), contents)[1]
    for index, row in _valid_rows(written, document):
        everywhere = document.cors if document else None
        cors = cors_of(everywhere if row.cors is None else row.cors or None)
        if isinstance(row, OpenApiRow):
            _read_document(rows, written, index, row, cors, read_document, contents)
        elif _says_one_need(row):
            rows.operations.append(_operation(written, index, row, cors))
    return rows


def conflicts(written: Written, operations: list[Operation], check: OperationsChecker) -> list[Fault]:
    """Operations that cannot stand together, told at the row where ``override`` could stand."""
    names = [str(loc[1]) for loc in written.items("upstreams")]
    insensitive = frozenset(name for name in names if written.read(units.flag, "upstreams", name, "case_insensitive"))
    try:
        pairs = check(operations, insensitive)
    except ValueError as error:  # a template that only routing knows to refuse
        return [written.fault(("routes",), without_secrets(str(error)))]
    return [_conflict(written, earlier, later) for earlier, later in pairs]


def _conflict(written: Written, earlier: Operation, later: Operation) -> Fault:
    methods = " ".join(later.methods) or "every method"
    message = (
        f"needs something else for {methods} {later.path} than routes[{later.row}] ({later.source}) does; "
        "write override: true here if this row is to win"
    )
    return written.fault(("routes", earlier.row), without_secrets(message))


def _valid_rows(written: Written, document: Document | None) -> Iterator[tuple[int, PathRow | OpenApiRow]]:
    if document is not None:
        yield from enumerate(document.routes)
        return
    for loc in written.items("routes"):
        piece = written.get(*loc)
        if isinstance(index := loc[1], int) and piece and (row := validate.row(piece.plain())):
            yield index, row


def _says_one_need(row: PathRow) -> bool:
    """Exactly one is a rule of its own; a row that breaks it means nothing that could be compared."""
    return [row.scope, row.scopes, row.key_only, row.public].count(None) == 3


def _operation(written: Written, index: int, row: PathRow, cors: Cors | None) -> Operation:
    return Operation(
        methods=tuple(row.methods or ()),
        path=row.path,
        needs=_needs(row),
        upstream=row.upstream,
        source=written.source(("routes", index)),
        row=index,
        override=row.override,
        cors=cors,
        websocket=row.websocket,
    )


def _needs(row: PathRow) -> Needs:
    if row.public:
        return Needs(public=True)
    if row.scopes is not None:
        return Needs(all_of=frozenset(row.scopes.all), any_of=frozenset(row.scopes.any))
    return Needs(all_of=frozenset([row.scope] if row.scope else []))


def _read_document(
    rows: Rows,
    written: Written,
    index: int,
    row: OpenApiRow,
    cors: Cors | None,
    read_document: DocumentReader,
    contents: dict[Path, bytes],
) -> None:
    """Add what the row's document holds, or every fault of it."""
    text, faults = files.read(written, ("routes", index, "openapi"), contents)
    rows.faults += faults
    # Exactly one is a rule of its own; without it the document would be one fault for each operation.
    if text is None or (row.scope_from_description is None) == (row.scope_from is None):
        return
    operations, wrong = read_document(
        text,
        file=row.openapi,
        prefix=row.prefix,
        scope_from_description=row.scope_from_description,
        scope_from=row.scope_from,
        any_of=row.scopes == "any",
        upstream=row.upstream,
        row=index,
        override=row.override,
        cors=cors,
        earlier=tuple(rows.operations),
    )
    rows.documents.append(files.absolute(written.folder, row.openapi))
    rows.operations += operations
    rows.faults += [_of_document(str(written.file.parent / row.openapi), one) for one in wrong]


def _of_document(file: str, fault: DocumentFault) -> Fault:
    message = without_secrets(fault.message)
    if not fault.value:
        return Fault(file, fault.line, shown_name(fault.path), None, message)
    return Fault(file, fault.line, shown_name(fault.path), shown_value(fault.value), f"cannot be used: {message}")
