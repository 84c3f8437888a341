from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.keys.networks import EVERYWHERE, Address, Networks


def native(ip: Address) -> bool:
    return not isinstance(ip, IPv6Address) or ip.ipv4_mapped is None


# A small part of each kind, so that ranges meet and addresses fall on their ends.
V4 = st.integers(0, 40).map(lambda number: IPv4Address(0x0A000000 + number)) | st.ip_addresses(v=4)
V6 = (st.integers(0, 40).map(lambda number: IPv6Address((0x20010DB8 << 96) + number)) | st.ip_addresses(v=6)).filter(
    native
)
MAPPED = V4.map(lambda ip: IPv6Address(f"::ffff:{ip}"))


def unmapped(ip: Address) -> Address:
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, Address, Address]:
    """One entry as text, with its first and last address found another way."""
    kind = draw(st.sampled_from(["single", "range", "network"]))
    if kind == "single":
        ip = draw(V4 | V6 | MAPPED)
        return str(ip), unmapped(ip), unmapped(ip)
    if kind == "range":
        family = draw(st.sampled_from([V4, V6]))
        first, last = sorted(draw(st.tuples(family, family)), key=int)
        return f"{first}-{last}", first, last
    ip = draw(V4 | V6)
    network = ip_network((int(ip) if ip.version == 4 else ip, draw(st.integers(0, ip.max_prefixlen))), strict=False)
    return str(network), network[0], network[-1]


@given(st.lists(entries(), max_size=6), V4 | V6 | MAPPED)
def test_an_address_is_allowed_when_it_lies_in_one_of_the_entries(
    listed: list[tuple[str, Address, Address]], ip: Address
) -> None:
    networks = Networks.parse([text for text, _, _ in listed])
    seen = unmapped(ip)
    inside = any(first.version == seen.version and int(first) <= int(seen) <= int(last) for _, first, last in listed)
    assert networks.allows(ip) == (inside or not listed)


@given(st.lists(entries(), max_size=6))
def test_what_was_read_can_be_written_and_read_again(listed: list[tuple[str, Address, Address]]) -> None:
    networks = Networks.parse([text for text, _, _ in listed])
    assert Networks.parse(networks.texts) == networks
    assert Networks.from_text(networks.text) == networks


@given(st.text(max_size=40))
def test_a_text_of_any_kind_is_read_or_refused_by_name(text: str) -> None:
    try:
        networks = Networks.parse([text])
    except ValueError as fault:
        refusal = str(fault)
    else:
        refusal = repr(text)
        assert networks
    assert repr(text) in refusal


def test_no_networks_mean_everywhere() -> None:
    assert not EVERYWHERE
    assert EVERYWHERE.allows(ip_address("192.0.2.1"))
    assert EVERYWHERE.allows(ip_address("2001:db8::1"))


def test_a_mapped_address_is_the_ipv4_address_in_what_is_written() -> None:
    networks = Networks.parse(["::ffff:192.0.2.0/120", "::ffff:10.0.0.1", "::ffff:10.0.1.1-10.0.1.9"])
    assert networks.texts == ("192.0.2.0/24", "10.0.0.1", "10.0.1.1-10.0.1.9")
    assert networks.allows(ip_address("192.0.2.7"))


def test_all_ipv6_addresses_are_no_ipv4_address() -> None:
    assert not Networks.parse(["::/0"]).allows(ip_address("::ffff:192.0.2.1"))
    assert not Networks.parse(["0.0.0.0/0"]).allows(ip_address("2001:db8::1"))


