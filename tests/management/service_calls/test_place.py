from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Needs, Operation
from keystile.keys.naming import key_name
from keystile.management.service_calls.errors import Refused
from keystile.management.service_calls.place import Place, can_be_reached, place_of
from tests.management.service_calls.conftest import table_of

TABLE = table_of()


@pytest.mark.parametrize(
    ("raw", "prefix", "place"),
    [
        ("/v4/security/apikeys", "/v4/security", Place("apikeys", None)),
        ("/v4/security/apikeys?x=/y", "/v4/security", Place("apikeys", None)),
        ("/v4/%73ecurity/api%6Beys/a%2Fb", "/v4/security", Place("apikeys", "a/b")),
        ("/v4/security/smtp/a%252Fb", "/v4/s%65curity", Place("smtp", "a%2Fb")),
        ("/smtp/x", "", Place("smtp", "x")),
        ("/v4/security/smtp/", "/v4/security", Place("smtp", "")),
    ],
)
def test_a_path_is_split_before_it_is_decoded(raw: str, prefix: str, place: Place) -> None:
    assert place_of(raw, prefix) == place


@pytest.mark.parametrize(
    "raw", ["/", "", "*", "/v4", "/v5/security/smtp", "/v4/security/smtp/a/b", "/v4%2Fsecurity/smtp", "/é/x/smtp"]
)
def test_another_path_is_nowhere(raw: str) -> None:
    with pytest.raises(Refused) as refused:
        place_of(raw, "/v4/security")
    assert refused.value.kind.status == 404


def test_the_prefix_alone_is_no_kind() -> None:
    assert place_of("/v4/security", "/v4/security").kind == ""


@given(st.text(min_size=1, max_size=100))
def test_every_name_that_can_be_reached_comes_back_as_it_was(text: str) -> None:
    try:
        name = key_name(text)
    except ValueError:
        return
    if can_be_reached(TABLE, "/v4/security", Place("apikeys", name)):
        assert place_of(f"/v4/security/apikeys/{quote(name, safe='')}", "/v4/security").name == name


@pytest.mark.parametrize("name", ["a/b", "100%", "a;b", "é", "a b", "...", "a?b#c", "%", "a%2Fb"])
def test_names_that_clients_use_can_be_reached(name: str) -> None:
    assert can_be_reached(TABLE, "/v4/security", Place("apikeys", name))


@pytest.mark.parametrize("name", [".", "..", "a/..", "a//b", "/a", "a\\b", ".;x"])
def test_names_that_no_relay_lets_through_cannot(name: str) -> None:
    assert not can_be_reached(TABLE, "/v4/security", Place("apikeys", name))


def test_a_name_that_another_row_catches_cannot_be_reached() -> None:
    table = table_of("/v4/security", Operation(("PUT",), "/v4/security/smtp/x", Needs(), "api", "test", 0))
    assert not can_be_reached(table, "/v4/security", Place("smtp", "x"))
    assert can_be_reached(table, "/v4/security", Place("apikeys", "x"))
