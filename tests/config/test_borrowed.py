from __future__ import annotations

from keystile.config.borrowed import DocumentReader, OperationsChecker
from keystile.routing.conflicts import check_conflicts
from keystile.routing.openapi import read_operations

# mypy is the test: what routing offers has the shapes that config asks for.
READER: DocumentReader = read_operations
CHECKER: OperationsChecker = check_conflicts


def test_routing_offers_what_config_borrows() -> None:
    _, faults = READER(
        b"x: [",
        file="d.yaml",
        prefix="",
        scope_from_description=None,
        scope_from="security",
        any_of=False,
        upstream="api",
        row=0,
        override=False,
        cors=None,
        earlier=(),
    )
    [fault] = faults
    assert isinstance(fault.line, int | None)
    assert (str(fault.path), str(fault.value)) == (fault.path, fault.value)
    assert fault.message
    assert list(CHECKER((), frozenset())) == []
