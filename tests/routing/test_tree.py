from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Operation
from keystile.routing.route import NoRoute, Route
from keystile.routing.template import parse_template
from keystile.routing.tree import Tree
from tests.routing.rules import row, slowly

METHODS = ("GET", "HEAD", "POST", "DELETE")


def tree_of(*operations: Operation) -> Tree:
    tree = Tree()
    for number, each in enumerate(operations):
        tree.add(
            parse_template(each.path),
            Route(number, each.path, each.methods, each.needs, each.upstream, None, each.source),
        )
    tree.finish()
    return tree


def found(tree: Tree, method: str, path: str) -> str:
    answer = tree.find(method.encode(), path.encode().split(b"/"))
    if isinstance(answer, Route):
        return answer.path
    return f"{answer.kind} {answer.allow.decode()}".rstrip()


def test_a_literal_beats_a_parameter_segment_by_segment() -> None:
    tree = tree_of(row("/{a}/order", "A", "PUT"), row("/in/{id}", "B", "PUT"), row("/in/order", "C", "PUT"))
    assert found(tree, "PUT", "/in/order") == "/in/order"
    assert found(tree, "PUT", "/in/x") == "/in/{id}"
    assert found(tree, "PUT", "/out/order") == "/{a}/order"


def test_a_literal_that_lacks_the_method_falls_through_to_a_parameter() -> None:
    tree = tree_of(row("/events/export", "A", "POST"), row("/events/{id}", "B", "GET"))
    assert found(tree, "GET", "/events/export") == "/events/{id}"
    assert found(tree, "POST", "/events/export") == "/events/export"
    assert found(tree, "PUT", "/events/export") == "wrong_method GET, HEAD, POST"


def test_a_way_that_ends_too_early_is_left_again() -> None:
    tree = tree_of(row("/a/b/c", "A", "GET"), row("/a/{x}/d", "B", "GET"), row("/{y}/b/{z}/e", "C", "GET"))
    assert found(tree, "GET", "/a/b/d") == "/a/{x}/d"
    assert found(tree, "GET", "/a/b/c/e") == "/{y}/b/{z}/e"


def test_what_is_below_does_not_match_the_path_itself() -> None:
    tree = tree_of(row("/x/*", "A"))
    assert found(tree, "GET", "/x") == "not_found"
    assert found(tree, "GET", "/x/") == "/x/*"
    assert found(tree, "GET", "/x/y/z/") == "/x/*"
    assert found(tree_of(row("/*", "A")), "GET", "/") == "/*"


def test_a_path_known_for_another_method_does_not_fall_to_what_is_below() -> None:
    tree = tree_of(row("/x/{id}", "A", "POST"), row("/x/*", "B"), row("/*", "C"))
    assert found(tree, "GET", "/x/1") == "wrong_method POST"
    assert found(tree, "GET", "/x/1/2") == "/x/*"
    assert found(tree, "GET", "/y") == "/*"


def test_the_longest_prefix_decides_even_without_the_method() -> None:
    tree = tree_of(row("/*", "A"), row("/x/*", "B", "GET"))
    assert found(tree, "POST", "/x/1") == "wrong_method GET, HEAD"


def test_get_admits_head_and_a_row_for_head_counts_more() -> None:
    assert found(tree_of(row("/a", "A", "GET")), "HEAD", "/a") == "/a"
    tree = tree_of(row("/a", "A", "GET"), row("/a", "B"))
    [get, head] = (tree.find(method, [b"", b"a"]) for method in (b"GET", b"HEAD"))
    assert get is head
    tree = tree_of(row("/a", "A", "GET"), row("/a", "B", "HEAD"))
    [get, head] = (tree.find(method, [b"", b"a"]) for method in (b"GET", b"HEAD"))
    assert isinstance(head, Route)
    assert get is not head


def test_a_row_for_every_method_takes_no_trace_connect_or_lower_case() -> None:
    tree = tree_of(row("/a", "A", "GET"), row("/a"))
    for method in ("TRACE", "CONNECT", "get", "Get", "pOST"):
        assert found(tree, method, "/a").startswith("wrong_method DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
    assert found(tree, "PROPFIND", "/a") == "/a"


def test_a_parameter_is_never_empty() -> None:
    tree = tree_of(row("/a/{x}", "A"), row("/b/{x}/", "B"))
    assert found(tree, "GET", "/a/") == "not_found"
    assert found(tree, "GET", "/b/1/") == "/b/{x}/"
    assert found(tree, "GET", "/b/1") == "not_found"


def test_a_row_with_and_without_a_slash_are_two() -> None:
    tree = tree_of(row("/a", "A"), row("/a/", "B"))
    assert (found(tree, "GET", "/a"), found(tree, "GET", "/a/")) == ("/a", "/a/")


SEGMENT = st.sampled_from(["a", "b", "{x}", "{y}"])
TEMPLATE = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end,
    st.lists(SEGMENT, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/", "/*"]),
)
OPERATION = st.builds(
    lambda path, methods, scope: row(path, scope, *methods),
    TEMPLATE,
    st.sampled_from([(), ("GET",), ("POST",), ("GET", "POST"), ("HEAD",), ("DELETE",)]),
    st.sampled_from(["A", "B", None]),
)
PATH = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end,
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5),
    st.sampled_from(["", "", "/"]),
)


@given(st.lists(OPERATION, max_size=12), st.sampled_from(METHODS), PATH)
def test_the_tree_finds_what_trying_every_row_finds(rows: list[Operation], method: str, path: str) -> None:
    expected = slowly(rows, method, path[1:].split("/"))
    answer = tree_of(*rows).find(method.encode(), path.encode().split(b"/"))
    if isinstance(answer, NoRoute):
        assert answer.kind == expected
    else:
        assert rows[answer.id] is expected