def test_repeated_entries_are_kept_once_in_their_order() -> None:
    assert Networks.parse(["10.0.0.2", "10.0.0.1", " 10.0.0.2 "]).texts == ("10.0.0.2", "10.0.0.1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.5/8", "10.0.0.0/8 would be right"),
        ("10.0.0.0/255.0.0.0", "prefix length"),
        ("10.0.0.9-10.0.0.1", "above the last"),
        ("10.0.0.1-2001:db8::1", "one kind"),
        ("fe80::1%eth0", "no zone"),
        ("010.0.0.1", "not an address"),
        ("10.0.0.0/33", "not an address"),
        ("10.0.0.0/٨", "prefix length"),
        ("1-2-3", "not an address"),
        ("", "not an address"),
        ("example.org", "not an address"),
    ],
)
def test_a_bad_entry_is_named_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Networks.parse(["192.0.2.1", text])
    assert repr(text) in str(caught.value)


# -- one list within another ------------------------------------------------------------------------------


def _window(first: str, count: int) -> list[Address]:
    start = ip_address(first)
    return [start + number for number in range(count)]


# Addresses next to one another where something begins or ends; between these windows nothing of ours does, so one
# address stands for each gap. Between ::fffe:ffff:ffff and ::1:0:0:0 lie the mapped ones, which are IPv4.
NEAR_V4 = [*_window("0.0.0.0", 3), *_window("10.0.0.0", 8), *_window("255.255.255.253", 3)]
NEAR_V6 = [
    *_window("::", 4),
    *_window("::fffe:ffff:fffd", 3),
    *_window("::1:0:0:0", 3),
    *_window("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd", 3),
]
GAPS = [ip_address(text) for text in ("5.0.0.1", "99.0.0.1", "::8", "2001:db8::1")]


@st.composite
def spans(draw: st.DrawFn) -> str:
    where = draw(st.sampled_from([NEAR_V4, NEAR_V6]))
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(where) - 1)] * 2)))
    mapped = "::ffff:" if where is NEAR_V4 and draw(st.booleans()) else ""
    ends = [f"{mapped}{where[number]}" for number in (first, last)]
    return ends[0] if first == last and draw(st.booleans()) else "-".join(ends)


LISTS = st.lists(spans(), min_size=1, max_size=5).map(Networks.parse)


@settings(max_examples=600)
@given(LISTS, LISTS)
def test_one_list_contains_another_exactly_if_every_address_does(own: Networks, other: Networks) -> None:
    def allowed(networks: Networks) -> set[Address]:
        return {address for address in (*NEAR_V4, *NEAR_V6, *GAPS) if networks.allows(address)}

    assert own.contains(other) == (allowed(other) <= allowed(own))


@given(LISTS)
def test_everywhere_contains_every_list_and_lies_within_none(some: Networks) -> None:
    assert EVERYWHERE.contains(some)
    assert EVERYWHERE.contains(EVERYWHERE)
    assert not some.contains(EVERYWHERE)
    assert some.contains(some)


@pytest.mark.parametrize(
    ("own", "other", "contains"),
    [
        (["10.0.0.0/8"], ["10.1.0.0/16", "10.255.255.255"], True),
        (["10.0.0.0/8"], ["10.1.0.0/16", "11.0.0.0"], False),
        (["10.0.0.0/25", "10.0.0.128/25"], ["10.0.0.0/24"], True),  # two that meet
        (["10.0.0.0-10.0.0.126", "10.0.0.128/25"], ["10.0.0.0/24"], False),  # but for one address
        (["10.0.0.0/24"], ["10.0.0.0/23"], False),
        (["10.0.0.0/8"], ["::ffff:10.0.0.1"], True),
        (["::ffff:10.0.0.0/104"], ["10.0.0.0/8"], True),
        (["::/0"], ["10.0.0.1"], False),  # no IPv4 address is an IPv6 one
        (["::/0"], ["::ffff:10.0.0.1"], False),
        (["0.0.0.0/0"], ["::1"], False),
        (["::-::fffe:ffff:ffff", "::1:0:0:0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["::/0"], True),
        (["0.0.0.0/0", "::/0"], [], False),  # a restriction, if not much of one
    ],
)
def test_containment_by_hand(own: list[str], other: list[str], contains: bool) -> None:
    assert Networks.parse(own).contains(Networks.parse(other)) is contains
