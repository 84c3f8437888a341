from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.key import ApiKey, SmtpCredential
from keystile.keys.networks import Networks
from keystile.management.service_calls import payload, shown

KEY = ApiKey("id", "a", "a@b.c", "n", "12345", frozenset({"Export", "Legacy"}), Networks(), None, 0.0, False)


def test_a_key_as_the_service_writes_it() -> None:
    assert shown.with_token(shown.api_key(KEY), "T") == {
        "Name": "n",
        "AccessLevel": ["Export"],
        "OtherAccessLevel": ["Legacy"],
        "DateCreated": "1970-01-01T00:00:00Z",
        "LastUse": None,
        "Expires": None,
        "RestrictAccessToIPRange": [],
        "Token": "T",
    }


def test_an_smtp_credential_has_one_level() -> None:
    one = SmtpCredential("id", "a", "a@b.c", "m@b.c", "12345", Networks.parse(["::1"]), 60.5, 0.0, last_used_at=1.0)
    assert shown.smtp_credential(one) == {
        "Name": "m@b.c",
        "AccessLevel": "SendSmtp",
        "DateCreated": "1970-01-01T00:00:00Z",
        "LastUse": "1970-01-01T00:00:01Z",
        "Expires": "1970-01-01T00:01:00.500Z",
        "RestrictAccessToIPRange": ["::1"],
    }


@given(st.floats(min_value=0, max_value=253402300799, allow_nan=False))
def test_a_moment_that_is_read_back_is_never_later_and_hardly_earlier(at: float) -> None:
    read = payload._expires(shown.moment(at))
    assert read is not None
    assert at - 0.0011 < read <= at


_ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_a_range_is_shown_as_networks_that_hold_exactly_it(one: object, other: object, asked: object) -> None:
    first, last = sorted((ip_address(str(one)), ip_address(str(other))), key=int)
    networks = Networks.parse([f"{first}-{last}"])
    texts = list(shown.cidrs(networks))
    assert Networks.parse(texts).bounds == networks.bounds
    assert all("/" not in text or ip_network(text).num_addresses > 1 for text in texts)


@pytest.mark.parametrize(
    ("given_texts", "told"),
    [
        (["10.0.0.0-10.255.255.255"], ["10.0.0.0/8"]),
        (["10.0.0.1-10.0.0.1"], ["10.0.0.1"]),
        (["2001:db8::1-2001:db8::2"], ["2001:db8::1", "2001:db8::2"]),
        (["192.0.2.1", "10.0.0.0/8"], ["192.0.2.1", "10.0.0.0/8"]),
    ],
)
def test_networks_in_the_order_given(given_texts: list[str], told: list[str]) -> None:
    assert list(shown.cidrs(Networks.parse(given_texts))) == told
