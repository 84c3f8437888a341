"""Path rules as a target: what a raw path reaches by the readings of common servers, in some fixed tables.

Law: the tables and the readings are the routing tests' own; only the paths come from the fuzzer.
"""

from __future__ import annotations

from dataclasses import replace

from keystile.config.model import Operation
from keystile.routing.paths import MOST_READINGS, BadPath, is_plain, readings, segments
from keystile.routing.route import Route
from keystile.routing.table import Habits, RouteTable
from tests.routing.rules import row, slowly
from tests.routing.servers import IGNORES_CASE, SERVERS, Reading
from tests.routing.test_path_readings import (
    express_literals_undecoded,
    rails_format,
    spring_shortest,
    spring_suffix,
    windows_names,
)

#: Tables in which a wrong reading does the most: open rows beside closed ones.
SITES: tuple[list[Operation], ...] = (
    [
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
    ],
    [row("/*"), row("/a", "A"), row("/a/{x}", "B"), row("/a/b/c", "C"), row("/a/b", "D", "POST")],
    [row("/{x}/{y}"), row("/{x}/b", "A"), row("/a/{y}", "B"), row("/a/b", "C"), row("/a/b/*", "D")],
)
TABLES = [[replace(operation, override=True) for operation in site] for site in SITES]
_EXACT = [RouteTable(table) for table in TABLES]
_CASELESS = [RouteTable(table, Habits(case_insensitive=frozenset({"api"}))) for table in TABLES]
_API = frozenset({"api"})
_LOOSE = [RouteTable(table, Habits(_API, _API, _API)) for table in TABLES]
_BY_ENDING: tuple[Reading, ...] = (spring_suffix, spring_shortest, rails_format, windows_names)


def path_rules(data: bytes) -> None:
    """The first byte chooses table and method; the rest is the path."""
    first = data[0] if data else 0
    path = b"/" + data[1:]
    method = "POST" if first & 4 else "GET"
    which = (first & 3) % len(TABLES)
    _check_readings(path)
    caseless = _CASELESS[which].find(method.encode(), path)
    exact = _EXACT[which].find(method.encode(), path)
    if isinstance(caseless, Route):
        assert isinstance(exact, Route), "ignoring case admits more"
        assert caseless.path == exact.path
    if not isinstance(exact, Route):
        return
    text = path.decode("ascii")
    for name, read in SERVERS.items():
        answer = caseless if name in IGNORES_CASE else exact
        if isinstance(answer, Route):
            _check_reached(answer, TABLES[which], method, read(text), name in IGNORES_CASE)
    loose = _LOOSE[which].find(method.encode(), path)
    if isinstance(loose, Route):
        assert loose.path == exact.path
        for read in _BY_ENDING:
            _check_reached(loose, TABLES[which], method, read(text), read is windows_names)
        if method == "GET" and which == 2:  # Express's order is the order of rows: here only the most specific first
            _check_express(loose, text)


def _check_reached(checked: Route, table: list[Operation], method: str, by: list[str] | None, fold: bool) -> None:
    if by is not None:
        reached = slowly(table, method, by, fold)
        assert reached == "not_found" or (
            isinstance(reached, Operation) and (reached.needs, reached.upstream) == (checked.needs, checked.upstream)
        ), f"checked {checked.path}; {by} reaches {reached}"


def _check_express(checked: Route, path: str) -> None:
    rows = sorted(TABLES[2], key=lambda each: [part.startswith("{") for part in each.path.split("/")])
    reached = express_literals_undecoded(path, [each for each in rows if "*" not in each.path])
    needs = [each.needs for each in rows if each.path == reached]
    assert not needs or needs[0] == checked.needs, f"checked {checked.path}; Express reaches {reached}"


def _check_readings(path: bytes) -> None:
    try:
        found = readings(path)
    except BadPath:
        return
    assert found[0] == segments(path)
    assert 0 < len(found) <= MOST_READINGS
    for segs in found:
        text = b"/".join(segs)
        assert b"\\" not in text
        assert not any(byte < 32 or byte == 127 for byte in text)
        assert all(part.strip(b" ") not in (b".", b"..") for part in text.split(b"/"))
    if is_plain(path):
        assert found == (tuple(path[1:].split(b"/")),)


def seed_paths() -> list[bytes]:
    """The corpus of the routing tests, for each table."""
    from tests.routing.test_attacks import ATTACKS, CASES, HARMLESS

    known = [path for family in ATTACKS.values() for path in family]
    raw = [path.encode()[1:] for path in (*known, *CASES, *HARMLESS)]
    return [bytes([which]) + path for path in raw for which in (0, 1, 2, 4)]
