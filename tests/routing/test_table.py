from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Cors, Needs, Operation
from keystile.routing.conflicts import RouteConflict
from keystile.routing.route import NoRoute, Route
from keystile.routing.table import Habits, RouteTable, rows
from keystile.routing.template import BadTemplate
from tests.routing.rules import row, slowly
from tests.routing.test_tree import OPERATION, PATH

SERVICE = RouteTable(
    [
        row("/v4/contacts", "ViewContacts", "GET"),
        row("/v4/contacts/{email}", "ViewContacts", "GET"),
        row("/v4/contacts/{email}", "ModifyContacts", "PUT", "DELETE"),
        row("/v4/contacts/export", "Export", "POST"),
        row("/v4/contacts/export/{id}/status", "Export", "GET"),
        row("/v4/security/apikeys/{name}", "ViewAccessTokens", "GET"),
        row("/v4/users/{id}", "Users", "GET", "DELETE"),
        row("/v4/users/{id}/keys", "Users", "GET"),
        row("/admin", "Admin", "GET"),
        row("/v2/*", "Legacy"),
    ]
)


def told(table: RouteTable, method: str, path: str) -> str:
    """The scope that a request needs, or why it has no route."""
    answer = table.find(method.encode(), path.encode())
    if isinstance(answer, NoRoute):
        return answer.kind
    return "public" if answer.needs.public else " ".join(sorted(answer.needs.all_of)) or "any key"


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/v4/contacts", "ViewContacts"),
        ("GET", "/v4/contacts/a%40b.example", "ViewContacts"),
        ("GET", "/v4/contacts/export/7/status", "Export"),
        ("GET", "/v4/contacts/export%2Fx%2Fstatus", "ambiguous"),
        ("GET", "/v4/contacts/export%252Fx%252Fstatus", "ambiguous"),
        ("GET", "/v4/contacts/export%2Fx", "ViewContacts"),
        ("GET", "/%61dmin", "Admin"),
        ("GET", "/%2561dmin", "not_found"),
        ("GET", "/v4/security/apikeys/a%2Fb", "ViewAccessTokens"),
        ("GET", "/v4/security/apikeys/100%25", "ViewAccessTokens"),
        ("DELETE", "/v4/users/1%2Fx", "Users"),
        ("DELETE", "/v4/users/1%2Fkeys", "ambiguous"),
        ("GET", "/v4/users/1%2Fkeys", "Users"),
        ("GET", "/v2/a/b", "Legacy"),
        ("GET", "/v2/a;x/b", "Legacy"),
        ("GET", "/v2/", "Legacy"),
        ("GET", "/v2", "not_found"),
        ("PATCH", "/v4/contacts", "wrong_method"),
        ("GET", "/nothing", "not_found"),
        ("GET", "/nothing/..", "bad_path"),
        ("TRACE", "/v2/a", "wrong_method"),
    ],
)
def test_a_request_needs_what_its_row_says(method: str, path: str, answer: str) -> None:
    assert told(SERVICE, method, path) == answer


def test_a_wrong_method_says_which_are_right() -> None:
    answer = SERVICE.find(b"PATCH", b"/v4/contacts/x")
    assert isinstance(answer, NoRoute)
    assert answer.allow == b"DELETE, GET, HEAD, PUT"


def test_an_earlier_row_wins_where_it_says_so() -> None:
    table = RouteTable([row("/a/{x}", "A", "GET", override=True), row("/a/{y}", "B")])
    assert told(table, "GET", "/a/1") == told(table, "HEAD", "/a/1") == "A"
    assert told(table, "POST", "/a/1") == "B"


def test_rows_that_contradict_each_other_make_no_table() -> None:
    with pytest.raises(RouteConflict) as caught:
        RouteTable([row("/a", "A"), row("/a", "B")])
    assert len(caught.value.pairs) == 1


def test_a_table_is_made_of_what_can_be_served() -> None:
    with pytest.raises(BadTemplate):
        RouteTable([row("/a//b", "A")])
    for method in ("TRACE", "CONNECT", "get", "", "GET POST"):
        with pytest.raises(ValueError, match="never forwarded"):
            RouteTable([row("/a", "A", method)])


