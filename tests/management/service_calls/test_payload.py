from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.service_calls import payload
from keystile.management.service_calls.errors import Refused

LEAST: dict[str, Any] = {"Name": "n", "AccessLevel": []}


def read(**members: Any) -> payload.Payload:
    return payload.api_key(json.dumps({**LEAST, **members}).encode())


def refused(body: bytes) -> str:
    with pytest.raises(Refused) as caught:
        payload.api_key(body)
    assert caught.value.kind.status == 400
    return caught.value.detail


def test_the_least_and_the_most_that_a_client_says() -> None:
    assert read() == payload.Payload("n", (), (), None)
    most = read(
        AccessLevel=["Export", "None"],
        OtherAccessLevel=["Legacy"],
        Expires="1970-01-01T01:00:00+01:00",
        RestrictAccessToIPRange=["10.0.0.0/8"],
        Subaccount="",
        Unknown={"x": [1]},
    )
    assert most == payload.Payload("n", ("Export", "Legacy"), ("10.0.0.0/8",), 0.0)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-02T00:00:00Z", 86400.0), ("1970-01-02T00:00:00.000Z", 86400.0), ("1970-01-02T00:00:00", 86400.0),
        ("1970-01-02 00:00:00", 86400.0), ("1970-01-02", 86400.0), ("1970-01-02T00:00:00.0000000Z", 86400.0),
        ("1970-01-02T00:00:00.5z", 86400.5), ("1970-01-02T02:30:00+02:30", 86400.0),
        ("1970-01-01T23:59:59.999999999Z", 86399.999999),
    ],
)  # fmt: skip
def test_moments_as_clients_of_every_language_write_them(text: str, at: float) -> None:
    assert read(Expires=text).expires == at


@pytest.mark.parametrize(
    "value",
    ["", "never", 5, 1e9, True, [], {}, "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z",
     "2026-1-1", "0000-01-01T00:00:00Z", "٢026-01-01", "2026-01-01T00:00:00+99:99", " 2026-01-01", "20260101"],
)  # fmt: skip
def test_what_is_no_moment_is_refused(value: object) -> None:
    assert refused(json.dumps({**LEAST, "Expires": value}).encode()).startswith("Expires: ")


def test_the_first_and_last_moments_there_are_do_no_harm() -> None:
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        try:
            read(Expires=text)
        except Refused as fault:
            assert "no such moment" in fault.detail  # noqa: PT017 - either answer is right, a crash is not


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"Name": None}, "Name"), ({"Name": 5}, "Name"), ({"Name": ["n"]}, "Name"),
        ({"AccessLevel": None}, "AccessLevel"), ({"AccessLevel": "Export"}, "AccessLevel"),
        ({"AccessLevel": [None]}, "AccessLevel"), ({"AccessLevel": {"Export": True}}, "AccessLevel"),
        ({"OtherAccessLevel": "Legacy"}, "OtherAccessLevel"),
        ({"RestrictAccessToIPRange": "10.0.0.1"}, "RestrictAccessToIPRange"),
        ({"RestrictAccessToIPRange": [1]}, "RestrictAccessToIPRange"),
    ],
)  # fmt: skip
def test_a_member_of_another_type_is_named(changes: dict[str, Any], member: str) -> None:
    assert refused(json.dumps({**LEAST, **changes}).encode()).startswith(f"{member}: ")


@pytest.mark.parametrize("member", ["Name", "AccessLevel"])
def test_what_is_needed_is_named_where_it_is_missing(member: str) -> None:
    rest = {name: value for name, value in LEAST.items() if name != member}
    assert refused(json.dumps(rest).encode()).startswith(f"{member}: ")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"5", b"{", b'{"Name": "n", "Name": "m", "AccessLevel": []}', b"\xff", b"[" * 100_000,
     b'{"Name": "n", "AccessLevel": [], "Expires": NaN}', '{"Name": "n"}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_object_is_refused(body: bytes) -> None:
    refused(body)


def test_there_are_no_subaccounts() -> None:
    assert refused(json.dumps({**LEAST, "Subaccount": "a@b.c"}).encode()) == payload.NO_SUBACCOUNTS


def test_an_smtp_payload_needs_a_name_only_and_has_one_level() -> None:
    assert payload.smtp_credential(b'{"Name": "a@b.c"}') == payload.Payload("a@b.c", (), (), None)
    assert payload.smtp_credential(b'{"Name": "a@b.c", "AccessLevel": "SendSmtp"}').scopes == ()
    for level in ('"Export"', '["SendSmtp"]', "5"):
        with pytest.raises(Refused, match="invalid"):
            payload.smtp_credential(b'{"Name": "a@b.c", "AccessLevel": %b}' % level.encode())


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_MEMBERS = st.sampled_from(["Name", "AccessLevel", "OtherAccessLevel", "Expires", "RestrictAccessToIPRange", "X"])


@given(st.binary() | st.dictionaries(_MEMBERS, _VALUES).map(lambda value: json.dumps(value).encode()))
def test_whatever_is_sent_is_read_or_refused(body: bytes) -> None:
    for reader in (payload.api_key, payload.smtp_credential):
        try:
            made = reader(body)
        except Refused:
            continue
        assert isinstance(made.name, str)
