from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from keystile.loadtest import target
from keystile.loadtest.plan import Target
from keystile.loadtest.target import BadTarget


def at(*addresses: str) -> target.LookUp:
    def asking(host: str, port: int) -> Sequence[str]:
        return addresses

    return asking


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ],
)
def test_this_machine_and_private_networks_may_be_loaded(address: str) -> None:
    found = target.read("http://gateway.test:8080", asking=at(address)).address
    assert ipaddress.ip_address(found) == ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "8.8.8.8", "172.32.0.1", "11.0.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"]
)
def test_others_have_to_be_named_by_who_may_load_them(address: str) -> None:
    url, asking = "http://api.example.com", at(address)
    with pytest.raises(BadTarget, match=r"--i-may-load api\.example\.com"):
        target.read(url, asking=asking)
    with pytest.raises(BadTarget, match="--i-may-load"):
        target.read(url, "example.com", asking=asking)
    assert target.read(url, "api.example.com", asking=asking).host == "api.example.com"


def test_one_public_address_among_private_ones_is_enough_to_ask() -> None:
    with pytest.raises(BadTarget, match="--i-may-load"):
        target.read("http://api.example.com", asking=at("10.0.0.1", "8.8.8.8"))


def test_what_was_looked_up_is_what_is_connected_to() -> None:
    found = target.read("https://gateway.test", ca="ca.pem", asking=at("10.0.0.1"))
    assert found == Target("10.0.0.1", 443, "gateway.test", tls=True, ca="ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://a:b@127.0.0.1",
        "http://127.0.0.1/v4",
        "http://h?x=1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://[::1",
    ],
)
def test_what_is_no_address_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(BadTarget):
        target.read(url, asking=at("127.0.0.1"))


def test_a_name_that_nobody_knows_is_said() -> None:
    def asking(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(BadTarget, match=r"gateway\.test: there is no such host"):
        target.read("http://gateway.test", asking=asking)
    with pytest.raises(BadTarget, match="no such host"):
        target.read("http://gateway.test", asking=at())


def test_on_loopback_there_are_as_many_addresses_as_wanted() -> None:
    found = target.sources(Target("127.0.0.1", 80, "localhost"), 300)
    assert found[0] == "127.1.0.1"
    assert len(set(found)) == 300
    assert all(ipaddress.ip_address(each).is_loopback for each in found)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "192.0.2.1", "::ffff:127.0.0.1"])
def test_elsewhere_the_system_chooses(address: str) -> None:
    assert target.sources(Target(address, 80, "gateway.test"), 5) == ()


def test_a_real_look_up_finds_this_machine() -> None:
    assert target.look_up("127.0.0.1", 80) == ("127.0.0.1",)
