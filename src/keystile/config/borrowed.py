"""What loading a configuration borrows from routing, as interfaces: reading documents and comparing routes.

Law: routing stands above config, so config may not import it; whoever wires the two (``app.py``) hands in
``routing.openapi.read_operations`` and ``routing.conflicts.check_conflicts``, which have these shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keystile.config.model import Cors, Operation


class DocumentFault(Protocol):
    """One thing wrong in an OpenAPI document.

    ``line``: from 1, or None. ``path``: within the document. ``value``: what is wrong, empty where the message
    says it all. ``message``: a sentence of its own.
    """

    @property
    def line(self) -> int | None:
        """The line in the document."""

    @property
    def path(self) -> str:
        """The place in the document."""

    @property
    def value(self) -> str:
        """What stands there."""

    @property
    def message(self) -> str:
        """What is wrong with it."""


class DocumentReader(Protocol):
    """Reads the operations of one OpenAPI 3.0/3.1 document; never raises on its content."""

    def __call__(
        self,
        text: bytes,
        *,
        file: str,
        prefix: str,
        scope_from_description: str | None,
        scope_from: str | None,
        any_of: bool,
        upstream: str,
        row: int,
        override: bool,
        cors: Cors | None,
        earlier: Sequence[Operation],
    ) -> tuple[Sequence[Operation], Sequence[DocumentFault]]:
        """Every operation of the document and every fault in it.

        ``text``: YAML or JSON. ``file``: the document's name for people. Exactly one of
        ``scope_from_description`` (a regular expression with one group) and ``scope_from`` (``security`` or an
        ``x-`` field) is given. ``any_of``: several scopes of one operation mean any of them instead of all.
        ``earlier``: the operations of the rows above, which settle what the document leaves open.
        """


class OperationsChecker(Protocol):
    """Compares operations of one table."""

    def __call__(
        self, operations: Sequence[Operation], case_insensitive_upstreams: frozenset[str]
    ) -> Sequence[tuple[Operation, Operation]]:
        """Every pair (earlier, later) that contradicts itself. Raises ValueError for a path it cannot take."""
