"""What a relay tells is taken as it is, or refused: nothing that a store could not keep gets any further."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.store import OldTls, UsageSum, Use
from keystile.management import told
from keystile.management.old_tls import OldTlsWriter
from keystile.management.usage import UsageWriter
from keystile.management.uses import UseWriter
from keystile.storage.sqlite import SqliteStore


def test_what_relays_send_is_taken() -> None:
    assert [told.text(value) for value in ("", "0123456789abcdef", "2001:db8::1", "scope-missing")]
    assert [told.mark(value) for value in ("", "ab" * 16, "AB" * 32)]
    assert (told.moment(1), told.moment(1.5), told.hour(490_000), told.count(0)) == (1.0, 1.5, 490_000, 0)


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (told.text, [None, 1, [], "\0", "a\n", "\ud800", "é", "a" * 1025]),
        (told.mark, [None, "no mark", "abc", "ab" * 33, "ab\n"]),
        (told.moment, [None, "1", True, float("nan"), float("inf"), []]),
        (told.hour, [None, 1.5, "1", True, -1, 1 << 31, 1 << 70]),
        (told.count, [None, 1.5, "1", False, -1, 1 << 53, 1 << 70]),
    ],
)
def test_whatever_else_it_is_it_is_refused(read: Callable[[object], object], values: list[object]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=r"\w"):
            read(value)


_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from(["ab" * 33, "ab" * 16, "\ud800", "\0", 1 << 70, "k", "", 1, 2.5]),
)  # fmt: skip


@given(st.lists(_values, min_size=3, max_size=5))
def test_what_one_sends_keeps_nothing_else_from_the_store(row: list[object]) -> None:
    written: list[object] = []

    class Kept:
        async def record_uses(self, uses: object) -> None: ...
        async def record_usage(self, sums: object) -> None: ...
        async def record_old_tls(self, seen: object) -> None: ...

    for writer in (UseWriter(Kept()), UsageWriter(Kept()), OldTlsWriter(Kept())):
        writer.add(json.dumps([row]).encode())
        written += list(writer._waiting)
    for place in written:
        assert isinstance(place, tuple)
        for part in place:
            assert not isinstance(part, str) or (part.isascii() and "\0" not in part)
            assert not isinstance(part, int) or 0 <= part < 1 << 31


async def test_a_mark_that_is_too_long_is_not_tried_for_ever_beside_uses_that_are_good(tmp_path: Path) -> None:
    async with await SqliteStore.open(tmp_path / "keystile.db") as store:
        uses, usage, old_tls = UseWriter(store), UsageWriter(store), OldTlsWriter(store)
        bad: Use = ("k", 1.0, "192.0.2.1", "ab" * 33)
        good: Use = ("k", 2.0, "192.0.2.1", "ab" * 16)
        far: UsageSum = ("k", 1 << 70, "", 1)
        odd: OldTls = ("\ud800", "1.0", "192.0.2.1", 1.0, 1)
        for writer, rows in ((uses, [bad]), (uses, [good]), (usage, [far]), (old_tls, [odd])):
            writer.add(json.dumps(rows).encode())
            await writer.flush()
        assert [writer.trouble for writer in (uses, usage, old_tls)] == [None, None, None]
        assert [writer.dropped for writer in (uses, usage, old_tls)] == [1, 1, 1]
