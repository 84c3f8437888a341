from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config import addresses
from keystile.config.addresses import Address
from keystile.config.model import Server


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::]:8080", Address("::", 8080)),
        ("[0:0::1]:1", Address("::1", 1)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
    ],
)
def test_an_address_to_listen_on(text: str, address: Address) -> None:
    assert addresses.address(text) == address


@pytest.mark.parametrize(
    "value",
    ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "::1:8080", "[127.0.0.1]:80", "[::1]", "host:80", "127.1:80",
     "127.0.0.1:+80", "127.0.0.1:٣", "[fe80::1%eth0]:80", "127.0.0.1:123456", "010.0.0.1:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match=r"write an IP address and a port, such as 127\.0\.0\.1:8080"):
        addresses.address(value)


def test_localhost_is_refused_with_what_it_may_mean() -> None:
    with pytest.raises(ValueError, match=r"write 127\.0\.0\.1 or \[::1\]"):
        addresses.address("localhost:80")


def test_a_port_above_the_last_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        addresses.address("127.0.0.1:65536")


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)])
def test_only_loopback_is_loopback(host: str, loopback: bool) -> None:
    assert Address(host, 1).loopback is loopback


def test_an_address_is_written_with_brackets_where_they_belong() -> None:
    assert [str(Address("::", 1)), str(Address("127.0.0.1", 2))] == ["[::]:1", "127.0.0.1:2"]


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::/0", "::/0"),
    ],
)
def test_a_network(text: str, network: str) -> None:
    assert addresses.network(text) == ip_network(network)


def test_bits_beyond_the_prefix_are_refused_with_the_whole_network() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
        addresses.network("10.1.2.3/8")


@pytest.mark.parametrize(
    "value", ["10.0.0.0/33", "10.0.0", "everywhere", 10, None, "fe80::1%eth0", "10.0.0.0/8/8", "/"]
)
def test_what_is_no_network_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a network|is no text|has a zone"):
        addresses.network(value)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://127.0.0.1:9000", Server("127.0.0.1", 9000)),
        ("http://api.internal", Server("api.internal", 80)),
        ("http://[::1]:9000/", Server("::1", 9000)),
        ("http://API:1", Server("api", 1)),
        ("http://my_api:8000", Server("my_api", 8000)),
        ("https://api", Server("api", 443, tls=True)),
        ("https://[::1]:8443", Server("::1", 8443, tls=True)),
    ],
)
def test_a_server(text: str, server: Server) -> None:
    assert addresses.server(text) == server


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/api.sock", "/run/api.sock"),
        ("unix:///run/a", "/run/a"),
        ("unix:run/api.sock", "run/api.sock"),
        ("unix:a", "a"),
    ],
)
def test_unix_sockets_are_read(text: str, path: str) -> None:
    assert addresses.server(text) == Server("localhost", 0, unix=Path(path))


@pytest.mark.parametrize("text", ["http+unix://%2Frun", "/run/a"])
def test_other_spellings_of_unix_sockets_are_told_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write the path of a Unix socket as unix:run/api\.sock"):
        addresses.server(text)


@pytest.mark.parametrize("text", ["unix:", "unix:/", "unix:run/", "unix://host/run", "unix:."])
def test_what_is_no_path_of_a_socket_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the path of a socket"):
        addresses.server(text)


def test_a_server_without_scheme_is_refused_with_one() -> None:
    with pytest.raises(ValueError, match=r"write http://127\.0\.0\.1:9000"):
        addresses.server("127.0.0.1:9000")


@pytest.mark.parametrize(
    "value",
    ["http://", "http://api/v4", "http://api?", "http://api#", "http://u:p@api", "http://api:0", "http://api:65536",
     "http://api:", "ftp://api", "http://a b", "http://[::1", "http://-a", "http://a..b", "http://é", 9000],
)  # fmt: skip
def test_what_is_no_server_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a server|is no text"):
        addresses.server(value)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("*", "*"),
        ("https://app.example.com", "https://app.example.com"),
        ("https://APP.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_as_browsers_send_it(text: str, origin: str) -> None:
    assert addresses.origin(text) == origin


@pytest.mark.parametrize("value", ["null", "app.example.com", "https://a/", "https://*.a", "file://x", "https://a?", 5])
def test_what_is_no_origin_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not an origin|is no text"):
        addresses.origin(value)


@pytest.mark.parametrize(("text", "host"), [("Keys.Example.com", "keys.example.com"), ("[::1]", "[::1]"), ("h", "h")])
def test_a_host_name_is_lower_case(text: str, host: str) -> None:
    assert addresses.host_name(text) == host


@pytest.mark.parametrize("value", ["https://a", "a:80", "a/b", "a b", 5])
def test_what_is_no_host_name_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a host name|is no text"):
        addresses.host_name(value)


READERS = [addresses.address, addresses.network, addresses.server, addresses.host_name, addresses.origin]
PIECES = st.sampled_from(
    ["http://", "https://", "[", "]", "::", "127.0.0.1", ":", "80", "/", "@", "%", "8", "*", "a", "."]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=8).map("".join), st.integers(), st.none()))
def test_a_value_is_read_or_refused(value: object) -> None:
    for read in READERS:
        try:
            read(value)
        except ValueError as error:
            said = str(error)
        else:
            continue
        assert said.startswith(("is ", "has ", "lacks ", "names ", "holds "))


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_comes_back_as_it_was_written(ip: object, port: int) -> None:
    written = Address(str(ip), port)
    if "%" not in str(ip):
        assert addresses.address(str(written)) == written