def test_a_reading_that_leads_to_another_upstream_is_ambiguous() -> None:
    table = RouteTable([row("/a/{x}", "A"), row("/a/b/c", "A", upstream="other")])
    assert told(table, "GET", "/a/b%2Fc") == "ambiguous"


CASELESS = [row("/{page}", "Page"), row("/admin", "Admin"), row("/files/{x}", "Files"), row("/É", "Admin")]


@pytest.mark.parametrize("path", ["/ADMIN", "/Admin", "/%41dmin", "/adm%C4%B1n", "/%C3%A9", "/admin;x", "/ADMIN%3Fx"])
def test_an_upstream_that_ignores_case_is_not_asked_by_another_case(path: str) -> None:
    assert told(RouteTable(CASELESS, Habits(frozenset({"api"}))), "GET", path) == "ambiguous"
    assert told(RouteTable(CASELESS, Habits(frozenset({"other"}))), "GET", path) in {"Page", "ambiguous"}


def test_case_does_not_matter_where_it_changes_nothing() -> None:
    table = RouteTable(CASELESS, Habits(frozenset({"api"})))
    assert told(table, "GET", "/admin") == "Admin"
    assert told(table, "GET", "/News") == "Page"
    assert told(table, "GET", "/FILES/x") == "not_found"


def test_rows_that_differ_in_case_only_contradict_for_such_an_upstream() -> None:
    mixed = [row("/A", "A"), row("/a", "B")]
    assert told(RouteTable(mixed), "GET", "/a") == "B"
    with pytest.raises(RouteConflict):
        RouteTable(mixed, Habits(frozenset({"api"})))


ENDINGS = [row("/admin", "Admin"), row("/{page}", "Page"), row("/list.csv", "Csv"), row("/list", "List")]


@pytest.mark.parametrize("path", ["/admin.json", "/admin.a.b", "/admin%2ejson", "/list.json", "/admin." + "." * 40])
def test_an_upstream_that_ignores_extensions_is_not_asked_by_another_ending(path: str) -> None:
    table = RouteTable(ENDINGS, Habits(ignore_extensions=frozenset({"api"})))
    assert told(table, "GET", path) in {"ambiguous", "bad_path"}
    assert told(RouteTable(ENDINGS), "GET", "/admin.json") == "Page"


def test_an_upstream_that_matches_literals_undecoded_is_not_asked_by_an_escaped_one() -> None:
    table = RouteTable(ENDINGS, Habits(undecoded_literals=frozenset({"api"})))
    assert told(table, "GET", "/%61dmin") == told(table, "GET", "/admi%6E") == "ambiguous"
    assert told(table, "GET", "/admin") == told(RouteTable(ENDINGS), "GET", "/%61dmin") == "Admin"
    assert told(table, "GET", "/a%40b") == "Page"


def test_endings_do_not_matter_where_they_change_nothing_or_a_row_spells_them_out() -> None:
    table = RouteTable(ENDINGS, Habits(ignore_extensions=frozenset({"api"})))
    assert told(table, "GET", "/list.csv") == "Csv"
    assert told(table, "GET", "/news.json") == "Page"
    assert told(table, "GET", "/.admin") == "Page"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/admin", "Admin"),
        ("/admin/", "ambiguous"),
        ("/admin%2F", "ambiguous"),
        ("/admin;/", "ambiguous"),
        ("/news/", "public"),
        ("/news", "public"),
        ("/", "public"),
        ("/told", "A"),
        ("/told/", "B"),
        ("/told/x", "public"),
        ("/dir/", "Dir"),
        ("/dir", "ambiguous"),
    ],
)
def test_a_slash_at_the_end_does_not_open_what_a_row_closes(path: str, answer: str) -> None:
    table = RouteTable([row("/*"), row("/admin", "Admin"), row("/told", "A"), row("/told/", "B"), row("/dir/", "Dir")])
    assert told(table, "GET", path) == answer


