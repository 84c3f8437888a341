from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystile.config import tls_remarks
from keystile.config.model import Settings
from tests.config import certificates

Load = Callable[[str], Settings]
LISTENER = "listeners: [{{address: 127.0.0.1:0, tls: {{certificate: {}, private_key: {}{}}}}}]"


def day(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def legacy(days: float, rehearsals: str = "") -> str:
    return f", legacy: {{minimum_version: '1.0', retire_on: {day(days)}{rehearsals}}}"


def remarks(with_settings: Load, tmp_path: Path, more: str = "", days: float = 90) -> list[str]:
    files = certificates.make(tmp_path, days=days)
    return [warning.partition(": ")[2] for warning in with_settings(LISTENER.format(*files, more)).warnings]


@pytest.mark.parametrize(
    ("days", "said"),
    [(90, None), (31, None), (29, "expires on "), (-1, "has expired, on ")],
)
def test_a_certificate_that_ends_soon_is_told(with_settings: Load, tmp_path: Path, days: int, said: str | None) -> None:
    found = remarks(with_settings, tmp_path, days=days)
    assert (not found) if said is None else found[0].startswith(f"listeners[0].tls.certificate: {said}")


@pytest.mark.parametrize(
    ("days", "said"),
    [(40, None), (20, "are refused for good from "), (0, "is past"), (-400, "is past: older versions are refused")],
)
def test_a_retirement_that_comes_or_has_come_is_told(
    with_settings: Load, tmp_path: Path, days: int, said: str | None
) -> None:
    found = remarks(with_settings, tmp_path, legacy(days))
    assert (not found) if said is None else (len(found) == 1 and said in found[0])


def test_a_rehearsal_that_comes_is_told(with_settings: Load, tmp_path: Path) -> None:
    one = f"{{from: {day(10)}T09:00Z, to: {day(10)}T09:30Z}}"
    (said,) = remarks(with_settings, tmp_path, legacy(60, f", rehearsals: [{one}]"))
    assert said.startswith("listeners[0].tls.legacy.rehearsals[0]: older versions are refused from ")


def test_a_server_that_nobody_verifies_is_told_loudly(load_text: Load) -> None:
    text = (
        'upstreams: {api: {servers: ["https://10.0.0.1"], tls: {verify: false}}}\n'
        "routes: [{path: /x, scope: X, upstream: api}]"
    )
    (warning,) = load_text(text).warnings
    assert "upstreams.api.tls.verify: DANGER" in warning


def test_of_several_signers_the_last_one_counts(tmp_path: Path) -> None:
    one, other = (certificates.make(tmp_path, name, days=days)[0] for name, days in (("a", 5), ("b", 50)))
    both = one.read_bytes() + other.read_bytes()
    first, last = tls_remarks.expiry(both), tls_remarks.expiry(both, signers=True)
    assert first is not None
    assert last is not None
    assert last - first > 44 * 86400
    assert abs(first - time.time() - 5 * 86400) < 3600
    assert tls_remarks.expiry(b"nothing") is None
