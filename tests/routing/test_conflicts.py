from __future__ import annotations

import pytest

from keystile.config.model import Needs, Operation
from keystile.routing.conflicts import RouteConflict, check_conflicts, known_scopes
from tests.routing.rules import row

CONFLICTS = {
    "other scopes": [row("/a", "A", "GET"), row("/a", "B", "GET")],
    "public against any key": [row("/a", None, "GET"), row("/a", "*", "GET")],
    "other parameter names": [row("/a/{x}", "A", "GET"), row("/a/{y}", "B", "GET")],
    "one method in common": [row("/a", "A", "GET", "POST"), row("/a", "B", "POST", "PUT")],
    "every method later": [row("/a", "A", "GET"), row("/a", "B")],
    "every method earlier": [row("/a", "A"), row("/a", "B", "GET")],
    "everything below": [row("/a/*", "A"), row("/a/*", "B")],
    "an escaped literal": [row("/admin", "A"), row("/%61dmin", "B")],
}
NONE = {
    "the same needs": [row("/a", "A", "GET"), row("/a", "A", "GET")],
    "other methods": [row("/a", "A", "GET"), row("/a", "B", "POST")],
    "another shape": [row("/a/b", "A"), row("/a/{x}", "B"), row("/a/*", "C"), row("/a/b/", "D")],
    "the earlier overrides": [row("/a", "A", override=True), row("/a", "B", "GET")],
    "HEAD named beside GET": [row("/a", "A", "GET"), row("/a", "B", "HEAD")],
    "case": [row("/a", "A"), row("/A", "B")],
    "overridden rows among themselves": [row("/a", "A", override=True), row("/a", "B"), row("/a", "C")],
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_an_earlier_row_that_decides_otherwise_must_say_so(name: str) -> None:
    earlier, later = CONFLICTS[name]
    assert check_conflicts([earlier, later]) == [(earlier, later)]


@pytest.mark.parametrize("name", NONE)
def test_rows_that_do_not_contradict_each_other_pass(name: str) -> None:
    assert check_conflicts(NONE[name]) == []


def test_only_the_earlier_row_can_override() -> None:
    later = row("/a", "B", override=True)
    assert check_conflicts([row("/a", "A"), later]) != []


def test_case_counts_for_no_upstream_that_ignores_it() -> None:
    rows = [row("/a", "A"), row("/A", "B"), row("/B", "B", upstream="other"), row("/b", "A", upstream="other")]
    assert check_conflicts(rows, frozenset({"api"})) == [(rows[0], rows[1])]


def test_every_contradiction_is_told_once() -> None:
    rows = [row("/a", "A", "GET", "POST"), row("/a", "B", "GET", "POST"), row("/a", "C", "GET")]
    assert check_conflicts(rows) == [(rows[0], rows[1]), (rows[0], rows[2])]


def test_the_error_names_both_rows() -> None:
    error = RouteConflict([(row("/a/{x}", "A"), row("/a/{y}", "B", "GET"))])
    assert "gateway.yaml: /a/{x} and gateway.yaml: /a/{y}" in str(error)
    assert "GET /a/{y}" in str(error)


def test_known_scopes_are_those_that_some_operation_asks_for() -> None:
    either = Operation((), "/b", Needs(any_of=frozenset({"B", "C"})), "api", "", 0)
    assert known_scopes([row("/a", "A"), row("/c"), row("/d", "*"), either]) == {"A", "B", "C"}
