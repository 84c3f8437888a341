from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Needs, Operation
from keystile.routing.difference import opening, route_changes
from keystile.routing.table import RouteTable

PUBLIC, ANY_KEY = Needs(public=True), Needs()
SCOPES = ("A", "B", "C")


def scopes(*every: str, some: tuple[str, ...] = ()) -> Needs:
    return Needs(all_of=frozenset(every), any_of=frozenset(some))


def row(path: str, needs: Needs, *methods: str, upstream: str = "api", **more: Any) -> Operation:
    return Operation(methods, path, needs, upstream, "gateway.yaml:1", 0, override=True, **more)


def told(was: list[Operation], now: list[Operation]) -> list[str]:
    found = route_changes(RouteTable(was), RouteTable(now))
    return [f"{one.what} {one.method} {one.path} {one.opening}".rstrip() for one in found]


def test_what_stays_is_no_change_whatever_its_parameters_are_called() -> None:
    was = [row("/files/{name}", scopes("A"), "GET", "POST"), row("/v2/*", scopes("B"))]
    now = [row("/v2/*", scopes("B")), row("/files/{file}", scopes("A"), "POST"), row("/files/{f}", scopes("A"), "GET")]
    assert told(was, now) == []


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (scopes("A"), PUBLIC, "public"),
        (ANY_KEY, PUBLIC, "public"),
        (scopes("A"), ANY_KEY, "less"),
        (scopes("A", "B"), scopes("A"), "less"),
        (scopes("A"), scopes(some=("A", "B")), "less"),
        (scopes("A"), scopes("B"), "other"),
        (scopes(some=("A", "B")), scopes(some=("B", "C")), "other"),
        (PUBLIC, scopes("A"), ""),
        (ANY_KEY, scopes("A"), ""),
        (scopes("A"), scopes("A", "B"), ""),
        (scopes(some=("A", "B")), scopes("A"), ""),
        (scopes("A"), scopes(some=("A",)), ""),
    ],
)
def test_who_gets_in_that_did_not(was: Needs, now: Needs, said: str) -> None:
    assert opening(was, now) == said
    assert told([row("/x", was, "GET")], [row("/x", now, "GET")]) == [f"changed GET /x {said}".rstrip()]


def test_a_row_that_comes_opens_what_was_refused() -> None:
    assert told([row("/x", ANY_KEY)], [row("/x", ANY_KEY), row("/y", PUBLIC, "GET"), row("/z", scopes("A"))]) == [
        "added GET /y public",
        "added * /z",
    ]


def test_a_row_that_goes_leaves_its_path_to_another() -> None:
    wide = row("/v2/*", PUBLIC)
    assert told([row("/v2/admin", scopes("A")), wide], [wide]) == ["changed * /v2/admin public"]
    assert told([row("/v2/admin", scopes("A")), row("/x", ANY_KEY)], [row("/x", ANY_KEY)]) == ["removed * /v2/admin"]


def test_a_wide_row_that_comes_is_asked_where_it_wins() -> None:
    kept = row("/a/{x}", scopes("A"))
    # One segment below /a/ is as it was; two segments were refused.
    assert told([kept], [kept, row("/a/*", PUBLIC)]) == ["added * /a/* public"]


def test_methods_are_operations_of_their_own() -> None:
    was, now = [row("/x", scopes("A"), "GET")], [row("/x", PUBLIC)]
    assert told(was, now) == ["added * /x public", "changed GET /x public"]
    assert told(now, was) == ["changed GET /x", "removed * /x"]


def test_where_it_goes_and_what_it_may_become_count_too() -> None:
    was = [row("/x", scopes("A"), "GET"), row("/y", scopes("A"), "GET")]
    now = [row("/x", scopes("A"), "GET", upstream="b"), row("/y", scopes("A"), "GET", websocket=True)]
    assert told(was, now) == ["changed GET /x", "changed GET /y"]


def test_literals_beyond_ascii_are_looked_up_as_clients_send_them() -> None:
    assert told([row("/ä", scopes("A")), row("/*", PUBLIC)], [row("/*", PUBLIC)]) == ["changed * /ä public"]


sets = st.frozensets(st.sampled_from(SCOPES))
needs = st.builds(Needs, public=st.booleans(), all_of=sets, any_of=sets)


def admits(some: Needs | None, held: frozenset[str]) -> bool:
    if some is None:
        return False
    return some.public or (some.all_of <= held and (not some.any_of or bool(some.any_of & held)))


@given(st.none() | needs, needs)
def test_an_opening_is_one_exactly_where_some_key_gets_in_that_did_not(was: Needs | None, now: Needs) -> None:
    every = [frozenset(s for at, s in enumerate(SCOPES) if bits >> at & 1) for bits in range(2 ** len(SCOPES))]
    newly = [held for held in every if admits(now, held) and not admits(was, held)]
    lost = [held for held in every if admits(was, held) and not admits(now, held)]
    said = opening(was, now)
    if now.public:
        assert said == ("" if was is not None and was.public else "public")
    elif was is None or was.public:
        assert said == ""
    else:
        assert said == ("" if not newly else "other" if lost else "less")