def test_a_row_with_a_parameter_and_a_slash_tells_them_apart_too() -> None:
    table = RouteTable([row("/a/{x}", "A"), row("/a/{y}/", "B"), row("/{z}/b/", "C")])
    assert told(table, "GET", "/a/1") == "A"
    assert told(table, "GET", "/a/1/") == "B"
    assert told(RouteTable([row("/a/{x}", "A"), row("/a/b/", "C")]), "GET", "/a/b") == "ambiguous"


def test_a_preflight_is_about_the_method_to_come() -> None:
    cors = Cors(("https://app.example",))
    operation = Operation(("PUT",), "/a/{x}", Needs(), "api", "", 0, cors=cors)
    table = RouteTable([operation, row("/a/{x}", "Read", "GET")])
    answer = table.find_for_preflight(b"/a/1", b"PUT")
    assert isinstance(answer, Route)
    assert answer.cors is cors
    for path, method, kind in (
        (b"/a/1", b"DELETE", "wrong_method"),
        (b"/a/1", b"put", "wrong_method"),
        (b"/b", b"PUT", "not_found"),
        (b"/a/..", b"PUT", "bad_path"),
    ):
        assert getattr(table.find_for_preflight(path, method), "kind", None) == kind


def test_rows_are_one_for_each_operation_with_its_own_names() -> None:
    table = RouteTable(
        [
            row("/lists/{listname}/contacts", "View", "GET"),
            row("/lists/{name}/contacts", "Modify", "POST", "PUT"),
            Operation(("GET",), "/f/{n}", Needs(all_of=frozenset({"B", "A"})), "files", "", 0),
            Operation(("GET",), "/e", Needs(any_of=frozenset({"D", "C"})), "api", "", 0),
            Operation(
                ("GET",), "/m", Needs(frozenset() != frozenset(), frozenset({"A"}), frozenset({"B"})), "api", "", 0
            ),
            row("/me", "*"),
            row("/health", None, "GET"),
        ]
    )
    assert [tuple(each.values()) for each in rows(table)] == [
        ("GET", "/lists/{listname}/contacts", ["View"], "api"),
        ("POST", "/lists/{name}/contacts", ["Modify"], "api"),
        ("PUT", "/lists/{name}/contacts", ["Modify"], "api"),
        ("GET", "/f/{n}", ["A", "B"], "files"),
        ("GET", "/e", {"any": ["C", "D"]}, "api"),
        ("GET", "/m", {"all": ["A"], "any": ["B"]}, "api"),
        ("*", "/me", [], "api"),
        ("GET", "/health", None, "api"),
    ]
    assert list(rows(table)[0]) == ["method", "path", "scopes", "upstream"]


def test_rows_leave_out_what_an_earlier_row_has_taken() -> None:
    table = RouteTable([row("/a", "A", "GET", override=True), row("/a", "B", "GET", "PUT"), row("/a", "B", "PUT")])
    assert [(each["method"], each["scopes"]) for each in rows(table)] == [("GET", ["A"]), ("PUT", ["B"])]


@given(st.lists(OPERATION, max_size=10), st.sampled_from(["GET", "HEAD", "POST"]), PATH)
def test_the_fast_way_answers_what_the_slow_way_answers(operations: list[Operation], method: str, path: str) -> None:
    operations = [
        row(each.path, next(iter(each.needs.all_of), None), *each.methods, override=True) for each in operations
    ]
    table = RouteTable(operations)
    answer = table.find(method.encode(), path.encode())
    escaped = "/".join("".join(f"%{ord(letter):02x}" for letter in part) for part in path.split("/"))
    assert table.find(method.encode(), escaped.encode()) == answer
    if isinstance(answer, Route):
        assert operations[answer.id] is slowly(operations, method, path[1:].split("/"))


@given(st.text(st.characters(categories=("L", "N")) | st.sampled_from(" @+-_:/%"), min_size=1))
def test_a_name_in_the_path_is_found_or_refused_but_never_something_else(name: str) -> None:
    path = "/v4/security/apikeys/" + quote(name, safe="")
    assert told(SERVICE, "GET", path) in ({"ViewAccessTokens", "bad_path"} if "/" in name else {"ViewAccessTokens"})
