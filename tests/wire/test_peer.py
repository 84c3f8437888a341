"""Who is calling: the right-most address that nobody vouches for."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.peer import Address, Network, Peer, Trusted, client_behind, lines_of, packed_ipv4, parse_address

PROXY = ipaddress.ip_address("10.0.0.1")
TRUSTED = Trusted([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])


def behind(*lines: str, socket_ip: str = "10.0.0.1") -> str:
    return str(client_behind(parse_address(socket_ip), [line.encode() for line in lines], TRUSTED))


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6,1.2.3.4 ,\t10.9.9.9"], "1.2.3.4"),
        (["1.2.3.4", "10.2.2.2"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        (["1.2.3.4:5678"], "1.2.3.4"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["[::ffff:1.2.3.4]:80"], "1.2.3.4"),
        (["1.2.3.4, ::ffff:10.1.1.1"], "1.2.3.4"),
        (["1.2.3.4, fd00::1"], "1.2.3.4"),
        (["1.2.3.4:1, [fd00::1]:65535"], "1.2.3.4"),
        (["fe80::1%eth0"], "fe80::1"),
        (["[fe80::1%eth0]:80"], "fe80::1"),
        (["[fe80::1%25eth0]"], "fe80::1"),
        (["2001:db8::1, ::ffff:10.1.1.1:80"], "10.0.0.1"),
    ],
)
def test_the_right_most_untrusted_address_is_the_client(lines: list[str], client: str) -> None:
    assert behind(*lines) == client


@pytest.mark.parametrize(
    "garbage",
    ["", ",", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "0x7f000001", "2130706433",
     "1.2.3.4 5.6.7.8", "localhost", "::ffff:999.1.1.1", "1.2.3.4/8", "-", "é",
     "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:123456", "1.2.3.4:+1", "1.2.3.4:1:2", "[::1", "::1]", "[]", "[]:80", "[::1]80",
     "[::1]:", "[::1]:x", "[::1]]", "[[::1]]", "[1.2.3.4]", "[1.2.3.4]:80", "1.2.3.4%eth0", "1.2.3.4%", "::1%", "%",
     "::1%a/b", "::1%a%b", "'1.2.3.4'", '"1.2.3.4"', "for=1.2.3.4", "1.2.3.4;", "\u0661.2.3.4", "0:0", ":80", "::1::"],
)  # fmt: skip
def test_at_garbage_the_last_trusted_hop_is_the_caller(garbage: str) -> None:
    assert behind(garbage) == "10.0.0.1"
    assert behind(f"1.2.3.4, {garbage}, 10.7.7.7") == "10.7.7.7"


def test_an_address_without_its_closing_bracket_is_garbage() -> None:
    assert behind("[2001:db8::1") == "10.0.0.1"


def test_at_garbage_in_the_middle_nothing_left_of_it_counts() -> None:
    """Not even a trusted address, nor one that a lenient reader would find by skipping."""
    assert behind("6.6.6.6, 10.1.1.1, x, 10.7.7.7") == "10.7.7.7"
    assert behind("6.6.6.6", "x", "10.7.7.7") == "10.7.7.7"
    assert behind("6.6.6.6, 10.7.7.7,") == "10.0.0.1"
    assert behind("6.6.6.6", "") == "10.0.0.1"


def test_chains_longer_than_any_are_not_followed() -> None:
    assert behind(", ".join(["1.2.3.4", *["10.1.1.1"] * 60])) == "1.2.3.4"
    assert behind(", ".join(["1.2.3.4", *["10.1.1.1"] * 5000])) == "10.1.1.1"
    assert behind(*["1.2.3.4", *["10.1.1.1"] * 5000]) == "10.1.1.1"
    assert behind("," * 30_000 + "1.2.3.4") == "1.2.3.4"


def test_bytes_that_are_no_text_are_garbage() -> None:
    assert client_behind(PROXY, [b"1.2.3.4, \xff"], TRUSTED) == PROXY


def test_an_untrusted_peer_is_the_client_whatever_it_says() -> None:
    assert behind("1.2.3.4, 10.0.0.2", socket_ip="9.9.9.9") == "9.9.9.9"
    assert behind("1.2.3.4", socket_ip="::ffff:9.9.9.9") == "9.9.9.9"
    assert str(client_behind(PROXY, [b"1.2.3.4"], Trusted())) == "10.0.0.1"


def test_without_a_word_the_proxy_itself_is_the_caller() -> None:
    assert client_behind(PROXY, (), TRUSTED) == PROXY


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_arbitrary_bytes_give_an_address_and_never_raise(lines: list[bytes]) -> None:
    assert isinstance(client_behind(PROXY, lines, TRUSTED), ipaddress.IPv4Address | ipaddress.IPv6Address)


_entries = st.one_of(st.ip_addresses().map(str), st.sampled_from(["10.1.1.1", "x", "", "::ffff:10.2.2.2", "fd00::2"]))


@given(st.lists(_entries, max_size=5), st.lists(_entries, max_size=3))
def test_what_stands_left_of_the_client_never_counts(forged: list[str], true: list[str]) -> None:
    """Whatever a client writes in front, the answer is what its own address gives."""
    chain = ["203.0.113.9", *(entry for entry in true if entry and parsed_is_trusted(entry))]
    assert behind(", ".join([*forged, *chain])) == "203.0.113.9"
    assert behind(*forged, *chain) == "203.0.113.9"


def parsed_is_trusted(text: str) -> bool:
    try:
        return TRUSTED.holds(parse_address(text))
    except ValueError:
        return False


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_ipv4_address(ip: Address) -> None:
    assert parse_address(f"::ffff:{ip}") == ip == parse_address(str(ip))
    assert Trusted([ipaddress.ip_network(f"{ip}/32")]).holds(parse_address(f"::ffff:{ip}"))


def test_a_zone_is_cut_off() -> None:
    assert parse_address("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


@pytest.mark.parametrize("text", ["1.2.3.4%1", "fe80::1%", "fe80::1%a b", "", "::1%\u00e9"])
def test_what_only_resembles_an_address_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address(text)


def test_a_peer_knows_the_other_end_of_its_socket() -> None:
    assert Peer("192.0.2.1").socket == "192.0.2.1"
    assert Peer("192.0.2.1", socket="10.0.0.1").socket == "10.0.0.1"


def test_a_peer_knows_its_text_and_its_tls() -> None:
    peer = Peer("2001:db8::1", tls="TLSv1.3", trusted=True, slot=b"12345678")
    assert (peer.text, peer.tls, peer.trusted, peer.slot) == ("2001:db8::1", "TLSv1.3", True, b"12345678")
    assert (peer.name, peer.socket_name) == (b"2001:db8::1", b"2001:db8::1")


def test_an_upstream_is_told_who_calls() -> None:
    assert lines_of("192.0.2.1", None, None) == b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
    lines = lines_of("2001:db8::1", "TLSv1.2", "CN=a")
    assert lines.split(b"\r\n")[1:] == [b"X-Forwarded-Proto: https", b"X-Keystile-Client-Subject: CN=a", b""]


_digits = st.sampled_from(
    ["0", "1", "9", "00", "01", "10", "255", "256", "", "1 ", " 1", "+1", "-0", "0x1", "1e0", "\u0661", "\0"]
)


@given(
    st.one_of(
        st.lists(st.one_of(_digits, st.integers(0, 300).map(str)), min_size=3, max_size=5).map(".".join),
        st.text(max_size=20).filter(lambda text: ":" not in text),
        st.from_regex(r"[0-9.]{1,16}\n?", fullmatch=True),
    )
)
def test_without_a_colon_it_is_what_ipaddress_takes_for_an_ipv4_address(text: str) -> None:
    try:
        expected = ipaddress.IPv4Address(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            parse_address(text)
        assert packed_ipv4(text) is None
    else:
        assert parse_address(text) == expected
        assert packed_ipv4(text) == expected.packed
        assert str(expected) == text  # it has one spelling only


_networks = st.builds(
    lambda ip, length: ipaddress.ip_network((ip, length % (ip.max_prefixlen + 1)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)


@given(st.ip_addresses(), st.lists(_networks, max_size=4), st.integers(0, 128))
def test_who_is_trusted_is_who_lies_in_a_network(ip: Address, networks: list[Network], length: int) -> None:
    around = ipaddress.ip_network((ip, length % (ip.max_prefixlen + 1)), strict=False)
    edges = [around[0], around[-1], *(edge for each in networks for edge in (each[0], each[-1]))]
    for some in (networks, [*networks, around]):
        for each in (ip, *edges):
            expected = any(each in network for network in some)
            assert Trusted(some).holds(each) == expected
            assert each.version == 6 or Trusted(some).holds_ipv4(int(each)) == expected
