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
from tests.routing.servers import IGNORES_CASE, SERVERS

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
        reached_by = read(text)
        if isinstance(answer, Route) and reached_by is not None:
            reached = slowly(TABLES[which], method, reached_by, name in IGNORES_CASE)
            assert reached == "not_found" or (
                isinstance(reached, Operation) and (reached.needs, reached.upstream) == (answer.needs, answer.upstream)
            ), f"checked {answer.path}; {name} reaches {reached}"


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
