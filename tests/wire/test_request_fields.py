"""What is done with a field, by its name; what the fields of a head say together: ``test_request_head.py``."""

from __future__ import annotations

import pytest

from keystile.wire.faults import Fault, WireError
from keystile.wire.request_fields import (
    FORWARDED_RULES,
    TRACE_RULES,
    X_FORWARDED_RULES,
    RequestFields,
    _is_short_host,
    _short_options,
    rule_of,
)

WITHHELD = frozenset({b"x-api-key"})


def passed_on(name: bytes, value: bytes = b"x", *, trusted: bool = False, forwarded: bool = False) -> bool:
    believed = (FORWARDED_RULES if forwarded else X_FORWARDED_RULES) if trusted else None
    rule = rule_of(name, WITHHELD, believed, TRACE_RULES)
    return rule is None or rule(RequestFields(1), name, value)


def said(name: bytes, value: bytes) -> RequestFields:
    fields = RequestFields(1)
    rule = rule_of(name, WITHHELD, None, TRACE_RULES)
    assert rule is not None
    rule(fields, name, value)
    return fields


def test_what_means_nothing_to_a_gateway_is_passed_on() -> None:
    assert all(map(passed_on, (b"Accept", b"ACCEPT", b"x_y", b"Authorization", b"Origin", b"traceparent")))


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"TE", b"X-Keystile-Account", b"x_keystile_key", b"X-Forwarded-For", b"X-Real-IP",
     b"X_API_KEY", b"Upgrade", b"Proxy-Authorization", b"X-Request-Id"],
)  # fmt: skip
def test_what_is_a_connections_own_or_says_who_calls_is_not(name: bytes) -> None:
    assert not passed_on(name)


def test_a_proxy_is_believed_in_one_of_both_ways() -> None:
    assert not passed_on(b"X-Forwarded-For", trusted=True)
    assert not passed_on(b"X-Forwarded-For", trusted=True, forwarded=True)
    assert passed_on(b"X-Real-IP", trusted=True)


def test_a_withheld_field_is_known_by_one_name_in_whatever_spelling() -> None:
    for name in (b"X-Api-Key", b"x_api_KEY", b"X-API_Key"):
        assert said(name, b" A\t").withheld == ((b"x-api-key", b"A"),)


@pytest.mark.parametrize("name", [b"Content_Length", b"transfer_encoding", b"CONTENT_length"])
def test_an_alias_of_what_frames_a_message_is_refused(name: bytes) -> None:
    with pytest.raises(WireError) as raised:
        said(name, b"5")
    assert raised.value.fault is Fault.MALFORMED


@pytest.mark.parametrize("value", [b"a b", b"a/b", b"", b"a:123456", b"[::1", b"u@a", b"a" * 300 + b"/"])
def test_a_host_is_well_formed_every_time_it_is_asked(value: bytes) -> None:
    for _ in range(2):
        with pytest.raises(WireError) as raised:
            said(b"Host", value)
        assert raised.value.fault is Fault.BAD_HOST


def test_a_long_host_and_long_options_are_read_and_not_remembered() -> None:
    hosts, options = _is_short_host.cache_info().currsize, _short_options.cache_info().currsize
    assert said(b"Host", b"a" * 300).host == b"a" * 300
    assert said(b"Connection", b"close, " + b"a" * 300).named == {b"close", b"a" * 300}
    assert (hosts, options) == (_is_short_host.cache_info().currsize, _short_options.cache_info().currsize)


def test_what_is_remembered_of_values_is_bounded() -> None:
    for number in range(1000):
        assert said(b"Host", b"h%d" % number).host == b"h%d" % number
        assert said(b"Connection", b"o%d" % number).named == {b"o%d" % number}
    assert max(_is_short_host.cache_info().currsize, _short_options.cache_info().currsize) <= 256
