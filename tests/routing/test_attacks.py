"""Paths that other gateways let through: named cases, what common servers make of them, and planted faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keystile.config.model import Operation
from keystile.routing import paths, table
from keystile.routing.route import NoRoute, Route
from keystile.routing.table import Habits, RouteTable
from tests.examples import examples
from tests.routing.rules import row, slowly
from tests.routing.servers import IGNORES_CASE, SERVERS, STEPS, decoded, split
from tests.routing.test_tree import OPERATION

# A site where much is open, so that whoever gets past the closed rows gets in.
SITE = [
    row("/admin", "Admin"),
    row("/admin/*", "Admin"),
    row("/public/{x}"),
    row("/public/{x}/raw", "Raw", "POST"),
    row("/static/*"),
    row("/files/{name}", "Files"),
    row("/files/export/{id}", "Export"),
    row("/{page}"),
    row("/v1/{a}/{b}", "One"),
    row("/v1/all/secret", "Secret"),
]
CLOSED = RouteTable(SITE)
CLOSED_CASELESS = RouteTable(SITE, Habits(frozenset({"api"})))

# None of these may lead anywhere, not even to the row that an attacker wants to get around.
ATTACKS: dict[str, list[str]] = {
    "traversal": [
        "/public/../admin", "/static/../admin", "/static/x/../../admin", "/static/./x", "/public/..",
        "/../admin", "/.", "/static/.../../admin", "/static/../../../../etc/passwd",
    ],
    "escaped traversal": [
        "/public/%2e%2e/admin", "/static/%2E%2E/admin", "/static/.%2e/admin", "/static/%2e./admin",
        "/public/..%2Fadmin", "/static/x%2f..%2f..%2fadmin", "/public/%2e%2e%2fadmin", "/static/%2e/x",
    ],
    "traversal in layers": [
        "/static/%252e%252e/admin", "/public/..%252fadmin", "/public/%252e%252e%252fadmin",
        "/static/%25252e%25252e/admin", "/static/%%32%65%%32%65/admin", "/static/.%252e/admin",
        "/static/%25%32%65%25%32%65/admin",
    ],
    "parameters": [
        "/static/..;/admin", "/static/..;x=1/admin", "/static/%2e%2e;/admin", "/static/..%3b/admin",
        "/static/..%253b/admin", "/admin;x", "/;/admin", "/x;/../admin", "/admin;jsessionid=1",
        "/admin%3Bx", "/admin%253Bx", "/static/;/x",
    ],
    "slashes": [
        "//admin", "/static//x", "/static/%2fadmin", "/%2Fadmin", "/files/export%2F1",
        "/files/export%252F1", "/files/export%25252F1", "/files/a%2F%2Fb", "/admin%2F", "/admin%252F",
        "/admin%2fx", "/files//export/1",
    ],
    "backslashes": [
        "/static\\..\\admin", "/static/..\\admin", "/static/..%5cadmin", "/static/%5c..%5cadmin",
        "/public/..%255cadmin", "/%5cadmin", "/files/export\\1", "/files/export%5C1",
    ],
    "control bytes": [
        "/admin\0", "/admin%00", "/admin%00.html", "/static/..%00/admin", "/admin%0a", "/admin%0d%0aX:%20y",
        "/admin%09", "/static/.%0a./admin", "/admin%2500", "/admin%7f", "/x\tadmin",
    ],
    "fragments and queries": [
        "/x#/../admin", "/admin#", "/admin%23x", "/admin%3Fx", "/admin%253Fx", "/files/export%2F1%3Fx",
        "/static/..%3F", "/static/..%23/admin",
    ],
    "unicode": [
        "/static/．．/admin", "/static/%EF%BC%8E%EF%BC%8E/admin", "/static/%E2%80%A5/admin",
        "/files/export%EF%BC%8F1", "/static/%c0%ae%c0%ae/admin", "/files/export%c0%af1",
        "/static/%e0%80%ae%e0%80%ae/x", "/%ff", "/static/%uff0e%uff0e/x", "/%EF%BD%81dmin",
        "/static/%EF%BC%BCadmin", "/admin%EF%BC%9Bx", "/%F0%9D%93%AAdmin",
    ],
    "broken escapes": [
        "/%", "/static/%2", "/static/%zz", "/static/%u002e%u002e", "/%61dmin%", "/static/% 41",
    ],
    "other methods": [
        "/public/a%2Fraw", "/public/a%252Fraw", "/public/a%2Fraw%3Bx", "/public/a%2Fraw;x",
        "/public/a%2fraw%2f",
    ],
    "literals against parameters": [
        "/v1/all;/secret", "/v1/all/secret;x", "/v1/all;x/secret", "/v1/all/secret%3Bx",
        "/v1/all/secret%3F", "/v1/all/secret%2523",
    ],
}  # fmt: skip
# What must not be refused, though it looks like the above; with what it needs.
HARMLESS = {
    "/%61dmin": "Admin",
    "/a%64min/x": "Admin",
    "/admin/x%2Fy": "Admin",
    "/files/a%2Fb": "Files",
    "/files/a;b": "Files",
    "/files/a%3Bb": "Files",
    "/files/100%25": "Files",
    "/files/what%3F": "Files",
    "/files/...": "Files",
    "/files/..a": "Files",
    "/files/.hidden": "Files",
    "/files/caf%C3%A9": "Files",
    "/files/a+b@c": "Files",
    "/static/x/": "public",
    "/static/a;v=1/b": "public",
}
CASES = [
    "/ADMIN",
    "/Admin",
    "/aDmin;x",
    "/%41dmin",
    "/ADMIN%2F",
    "/adm%C4%B1n",
    "/FILES/EXPORT%2F1",
    "/files/EXPORT%2f1",
]


@pytest.mark.parametrize(("family", "path"), [(family, path) for family, found in ATTACKS.items() for path in found])
def test_an_attack_leads_nowhere(family: str, path: str) -> None:
    answer = CLOSED.find(b"GET", path.encode())
    assert isinstance(answer, NoRoute)
    assert answer.kind in {"bad_path", "ambiguous"}


@pytest.mark.parametrize("path", CASES)
def test_another_case_leads_nowhere_where_the_upstream_ignores_it(path: str) -> None:
    answer = CLOSED_CASELESS.find(b"GET", path.encode())
    assert isinstance(answer, NoRoute)
    assert answer.kind in {"ambiguous", "not_found"}


@pytest.mark.parametrize("path", HARMLESS)
def test_what_only_looks_like_an_attack_passes(path: str) -> None:
    answer = CLOSED.find(b"GET", path.encode())
    assert isinstance(answer, Route)
    assert ("public" if answer.needs.public else next(iter(answer.needs.all_of))) == HARMLESS[path]


# What servers do -------------------------------------------------------------------------------------------------

PIECES = [
    *"ab/.;",
    "admin",
    "A",
    "%2f",
    "%2F",
    "%252f",
    "%25",
    "%61",
    "%2561",
    "%3b",
    "%253B",
    ";x",
    "..",
    "%2e",
    "%2E%2e",
]
PIECES += [
    "%5c",
    "%00",
    "%3f",
    "%23",
    "%EF%BC%8F",
    "%EF%BC%8E",
    "%c0%af",
    "%C3%A9",
    "%20",
    "c",
    "/a",
    "/b",
    "//",
    "%2541",
]
ATTEMPT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(lambda pieces: "/" + "".join(pieces))
TABLE = st.lists(OPERATION.filter(lambda operation: operation.path[-1] != "/"), min_size=1, max_size=10)


def deciding(operations: Sequence[Operation]) -> list[Operation]:
    """The same rows; where two contradict each other, the earlier wins."""
    return [replace(operation, override=True) for operation in operations]


def assert_harmless(checked: Route, operations: list[Operation], method: str, segments: list[str], fold: bool) -> None:
    """That what another server reads needs what was checked, or is nothing that any row names."""
    reached = slowly(operations, method, segments, fold)
    assert reached == "not_found" or (
        isinstance(reached, Operation) and (reached.needs, reached.upstream) == (checked.needs, checked.upstream)
    ), f"checked {checked.path}, reached {reached}"


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=examples(400), deadline=None)
@given(TABLE, st.sampled_from(["GET", "POST"]), ATTEMPT)
@example([row("/a/{x}", "A"), row("/a/b/c", "B")], "GET", "/a/b%2fc")
@example([row("/*"), row("/a", "A")], "GET", "/a/")
@example([row("/*"), row("/a", "A")], "GET", "/a%3Fb")
def test_no_common_server_reads_an_admitted_path_as_one_with_other_needs(
    server: str, operations: list[Operation], method: str, path: str
) -> None:
    operations = deciding(operations)
    fold = server in IGNORES_CASE
    answer = RouteTable(operations, Habits(frozenset({"api"} if fold else ()))).find(method.encode(), path.encode())
    segments = SERVERS[server](path)
    if isinstance(answer, Route) and segments is not None:
        assert_harmless(answer, operations, method, segments, fold)


@settings(max_examples=examples(600), deadline=None)
@given(TABLE, ATTEMPT, st.lists(st.sampled_from(STEPS), max_size=4), st.sampled_from([split, *SERVERS.values()]))
def test_no_chain_of_servers_does_either(
    operations: list[Operation],
    path: str,
    steps: list[Callable[[str], str]],
    last: Callable[[str], list[str] | None],
) -> None:
    operations = deciding(operations)
    answer = RouteTable(operations, Habits(frozenset({"api"}))).find(b"GET", path.encode())
    if not isinstance(answer, Route):
        return
    text = path
    for step in steps:
        text = step(text) or "/"
    segments = last(text)
    if segments is None or (last is split and decoded not in steps):
        return  # nobody routes by what is not decoded at all
    assert_harmless(answer, operations, "GET", segments, fold=True)


# Faults planted in the rules -------------------------------------------------------------------------------------

NOTHING = re.compile(rb"(?!)")


def no_moves(segs: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    return []


def lenient_agreement(first: Route, other: Route | NoRoute) -> bool:
    return isinstance(other, NoRoute) or (first.needs == other.needs)


PLANTED: dict[str, tuple[object, str, object, str]] = {
    "dots are not looked for": (paths, "_DOT_SEGMENT", NOTHING, "escaped traversal"),
    "control bytes are not looked for": (paths, "_NEVER_DECODED", NOTHING, "control bytes"),
    "broken escapes stay": (paths, "_BROKEN_ESCAPE", NOTHING, "broken escapes"),
    "backslashes and marks stay": (paths, "_NEVER_RAW", NOTHING, "fragments and queries"),
    "one reading is enough": (paths, "_moved", no_moves, "slashes"),
    "semicolons and layers are plain": (paths, "_READ_IN_TWO_WAYS", NOTHING, "parameters"),
    "layers are not opened": (paths, "_moved", no_moves, "traversal in layers"),
    "unicode is not composed": (paths, "_compose", lambda segs: segs, "unicode"),
    "queries are not cut": (paths, "_cut_query", lambda segs: segs, "fragments and queries"),
    "all others agree": (table, "_same", lambda one, other: True, "literals against parameters"),
    "another method does not matter": (table, "_agrees", lenient_agreement, "other methods"),
}


@pytest.mark.source_only("it plants faults in functions that compiled code calls directly")
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_lets_an_attack_through(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, replacement, family = PLANTED[fault]
    monkeypatch.setattr(module, name, replacement)
    assert any(isinstance(CLOSED.find(b"GET", path.encode()), Route) for path in ATTACKS[family])
