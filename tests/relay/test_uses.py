"""What is told of keys, and when: nothing is lost or told twice, and the time that it takes is bounded."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from keystile import build
from keystile.keys.keyring import NEVER, HeldKey, Keyring, KeyRow
from keystile.keys.secret import mark
from keystile.relay import uses
from keystile.relay.uses import PIECE, KeyUses
from tests.relay.running import KeptMessages

EPOCH = 1_700_000_000.0 // 3600 * 3600
"""Monotonic moments are seconds of an hour, so long as they are below 3600."""
HOUR = int(EPOCH // 3600)


def held(number: int, name: str = "a") -> HeldKey:
    """A key whose id looks like those of the service: 16 hexadecimal digits that say nothing."""
    digest = number.to_bytes(4, "big") * 8
    row = KeyRow(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", "x@y.z", name, "", "", None, digest)
    keyring = Keyring([row])
    found = keyring.get(row.id)
    assert found is not None
    return found


class Relay:
    """What ``record.py`` does with a key's use, and the channel's other end."""

    def __init__(self) -> None:
        self.uses = KeyUses()
        self.channel = KeptMessages()
        self.now = 100.0
        self.uses.go_by(self.now, EPOCH)

    def use(self, keys: Iterable[HeldKey], address: str = "192.0.2.1") -> None:
        for key in keys:
            if key.used_at >= self.uses.turn or self.uses.takes(key):
                key.used_at, key.used_from = self.now, address
                key.requests += 1

    def flush(self, after: float = 0.25, *, last: bool = False) -> int:
        """How many keys are told of."""
        self.now += after
        before = len(self.channel.rows(b"U"))
        self.uses.go_by(self.now, EPOCH)
        self.uses.tell(self.channel, self.now, last=last)
        return len(self.channel.rows(b"U")) - before

    @property
    def usage(self) -> Counter[tuple[str, int, str]]:
        sums: Counter[tuple[str, int, str]] = Counter()
        for key, hour, why, requests in self.channel.rows(b"C"):
            sums[key, hour, why] += requests
        return sums


def test_a_few_keys_are_told_of_at_once_then_once_a_second_and_at_the_end() -> None:
    relay, key = Relay(), held(1)

    def told_after(seconds: float, *, last: bool = False) -> int:
        relay.use([key])
        return relay.flush(seconds, last=last)

    assert [told_after(0.25) for _ in range(6)] == [1, 0, 0, 0, 1, 0]
    assert told_after(0.25, last=True) == 1
    assert relay.usage == {(key.id, HOUR, ""): 7}


def test_a_row_says_when_from_where_and_by_which_secret_a_key_was_used_last() -> None:
    relay, key = Relay(), held(1)
    relay.use([key], "192.0.2.1")
    relay.now = 101.5
    relay.use([key], "192.0.2.2")
    relay.flush()
    assert relay.channel.rows(b"U") == [[key.id, EPOCH + 101.5, "192.0.2.2", mark(key.digest)]]
    assert relay.channel.rows(b"C") == [[key.id, HOUR, "", 2]]
    assert (key.used_at, key.requests) == (NEVER, 0)


def test_however_many_keys_are_in_use_so_many_are_told_of_in_a_second_and_each_in_its_turn() -> None:
    relay, keys = Relay(), [held(number) for number in range(10 * PIECE)]
    seen: Counter[str] = Counter()
    for _ in range(30):
        relay.use(keys)
        relay.channel.messages.clear()
        assert relay.flush() == PIECE
        assert all(len(json.loads(payload)) <= PIECE for _, payload in relay.channel.messages)
        seen.update(key for key, *_ in relay.channel.rows(b"U"))
    # 30 pieces are three rounds: no key was told of a second time before every other one's first.
    assert set(seen.values()) == {3}
    assert len(seen) == len(keys)


def test_what_was_used_after_it_was_told_of_waits_behind_all_others() -> None:
    relay = Relay()
    busy = [key for key in map(held, range(200 * PIECE)) if key.id.startswith("00")][: PIECE // 2]
    others = [key for key in map(held, range(20 * PIECE)) if not key.id.startswith("00")]
    relay.use([*busy, *others])
    for _ in range((len(busy) + len(others)) // PIECE + 5):  # the last may wait for a second, as few keys do
        relay.flush()
        relay.use(busy)
    assert {key.id for key in others} <= {key for key, *_ in relay.channel.rows(b"U")}


def test_at_the_end_everything_is_told_and_no_request_is_lost_or_counted_twice() -> None:
    relay, keys = Relay(), [held(number) for number in range(3 * PIECE)]
    for round_ in range(7):
        relay.use(keys[round_:])
        relay.flush()
    relay.flush(last=True)
    assert sum(relay.usage.values()) == sum(len(keys) - round_ for round_ in range(7))
    assert relay.flush(5.0) == 0
    assert relay.uses.keys == 0


def test_keys_that_begin_alike_are_told_of_together() -> None:
    """They lie together in the store: pages there are what a row costs."""
    relay, keys = Relay(), [held(number) for number in range(40 * PIECE)]
    relay.use(keys)
    relay.flush()
    assert len({key[:2] for key, *_ in relay.channel.rows(b"U")}) <= 256 * 2 // 40


def test_a_key_that_was_edited_is_told_of_beside_the_new_one() -> None:
    relay, old, new = Relay(), held(1, "before"), held(1, "after")
    relay.use([old, old])
    relay.use([new], "192.0.2.2")
    relay.flush()
    assert [address for _, _, address, _ in relay.channel.rows(b"U")] == ["192.0.2.1", "192.0.2.2"]
    assert relay.usage == {(old.id, HOUR, ""): 3}


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_requests_are_counted_in_the_hour_that_they_came_in_however_late_they_are_told(late: float) -> None:
    """``late``: the first flush of the new hour comes after requests of it."""
    relay, keys = Relay(), [held(number) for number in range(2 * PIECE)]
    relay.now = 3599.2
    relay.uses.go_by(relay.now, EPOCH)
    relay.use(keys)
    relay.now = 3600.0 + late
    if not late:
        relay.uses.go_by(relay.now, EPOCH)
    relay.use(keys)
    relay.use(keys)
    relay.flush(last=True)
    assert relay.usage == {(key.id, hour, ""): n for key in keys for hour, n in ((HOUR, 1), (HOUR + 1, 2))}


def test_sums_of_refusals_go_with_the_next_flush_in_pieces() -> None:
    relay, keys = Relay(), [held(number) for number in range(2 * PIECE + 1)]
    for key in keys:
        relay.uses.add(key.id, HOUR, "scope-missing", 2)
        relay.uses.add(key.id, HOUR, "scope-missing", 1)
    told = []
    for _ in range(4):
        relay.flush()
        told.append(len(relay.channel.rows(b"C")))
    assert told == [PIECE, 2 * PIECE, 2 * PIECE + 1, 2 * PIECE + 1]
    assert relay.usage == {(key.id, HOUR, "scope-missing"): 3 for key in keys}


class Narrow(KeptMessages):
    """A channel that has room for so many messages."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def send(self, kind: bytes, payload: bytes) -> bool:
        self.room -= 1
        return self.room >= 0 and super().send(kind, payload)


