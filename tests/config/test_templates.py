from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.config import templates
from keystile.routing.template import parse_template
from tests.examples import examples


@pytest.mark.parametrize(
    "path", ["/", "/*", "/v4/contacts", "/v4/files/{name}", "/v2/*", "/a/", "/{a}/{b}/*", "/a%20b/é", "/{a.b-c_1}"]
)
def test_a_template(path: str) -> None:
    assert templates.template(path) == path


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("v4", "does not begin with /"),
        ("/a/{b}c", "one whole segment"),
        ("/{}", "one whole segment"),
        ("/{a", "one whole segment"),
        ("/a}", "one whole segment"),
        ("/a*", r"such as /v2/\*"),
        ("/*/a", r"such as /v2/\*"),
        ("/**", r"such as /v2/\*"),
        ("/a/../b", "segment"),
        ("/a/.", "segment"),
        ("/a//b", "empty segment"),
        ("//", "empty segment"),
        ("/a?b=c", "a query"),
        ("/a#b", "a fragment"),
        ("/a\\b", "a backslash"),
        ("/a;b", "a parameter"),
        ("/a b", "write it as %20"),
        ("/a%2Fb", "no escape"),
        ("/a%5cb", "no escape"),
        ("/a%00", "no escape"),
        ("/a%ff", "not UTF-8"),
        ("/a%2", "no escape"),
        ("/%2e%2E/a", "segment"),
        ("/a\x00", "cannot be printed"),
        ("/{a}/{a}", "two segments alike"),
        ("/" + "a" * 2000, "longer than"),
        (5, "is no text"),
        (None, "is no text"),
    ],
)
def test_what_is_no_template_is_refused(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        templates.template(value)


@settings(max_examples=examples(1500))
@given(st.text("/{}*ab.%;?#\\é \x7f~$2eEfF5c0C", max_size=12).map("/".__add__) | st.text(max_size=12).map("/".__add__))
def test_routing_can_take_every_template_that_is_one(path: str) -> None:
    try:
        templates.template(path)
    except ValueError:
        return
    parse_template(path)


@pytest.mark.parametrize(("value", "prefix"), [("", ""), ("/", ""), (None, ""), ("/v4", "/v4"), ("/v4/", "/v4")])
def test_a_prefix_never_ends_with_a_slash(value: object, prefix: str) -> None:
    assert templates.prefix(value) == prefix


@pytest.mark.parametrize("value", ["v4", "/{a}", "/*", "/a//b"])
def test_what_is_no_prefix_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"is not a prefix|does not begin|empty segment"):
        templates.prefix(value)


def test_a_health_path_is_plain_or_off() -> None:
    assert templates.health_path(None) is None
    assert templates.health_path("/healthz") == "/healthz"


@pytest.mark.parametrize("value", ["/{a}", "/a b", "/é", "/*", "healthz", "/a?b"])
def test_another_health_path_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"is not a plain path|does not begin|a query|a space"):
        templates.health_path(value)
