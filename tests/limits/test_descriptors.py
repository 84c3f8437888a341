"""As many connections as there are descriptors for."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from keystile.limits.descriptors import MOST, RESERVED, room_for_connections


@pytest.mark.parametrize(
    ("limit", "room"),
    [(1024, 448), (20_000, 9_936), (RESERVED, 1), (64, 1), (1 << 30, MOST), (resource.RLIM_INFINITY, MOST)],
)
def test_half_of_the_descriptors_are_for_clients(monkeypatch: pytest.MonkeyPatch, limit: int, room: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert room_for_connections() == room


def test_the_soft_limit_is_raised_to_what_we_may_have() -> None:
    program = (
        "import resource; from keystile.limits.descriptors import raise_limit; n = resource.RLIMIT_NOFILE\n"
        "resource.setrlimit(n, (100, resource.getrlimit(n)[1])); raise_limit(); print(*resource.getrlimit(n))"
    )
    soft, hard = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert soft == hard != "100"
