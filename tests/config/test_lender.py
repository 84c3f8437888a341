"""Addresses of servers that lend slots, and the rules of the section."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystile.app import load_settings
from keystile.config import lender
from keystile.config.faults import ConfigurationError
from keystile.config.model import SharedSlots

LEAST = """
upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}
routes: [{path: /x, scope: A, upstream: api}]
"""


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("host", None),
        ("valkey://a", ("a", 6379, 0, None)),
        ("redis://a:7000/3", ("a", 7000, 3, None)),
        ("valkey://me@10.0.0.5:1", ("10.0.0.5", 1, 0, "me")),
        ("valkey://[::1]:6380/", ("::1", 6380, 0, None)),
    ],
)
def test_an_address_is_read(written: str, found: object) -> None:
    assert lender.slots(written) == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("local", "not known here"),
        ("valkeys://a", "not yet served"),
        ("valkey://a:0", "no address"),
        ("valkey://a:70000", "no address"),
        ("valkey://a/b", "no address"),
        ("valkey://", "no address"),
        ("valkey://me:secret@a", "holds a password"),
        (5, "text"),
    ],
)
def test_what_is_no_address_is_refused(written: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lender.slots(written)


@pytest.mark.parametrize("written", ["100ms", "2m", "soon"])
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
