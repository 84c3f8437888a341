from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from keystile.management.old_tls import OldTlsWriter, Seen


class Store:
    def __init__(self) -> None:
        self.batches: list[list[Seen]] = []
        self.broken = False

    async def record_old_tls(self, seen: Iterable[Seen]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.batches.append(list(seen))


def batch(*seen: Seen) -> bytes:
    return json.dumps(seen).encode()


async def test_requests_of_several_relays_are_added_up_and_the_latest_counts() -> None:
    store = Store()
    writer = OldTlsWriter(store)
    writer.add(batch(("a", "1.0", "192.0.2.1", 5.0, 2), ("a", "1.1", "192.0.2.1", 5.0, 1)))
    writer.add(batch(("a", "1.0", "192.0.2.1", 4.0, 3), ("a", "1.0", "192.0.2.2", 6.0, 1)))
    await writer.flush()
    await writer.flush()
    assert store.batches == [
        [("a", "1.0", "192.0.2.1", 5.0, 5), ("a", "1.1", "192.0.2.1", 5.0, 1), ("a", "1.0", "192.0.2.2", 6.0, 1)]
    ]


async def test_what_cannot_be_written_is_not_lost_and_not_counted_twice() -> None:
    store = Store()
    writer = OldTlsWriter(store)
    writer.add(batch(("a", "1.0", "192.0.2.1", 5.0, 2)))
    store.broken = True
    await writer.flush()
    writer.add(batch(("a", "1.0", "192.0.2.1", 7.0, 3)))
    store.broken = False
    await writer.flush()
    assert store.batches == [[("a", "1.0", "192.0.2.1", 7.0, 5)]]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OldTlsWriter, "most_waiting", 1)
    writer = OldTlsWriter(Store())
    writer.add(batch(*(("a", "1.0", f"192.0.2.{n}", 1.0, 1) for n in (1, 2, 1, 3))))
    assert writer.dropped == 2


@pytest.mark.parametrize("payload", [b"", b"{", b"5", b"[[1]]", b'[["a", "1.0", "x", "then", 1]]', b"\xff"])
async def test_a_batch_that_is_none_is_dropped_and_counted(payload: bytes) -> None:
    store = Store()
    writer = OldTlsWriter(store)
    writer.add(payload)
    await writer.flush()
    assert (writer.dropped, store.batches) == (1, [])
