"""Addresses of servers that lend slots, and the rules of the section."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystile.app import load_settings
from keystile.config import lender
from keystile.config.faults import ConfigurationError
from keystile.config.lender import Lender
from keystile.config.model import SharedSlots, UpstreamTls
from keystile.wire.certificates import self_signed

LEAST = """
upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}
routes: [{path: /x, scope: A, upstream: api}]
"""


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("host", None),
        ("valkey://a", Lender((("a", 6379),))),
        ("redis://a:7000/3", Lender((("a", 7000),), 3)),
        ("valkey://me@10.0.0.5:1", Lender((("10.0.0.5", 1),), 0, "me")),
        ("valkey://[::1]:6380/", Lender((("::1", 6380),))),
        ("valkeys://a", Lender((("a", 6379),), is_tls=True)),
        ("rediss://a,b:1/2", Lender((("a", 6379), ("b", 1)), 2, is_tls=True)),
        ("valkey+sentinel://a,b:1/mine", Lender((("a", 26379), ("b", 1)), sentinel="mine")),
        ("rediss+sentinel://me@a/my-1/4", Lender((("a", 26379),), 4, "me", True, "my-1")),
    ],
)
def test_an_address_is_read(written: str, found: object) -> None:
    assert lender.slots(written) == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("local", "not known here"),
        ("valkeyss://a", "not known here"),
        ("valkey+sentinel://a", "names no primary"),
        ("valkey+sentinel://a/3", "names no primary"),
        ("valkey://a,a:6379", "twice"),
        ("valkey://a,", "no address"),
        ("valkey://a:0", "no address"),
        ("valkey://a:70000", "no address"),
        ("valkey://a/b", "only Sentinels know"),
        ("valkey://", "no address"),
        ("valkey://me:secret@a", "holds a password"),
        (5, "text"),
    ],
)
def test_what_is_no_address_is_refused(written: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lender.slots(written)


@pytest.mark.parametrize("written", ["100ms", "11s", "soon"])
def test_a_lease_time_has_bounds(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        lender.lease_time(written)
    assert lender.lease_time("1s") == 1.0


def test_a_variable_has_a_name() -> None:
    assert lender.variable("VALKEY_PASSWORD") == "VALKEY_PASSWORD"
    with pytest.raises(ValueError, match="environment"):
        lender.variable("a-b")


def load(folder: Path, text: str) -> SharedSlots | None:
    file = folder / "gateway.yaml"
    file.write_text(text + LEAST, encoding="utf-8")
    return load_settings(file).slots


def test_settings_hold_all_of_it(tmp_path: Path) -> None:
    assert load(tmp_path, "slots: host") is None
    assert load(tmp_path, "slots: redis://a") == SharedSlots("a")
    (tmp_path / "secret").write_text("x\n")
    written = "slots: {url: 'valkey://u@a:1/2', when_unreachable: refuse, lease_time: 3s, password_file: secret}"
    assert load(tmp_path, written) == SharedSlots(
        "a", 1, 2, "u", tmp_path / "secret", when_unreachable="refuse", lease_time=3.0
    )


def test_tls_is_verified_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path, "slots: valkeys://a,b") == SharedSlots("a", more=(("b", 6379),), tls=UpstreamTls())
    made = self_signed(["gateway"], 5)
    for name, content in zip(("cert.pem", "key.pem"), made, strict=True):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ca.pem").write_bytes(made[0])
    written = (
        "slots: {url: 'valkeys+sentinel://a/mine', min_replicas: 1, "
        "tls: {ca: ca.pem, certificate: cert.pem, private_key: key.pem, server_name: valkey.example, verify: false}}"
    )
    tls = UpstreamTls(tmp_path / "ca.pem", "valkey.example", tmp_path / "cert.pem", tmp_path / "key.pem", verify=False)
    found = load(tmp_path, written)
    assert found == SharedSlots("a", 26379, sentinel="mine", tls=tls, min_replicas=1)
    assert found.address == "valkeys+sentinel://a:26379/mine/0"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("slots: {url: 'valkey://a', tls: {}}", "no meaning in clear"),
        ("slots: {url: 'valkeys://a', tls: {certificate: nowhere}}", "private_key"),
        ("slots: {url: 'valkeys://a', tls: {ca: nowhere}}", "cannot be read"),
        ("slots: {url: 'valkey://a', min_replicas: -1}", "min_replicas"),
    ],
)
def test_tls_that_cannot_be_is_a_fault(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("slots: {url: 'valkey://10.0.0.5', password_env: P}", "the password crosses the network in clear"),
        ("slots: {url: 'valkey://127.0.0.1,10.0.0.5', password_env: P}", "the password crosses"),
        ("slots: valkey://db.example", "whoever is on the way can lend"),
        ("slots: {url: 'valkeys://a', tls: {verify: false}}", "DANGER"),
        ("slots: {url: 'valkeys://a', password_env: P}", ""),
        ("slots: {url: 'valkey://localhost', password_env: P}", ""),
        ("slots: valkey://[::1]", ""),
    ],
)
def test_what_crosses_the_network_in_clear_is_told(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(written + LEAST, encoding="utf-8")
    found = [each for each in load_settings(file).warnings if ": slots" in each]
    assert len(found) == (1 if said else 0)
    assert said in "".join(found)


def test_every_fault_is_told_and_no_password_is_shown(tmp_path: Path) -> None:
    written = "slots: {url: 'valkey://u:hunter2@a', when_unreachable: never, lease_time: 1h}"
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, written)
    assert [fault.path for fault in caught.value.faults] == [
        "slots.url",
        "slots.when_unreachable",
        "slots.lease_time",
    ]
    assert "hunter2" not in str(caught.value)


def test_a_password_stands_in_one_place_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "slots: {url: 'valkey://a', password_file: nowhere, password_env: P}")
    said = sorted(str(fault) for fault in caught.value.faults)
    assert len(said) == 2
    assert "second place" in said[0]
    assert "cannot be read" in said[1]
