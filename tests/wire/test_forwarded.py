"""Forwarded: the right-most address that nobody vouches for."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.forwarded import Told, told_by
from keystile.wire.peer import Trusted, parse_address

PROXY = ipaddress.ip_address("10.0.0.1")
TRUSTED = Trusted([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])


def told(*lines: str, socket_ip: str = "10.0.0.1") -> Told:
    return told_by(parse_address(socket_ip), [line.encode("latin-1") for line in lines], TRUSTED)


def caller(*lines: str, socket_ip: str = "10.0.0.1") -> str:
    return str(told(*lines, socket_ip=socket_ip).address)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=1.2.3.4"], "1.2.3.4"),
        (["For=1.2.3.4;Proto=https;by=10.0.0.1"], "1.2.3.4"),
        (["by=10.0.0.1;for=1.2.3.4"], "1.2.3.4"),
        (["for=6.6.6.6, for=1.2.3.4"], "1.2.3.4"),
        (["for=6.6.6.6,for=1.2.3.4 ,\tfor=10.9.9.9"], "1.2.3.4"),
        (["for=6.6.6.6", "for=1.2.3.4"], "1.2.3.4"),
        (["for=1.2.3.4", "for=10.1.1.1"], "1.2.3.4"),
        (['for="1.2.3.4:5678"'], "1.2.3.4"),
        (['for="1.2.3.4:_port"'], "10.0.0.1"),
        (['for="[2001:db8::1]"'], "2001:db8::1"),
        (['for="[2001:DB8::1]:443"'], "2001:db8::1"),
        (['for="[::ffff:1.2.3.4]"'], "1.2.3.4"),
        (['for=1.2.3.4, for="[fd00::1]"'], "1.2.3.4"),
        (['for="\\1.2.3.4"'], "1.2.3.4"),
        (['for=1.2.3.4;host="a,b";by=x, for=10.2.2.2'], "1.2.3.4"),
        (["for=10.2.2.2, for=10.3.3.3"], "10.2.2.2"),
    ],
)
def test_the_right_most_untrusted_address_is_the_client(lines: list[str], client: str) -> None:
    assert caller(*lines) == client


@pytest.mark.parametrize(
    "garbage",
    ["", ",", ";", "for", "for=", "for=;", "for=unknown", "for=_hidden", 'for="_gazonk"', "proto=http", "for=1.2.3",
     "for=2001:db8::1", 'for="2001:db8::1"', "for=[2001:db8::1]", "for=1.2.3.4:80", "for=1.2.3.4;for=1.2.3.4",
     "for = 1.2.3.4", "for=1.2.3.4; proto=http", "for=1.2.3.4;", 'for="1.2.3.4', 'for=1.2.3.4"', 'for="1.2.3.4"x',
     'for="1.2.3.4\\"', "for=1.2.3.4 for=5.6.7.8", "1.2.3.4", "for='1.2.3.4'", "for=é", 'for="1.2.3.4%1"', "=1.2.3.4",
     'for="unknown:80"', "for=1.2.3.4;é=1", 'for="[1.2.3.4]"', 'for="[::1"', 'for="::1]"', 'for="[::1]x"'],
)  # fmt: skip
def test_at_garbage_the_last_trusted_hop_is_the_caller(garbage: str) -> None:
    assert caller(garbage) == "10.0.0.1"
    assert caller(f"for=1.2.3.4, {garbage}, for=10.7.7.7") == "10.7.7.7"
    assert caller("for=1.2.3.4", garbage, "for=10.7.7.7") == "10.7.7.7"


@pytest.mark.parametrize(
    "forged",
    ['for="6.6.6.6', 'for=6.6.6.6;x="', '"', '\\"', 'x="\\', 'for="6.6.6.6\\', "for=10.1.1.1", ",,,,", "é",
     'for=10.1.1.1;x="a', "x=" + '"' * 3, "," * 5000, "for=10.1.1.1," * 5000, '"' * 5000],
)  # fmt: skip
@pytest.mark.parametrize("appended", ["for=1.2.3.4", 'for="1.2.3.4:80";proto=https', 'proto=http;for=1.2.3.4;host="a"'])
def test_nothing_that_a_client_writes_swallows_what_the_proxy_appends(forged: str, appended: str) -> None:
    assert caller(f"{forged}, {appended}") == "1.2.3.4"
    assert caller(forged, appended) == "1.2.3.4"
    assert caller(f"{forged},{appended}, for=10.7.7.7") == "1.2.3.4"


def test_a_quote_never_reaches_across_lines() -> None:
    assert caller('for=6.6.6.6;x="a', 'b"') == "10.0.0.1"
    assert caller('for=6.6.6.6;x="a', '";for=1.2.3.4') == "10.0.0.1"


@pytest.mark.parametrize("inside", [", for=6.6.6.6", ',for=6.6.6.6;x=\\"y', "a,b,c,for=6.6.6.6", "\\\\,for=6.6.6.6;a"])
def test_a_quoted_value_hides_no_element(inside: str) -> None:
    assert caller(f'for=1.2.3.4;host="{inside}"') == "1.2.3.4"
    assert caller(f'host="{inside}";for=1.2.3.4') == "1.2.3.4"


def test_an_untrusted_peer_is_the_client_whatever_it_says() -> None:
    assert caller("for=1.2.3.4, for=10.0.0.2", socket_ip="9.9.9.9") == "9.9.9.9"
    assert str(told_by(PROXY, [b"for=1.2.3.4"], Trusted()).address) == "10.0.0.1"


def test_the_scheme_and_host_are_those_that_the_callers_own_element_names() -> None:
    found = told("for=6.6.6.6;proto=http;host=evil", 'for=1.2.3.4;proto=HTTPS;host="a.example:8443"', "for=10.1.1.1")
    assert (str(found.address), found.proto, found.host) == ("1.2.3.4", b"https", b"a.example:8443")
    found = told('for=1.2.3.4;proto=gopher;host="a b"')
    assert (found.proto, found.host) == (b"", b"")


def test_chains_longer_than_any_are_not_followed() -> None:
    assert caller("for=1.2.3.4, " + ", ".join(["for=10.1.1.1"] * 60)) == "1.2.3.4"
    assert caller("for=1.2.3.4, " + ", ".join(["for=10.1.1.1"] * 100)) == "10.1.1.1"


@given(st.lists(st.one_of(st.binary(max_size=60), st.text('for="1.23,;\\ x_[]:', max_size=60).map(str.encode))))
def test_arbitrary_bytes_give_an_address_and_never_raise(lines: list[bytes]) -> None:
    assert isinstance(told_by(PROXY, lines, TRUSTED).address, ipaddress.IPv4Address | ipaddress.IPv6Address)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(_texts, _texts.filter(lambda text: text.count(",") <= 4), st.booleans())
def test_whatever_the_client_and_its_host_say_the_proxys_own_words_count(
    forged: str, host: str, one_line: bool
) -> None:
    true = f"for=203.0.113.9;host={_quoted(host)}"
    assert caller(*([f"{forged}, {true}"] if one_line else [forged, true])) == "203.0.113.9"
    true = f"host={_quoted(host)};for=203.0.113.9"
    assert caller(*([f"{forged}, {true}"] if one_line else [forged, true])) == "203.0.113.9"
