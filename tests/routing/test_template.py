from __future__ import annotations

import pytest

from keystile.routing.template import BadTemplate, Template, parse_template


def test_a_parameter_is_one_segment_and_its_name_does_not_count() -> None:
    assert parse_template("/v4/files/{name}") == Template((b"v4", b"files", None))
    assert parse_template("/lists/{listname}/contacts") == parse_template("/lists/{name}/contacts")


def test_everything_below_is_a_mark_of_its_own() -> None:
    assert parse_template("/v2/*") == Template((b"v2",), below=True)
    assert parse_template("/*") == Template((), below=True)
    assert parse_template("/{x}/*") == Template((None,), below=True)


def test_a_trailing_slash_makes_another_shape() -> None:
    assert parse_template("/a/") == Template((b"a", b""))
    assert parse_template("/") == Template((b"",))


def test_literals_are_decoded_as_those_of_requests_are() -> None:
    assert parse_template("/a%20b/café") == Template((b"a b", "café".encode()))
    assert parse_template("/%61dmin") == parse_template("/admin")


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "v4/x", "//", "/a//b", "//*", "/a//*", "/a/../b", "/.", "/%2e%2e/a", "/..;/a", "/a\\b", "/a%5cb",
        "/a#b", "/a?b=c", "/a b", "/%zz", "/%00", "/%ff", "/{}", "/{a b}", "/{a}.json", "/x{a}", "/{a}{b}", "/{a",
        "/a}", "/{*a}", "/{a*}", "/*/a", "/a*", "/**", "/a/**", "/{a:[0-9]+}",
    ],
)  # fmt: skip
def test_a_template_that_may_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        parse_template(text)