@pytest.mark.parametrize("room", range(8))
def test_what_finds_no_room_waits_and_its_requests_are_told_once(room: int) -> None:
    relay, keys = Relay(), [held(number) for number in range(2 * PIECE)]
    relay.channel = Narrow(room)
    relay.use(keys)
    relay.uses.add(keys[0].id, HOUR, "scope-missing", 5)
    relay.flush(last=True)
    relay.use(keys)
    relay.channel.room = 100
    relay.flush(last=True)
    assert relay.usage == {**{(key.id, HOUR, ""): 2 for key in keys}, (keys[0].id, HOUR, "scope-missing"): 5}
    assert {key for key, *_ in relay.channel.rows(b"U")} == {key.id for key in keys}
    assert (relay.uses.dropped, relay.uses.requests_dropped) == (0, 0)


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
def test_what_waits_is_bounded_and_what_finds_no_place_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "WAITING_KEYS", 2)
    relay, keys = Relay(), [held(number) for number in range(3)]
    relay.use([*keys, *keys])
    assert (relay.uses.keys, relay.uses.dropped) == (2, 2)
    for key in keys:
        relay.uses.add(key.id, HOUR, "scope-missing", 5)
        relay.uses.add(key.id, HOUR, "scope-missing", 5)
    assert relay.uses.requests_dropped == 10
    relay.flush(last=True)
    relay.use(keys[2:])
    assert relay.flush(last=True) == 1


def test_what_is_given_up_is_counted_and_gone() -> None:
    relay, keys = Relay(), [held(number) for number in range(2 * PIECE)]
    relay.channel = Narrow(2)
    relay.use(keys)
    relay.flush()
    relay.use(keys)
    relay.uses.add(keys[0].id, HOUR, "scope-missing", 5)
    relay.uses.give_up()
    assert (relay.uses.dropped, relay.uses.requests_dropped) == (2 * PIECE, 3 * PIECE + 5)
    relay.channel.room = 100
    assert relay.flush(last=True) == 0
    relay.use(keys)
    assert relay.flush(last=True) == 2 * PIECE


def test_a_key_that_is_not_in_use_takes_no_more_memory_for_it_than_two_words() -> None:
    key = held(1)
    assert key.used_at == NEVER
    assert key.used_at is NEVER or build() == "compiled"  # where a slot holds the number itself
    assert (key.used_from, key.requests) == ("", 0)  # what all have in common
    assert sys.getsizeof(key) <= 16 + 16 + 12 * 8  # the collector's part, the object's, twelve slots
