"""Bodies that are larger than what a relay may hold arrive unchanged, and are not collected on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.large_bodies import GROWTH_BOUND, KINDS, MIB, Bench, Kind, bench

SIZE = 64 * MIB


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_body_arrives_unchanged_and_is_not_collected(on: Bench, kind: Kind) -> None:
    moved = on.move(kind, SIZE)
    assert moved.received == moved.sent
    assert moved.growth < GROWTH_BOUND
    assert moved.waiting < SIZE // 2  # what the kernel's buffers hold; the rest has had to wait


def test_no_two_bodies_of_different_sizes_are_alike(on: Bench) -> None:
    one, other = (on.move(KINDS[0], size) for size in (MIB, MIB + 1))
    assert one.received != other.received
