from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable

import pytest

from keystile.management.uses import Use, UseWriter


class Store:
    def __init__(self) -> None:
        self.batches: list[list[Use]] = []
        self.broken = False

    async def record_uses(self, uses: Iterable[Use]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.batches.append(list(uses))


def batch(*uses: Use) -> bytes:
    return json.dumps(uses).encode()


async def test_the_latest_use_of_each_key_is_written_once() -> None:
    store = Store()
    writer = UseWriter(store)
    writer.add(batch(("a", 1.0, "192.0.2.1", ""), ("b", 2.0, "192.0.2.2", "")))
    writer.add(batch(("a", 3.0, "192.0.2.3", "")))
    writer.add(batch(("a", 2.0, "192.0.2.9", "")))  # of a slower relay: older
    await writer.flush()
    await writer.flush()
    assert store.batches == [[("a", 3.0, "192.0.2.3", ""), ("b", 2.0, "192.0.2.2", "")]]


async def test_what_waits_is_written_within_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UseWriter, "every", 0.01)
    store = Store()
    writer = UseWriter(store)
    running = asyncio.get_running_loop().create_task(writer.run())
    writer.add(batch(("a", 1.0, "192.0.2.1", "")))
    await asyncio.sleep(0.1)
    assert store.batches == [[("a", 1.0, "192.0.2.1", "")]]
    running.cancel()


async def test_a_store_that_cannot_be_written_is_tried_again_and_mentioned_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.broken = True
    writer = UseWriter(store)
    writer.add(batch(("a", 1.0, "192.0.2.1", "")))
    with caplog.at_level(logging.WARNING):
        await writer.flush()
        writer.add(batch(("a", 2.0, "192.0.2.2", "")))
        await writer.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "last uses cannot be written, trying again: disk full"
    ]
    store.broken = False
    await writer.flush()
    assert store.batches == [[("a", 2.0, "192.0.2.2", "")]]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UseWriter, "most_waiting", 2)
    writer = UseWriter(Store())
    writer.add(batch(*((key, 1.0, "192.0.2.1", "") for key in "abcd")))
    assert writer.dropped == 2


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"null", b'[["a", "x", "y"]]', b'[["a", 1]]', b"\xff"])
async def test_a_batch_that_is_none_is_dropped_and_counted(payload: bytes) -> None:
    store = Store()
    writer = UseWriter(store)
    writer.add(payload)
    await writer.flush()
    assert (writer.dropped, store.batches) == (1, [])


async def test_the_uses_of_a_keys_two_secrets_are_kept_apart() -> None:
    store = Store()
    writer = UseWriter(store)
    uses = [("a", 1.0, "192.0.2.1", "aa" * 16), ("a", 2.0, "192.0.2.2", "bb" * 16)]
    writer.add(batch(*uses))
    await writer.flush()
    assert store.batches == [uses]


async def test_a_batch_with_a_mark_that_is_none_is_dropped() -> None:
    store = Store()
    writer = UseWriter(store)
    writer.add(batch(("a", 1.0, "192.0.2.1", "no mark")))
    await writer.flush()
    assert (store.batches, writer.dropped) == ([], 1)


async def test_many_are_written_in_pieces_and_a_piece_that_fails_waits_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UseWriter, "most_at_once", 2)
    store = Store()
    writer = UseWriter(store)
    writer.add(batch(*((key, 1.0, "192.0.2.1", "") for key in "abcde")))
    store.broken = True
    await writer.flush()
    writer.add(batch(("a", 2.0, "192.0.2.2", "")))
    store.broken = False
    await writer.flush()
    assert [len(each) for each in store.batches] == [2, 2, 1]
    written = {key: (at, address) for each in store.batches for key, at, address, _ in each}
    assert written == {**dict.fromkeys("bcde", (1.0, "192.0.2.1")), "a": (2.0, "192.0.2.2")}
