"""Usage is summed, written in batches, and waits where the store is away."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from keystile.management.usage import Sum, UsageWriter


class Store:
    def __init__(self) -> None:
        self.batches: list[list[Sum]] = []
        self.broken = False

    async def record_usage(self, sums: Iterable[Sum]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.batches.append(list(sums))


def batch(*sums: Sum) -> bytes:
    return json.dumps(sums).encode()


async def test_sums_of_several_relays_are_added_up_and_written_once() -> None:
    store = Store()
    writer = UsageWriter(store)
    writer.add(batch(("a", 5, "", 2), ("a", 5, "scope-missing", 1)))
    writer.add(batch(("a", 5, "", 3), ("a", 6, "", 1)))
    await writer.flush()
    await writer.flush()
    assert store.batches == [[("a", 5, "", 5), ("a", 5, "scope-missing", 1), ("a", 6, "", 1)]]


async def test_what_cannot_be_written_is_not_lost_and_not_counted_twice() -> None:
    store = Store()
    writer = UsageWriter(store)
    writer.add(batch(("a", 5, "", 2)))
    store.broken = True
    await writer.flush()
    writer.add(batch(("a", 5, "", 3)))
    store.broken = False
    await writer.flush()
    assert store.batches == [[("a", 5, "", 5)]]


@pytest.mark.parametrize("payload", [b"", b"{}5", b"[[1]]", b'[["a", "x", "", 1]]', b"5", b"\xff"])
async def test_a_batch_that_is_none_is_dropped_and_counted(payload: bytes) -> None:
    store = Store()
    writer = UsageWriter(store)
    writer.add(payload)
    await writer.flush()
    assert (store.batches, writer.dropped) == ([], 1)


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UsageWriter, "most_waiting", 1)
    writer = UsageWriter(Store())
    writer.add(batch(("a", 5, "", 1), ("b", 5, "", 1), ("a", 5, "", 1)))
    assert writer.dropped == 1


async def test_a_key_that_came_in_clear_is_told_of() -> None:
    exposed: list[str] = []
    writer = UsageWriter(Store(), exposed.append)
    writer.add(batch(("a", 5, "key-in-clear", 2), ("b", 5, "scope-missing", 1), ("c", 5, "", 1)))
    assert exposed == ["a"]


async def test_many_are_written_in_pieces_and_a_piece_that_fails_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UsageWriter, "most_at_once", 2)
    store = Store()
    writer = UsageWriter(store)
    writer.add(batch(*((key, 5, "", 1) for key in "abcde")))
    store.broken = True
    await writer.flush()
    writer.add(batch(("a", 5, "", 2)))
    store.broken = False
    await writer.flush()
    assert [len(each) for each in store.batches] == [2, 2, 1]
    assert {key: n for each in store.batches for key, _, _, n in each} == {**dict.fromkeys("bcde", 1), "a": 3}
