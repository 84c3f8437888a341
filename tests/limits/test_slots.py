from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.limits import mutex, slots
from keystile.limits.slots import CROWDED, FULL, UNAVAILABLE, NoColumn, SlotTable, slot_name

CAP = 20
NAME = slot_name(IPv4Address("192.0.2.1"), 64)
OTHER = slot_name(IPv4Address("192.0.2.2"), 64)
processes = multiprocessing.get_context("fork")


@pytest.fixture
def table() -> Iterator[SlotTable]:
    table = SlotTable.create(rows=1024)
    table.claim_column()
    yield table
    table.close()


class Looked:
    """An array of the table's in which something is done after each look, before what was seen is made use of."""

    def __init__(self, array: Any, then: Callable[[], None]) -> None:
        self.array = array
        self.then = then

    def __getitem__(self, at: Any) -> Any:
        seen = self.array[at]
        seen = list(seen) if isinstance(at, slice) else seen  # as it was, whatever is written meanwhile
        self.then()
        return seen

    def __setitem__(self, at: int, value: int) -> None:
        self.array[at] = value


class Summed(Looked):
    """The words of rows: something is done after the last look at a row's four, before their sum is made use of."""

    def __getitem__(self, at: Any) -> Any:
        return super().__getitem__(at) if at % 4 == 3 else self.array[at]


@contextmanager
def child(run: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    process = processes.Process(target=run, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


# -- one process ---------------------------------------------------------------------------------------


def test_twenty_are_let_in_the_next_is_refused_and_one_back_makes_room_for_one(table: SlotTable) -> None:
    rows = [table.take(NAME, CAP) for _ in range(CAP)]
    assert min(rows) >= 0
    assert table.take(NAME, CAP, rows[0]) == FULL
    table.give_back(rows[0])
    assert table.take(NAME, CAP, rows[0]) == rows[0]
    assert table.take(NAME, CAP, rows[0]) == FULL


def test_who_has_all_by_itself_is_refused_without_the_mutex(table: SlotTable) -> None:
    """A row whose name is another's says nothing, whatever is counted there."""
    row = max(table.take(NAME, CAP) for _ in range(CAP))
    assert table._trylock(table._at) == 0  # somebody is inside
    try:
        assert table.take(NAME, CAP, row) == FULL
        table.give_back(row)
        assert table.take(NAME, CAP, row) == UNAVAILABLE
    finally:
        table._unlock(table._at)
    assert table.take(NAME, CAP, row) == row
    assert table.take(OTHER, CAP, row) not in (row, FULL)


def test_who_is_refused_learns_where_it_stands(table: SlotTable) -> None:
    row = min(table.take(NAME, CAP) for _ in range(CAP))
    table.take(OTHER, 1)
    assert table.take(OTHER, 1) == FULL
    assert table.take(NAME, CAP) == FULL
    assert table.full_row == row
    assert table.take(NAME, CAP, table.full_row) == FULL
    table.give_back(row)
    assert table.take(NAME, CAP, table.full_row) == row


def test_another_address_is_served_while_one_is_full(table: SlotTable) -> None:
    for _ in range(CAP):
        table.take(NAME, CAP)
    assert table.take(OTHER, CAP) >= 0
    assert (table.taken(), table.highest(), table.count(NAME), table.count(OTHER)) == (21, 20, 20, 1)


def test_a_cap_of_ten_thousand_is_counted(table: SlotTable) -> None:
    row = -1
    for _ in range(10_000):
        row = table.take(NAME, 10_000, row)
    assert table.take(NAME, 10_000, row) == FULL
    assert table.count(NAME) == 10_000


def test_slots_are_counted_by_name_whatever_the_hint(table: SlotTable) -> None:
    row = table.take(NAME, 20)
    other = table.take(OTHER, 20)
    table.take(OTHER, 20, other)
    assert [table.count(NAME, hint) for hint in (-1, row, other)] == [1, 1, 1]
    assert [table.count(OTHER, hint) for hint in (-1, row, other)] == [2, 2, 2]


def test_a_stale_hint_is_harmless(table: SlotTable) -> None:
    row = table.take(NAME, CAP)
    assert table.take(OTHER, CAP, row) != row
    assert table.count(NAME) == table.count(OTHER) == 1


def test_giving_back_what_was_not_taken_is_an_error_and_changes_nothing(table: SlotTable) -> None:
    row = table.take(NAME, CAP)
    table.give_back(row)
    with pytest.raises(ValueError, match="format"):
        table.give_back(row)
    assert table.taken() == 0


def test_a_window_full_of_others_is_crowded_and_free_again_when_they_are_gone() -> None:
    table = SlotTable.create(rows=slots.WINDOW)
    table.claim_column()
    rows = [table.take(slot_name(IPv4Address(n), 64), CAP) for n in range(slots.WINDOW)]
    assert sorted(rows) == list(range(slots.WINDOW))
    assert table.take(NAME, CAP) == CROWDED
    table.give_back(rows[7])
    assert table.take(NAME, CAP) == rows[7]
    table.close()


@given(st.binary(min_size=8 * (slots.WINDOW + 1), max_size=8 * (slots.WINDOW + 1)))
def test_a_name_is_found_where_it_stands_and_nowhere_between(dice: bytes) -> None:
    alike = bytes(1 + byte % 2 for byte in dice)  # so that most of a name stands in many places
    name, *names = [alike[at : at + 8] for at in range(0, len(alike), 8)]
    table = SlotTable.create(rows=slots.WINDOW + 8)
    try:
        for window in (0, 8):
            for row, each in enumerate(names, window):
                table._names[row] = int.from_bytes(each, sys.byteorder)
            for each in (name, names[0], names[-1]):
                expected = window + names.index(each) if each in names else -1
                assert table._find(each, window) == expected
    finally:
        table.close()


class CountingMap:
    def __init__(self, of: Any) -> None:
        self.of, self.finds = of, 0

    def find(self, *what: Any) -> int:
        self.finds += 1
        return int(self.of.find(*what))

    def close(self) -> None:
        self.of.close()


@pytest.mark.source_only("it puts an object of its own in the place of the table's memory")
@pytest.mark.parametrize(
    ("ip", "length"), [("2001:db8::1", 64), ("2001:db8:1:2::1", 32), ("0.0.0.0", 64), ("::1", 64), ("192.0.2.1", 64)]
)
def test_no_name_is_looked_for_in_many_steps_among_free_rows(ip: str, length: int) -> None:
    table = SlotTable.create(rows=1024)
    try:
        table._map = counting = CountingMap(table._map)  # type: ignore[assignment]
        assert table._find(slot_name(ip_address(ip), length), 100) == -1
        assert counting.finds == 1
    finally:
        table.close()


def test_memory_does_not_grow_with_the_number_of_addresses_seen(table: SlotTable) -> None:
    size = os.fstat(table.fd).st_size
    for number in range(100_000):
        table.give_back(table.take(slot_name(IPv4Address(number), 64), CAP))
    assert os.fstat(table.fd).st_size == size
    assert table.taken() == 0
    with pytest.raises(PermissionError):
        os.ftruncate(table.fd, size + 1)


def test_the_default_table_holds_32768_addresses_in_a_few_megabytes() -> None:
    table = SlotTable.create()
    assert (table.rows, table.columns) == (32768, 16)
    assert os.fstat(table.fd).st_size < 4_200_000
    table.close()


def test_anything_else_is_not_a_slot_table() -> None:
    fd = os.memfd_create("other")
    os.truncate(fd, 4096)
    with pytest.raises(ValueError, match="not a slot table"):
        SlotTable.attach(fd)
    os.close(fd)


steps = st.lists(st.tuples(st.sampled_from(["take", "back"]), st.integers(0, 5)), max_size=80)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 4))
def test_it_counts_like_a_dictionary(steps: list[tuple[str, int]], cap: int) -> None:
    table = SlotTable.create(rows=slots.WINDOW)
    table.claim_column()
    model: Counter[int] = Counter()
    rows: dict[int, int] = {}
    for step, who in steps:
        name = slot_name(IPv4Address(who), 64)
        if step == "take":
            row = table.take(name, cap, rows.get(who, -1))
            assert row >= 0 if model[who] < cap else row == FULL
            if row >= 0:
                rows[who], model[who] = row, model[who] + 1
        elif model[who]:
            table.give_back(rows[who])
            model[who] -= 1
        assert table.count(name) == model[who]
    assert (table.taken(), table.highest()) == (model.total(), max(model.values(), default=0))
    table.close()


# -- names ---------------------------------------------------------------------------------------------


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_ipv4_address(ip: Any) -> None:
    assert slot_name(IPv6Address(f"::ffff:{ip}"), 64) == slot_name(ip, 64)
    assert slot_name(IPv6Address(f"::ffff:{ip}"), 128, b"k") == slot_name(ip, 64)


@given(st.ip_addresses(), st.integers(1, 128))
def test_names_have_eight_bytes_and_are_never_zero(ip: Any, prefix: int) -> None:
    name = slot_name(ip, prefix, b"key")
    assert len(name) == 8
    assert any(name)


@pytest.mark.parametrize("prefix", [32, 48, 56, 64, 80, 128])
def test_addresses_of_one_prefix_have_one_name_and_of_two_prefixes_two(prefix: int) -> None:
    base = int(ip_address("2001:db8:1:2:3:4:5:6")) >> (128 - prefix) << (128 - prefix)
    last = base + (1 << (128 - prefix)) - 1
    beside = IPv6Address(last + 1)
    names = [slot_name(ip, prefix, b"key") for ip in (IPv6Address(base), IPv6Address(last), beside)]
    assert names[0] == names[1] != names[2]


def test_hashed_names_hang_on_the_tables_key(table: SlotTable) -> None:
    other = SlotTable.create(rows=64)
    ip = IPv6Address("2001:db8::1")
    assert table.name_of(ip, 64) == other.name_of(ip, 64)
    assert table.name_of(ip, 128) != other.name_of(ip, 128)
    assert SlotTable.attach(os.dup(other.fd)).name_of(ip, 128) == other.name_of(ip, 128)
    other.close()


# -- columns -------------------------------------------------------------------------------------------


def test_every_process_has_a_column_of_its_own_and_there_are_only_so_many() -> None:
    first = SlotTable.create(rows=64, columns=4)
    others = [SlotTable.attach(os.dup(first.fd)) for _ in range(4)]
    assert [table.claim_column() for table in (first, *others[:3])] == [0, 1, 2, 3]
    with pytest.raises(NoColumn):
        others[3].claim_column()
    for table in (first, *others):
        table.close()


def _hold(fd: int, ready: Any, taken: int) -> None:
    table = SlotTable.attach(fd)
    table.claim_column()
    for _ in range(taken):
        assert table.take(NAME, CAP) >= 0
    ready.send(table.column)
    signal.pause()


def test_a_column_is_cleared_after_its_owners_death_and_only_that_one(table: SlotTable) -> None:
    here, there = processes.Pipe()
    assert table.take(NAME, CAP) >= 0
    with child(_hold, table.fd, there, 15) as process:
        column = here.recv()
        assert table.count(NAME) == 16
        process.kill()
        process.join()
        assert [table.take(NAME, CAP) >= 0 for _ in range(5)] == [True] * 4 + [False]
        assert table.clear_after(process.pid) == [column]
        assert table.clear_after(process.pid) == []
        assert table.count(NAME) == 5
        assert [table.take(NAME, CAP) >= 0 for _ in range(16)] == [True] * 15 + [False]


def test_nobody_has_a_dead_ones_column_before_it_is_cleared(table: SlotTable) -> None:
    here, there = processes.Pipe()
    with child(_hold, table.fd, there, 15) as first:
        dead = here.recv()
        first.kill()
        first.join()
        with child(_hold, table.fd, there, 2):
            assert here.recv() != dead
            assert table.clear_after(first.pid) == [dead]
            assert table.count(NAME) == 2
            with child(_hold, table.fd, there, 3):
                assert here.recv() == dead
                assert table.count(NAME) == 5


def test_who_looks_into_a_dead_process_does_not_keep_its_slots(table: SlotTable) -> None:
    """A reference to its open file (as a look into /proc takes for a moment) outlives the process and its lock.

    Found by 1,000 kills: once in a thousand the slots were not back before a new relay claimed the column.
    """
    here, there = processes.Pipe()
    with child(_hold, table.fd, there, 15) as process:
        column = here.recv()
        kept = _files_of(process.pid)
        process.kill()
        process.join()
        assert table.clear_after(process.pid) == [column]
        assert table.count(NAME) == 0
        with child(_hold, table.fd, there, 1):
            assert here.recv() != column  # its lock is still held; there are others
        for each in kept:
            os.close(each)
        with child(_hold, table.fd, there, 1):
            assert here.recv() == column


def _files_of(pid: int) -> list[int]:
    """Every open file of a process: the same file description, as pidfd_getfd (Linux 5.6) gives it."""
    pidfd_getfd = 438
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    kept = [libc.syscall(pidfd_getfd, pidfd, int(name), 0) for name in os.listdir(f"/proc/{pid}/fd")]
    os.close(pidfd)
    assert any(fd >= 0 for fd in kept), os.strerror(ctypes.get_errno())
    return [fd for fd in kept if fd >= 0]


@pytest.mark.parametrize("columns", [4, 16, 32])
def test_the_counts_of_all_columns_add_up_however_many_there_are(columns: int) -> None:
    tables = [SlotTable.create(rows=64, columns=columns)]
    tables += [SlotTable.attach(os.dup(tables[0].fd)) for _ in range(columns - 1)]
    for column, table in enumerate(tables):
        table.column = column
        assert table.take(NAME, columns) >= 0
    assert tables[0].count(NAME) == columns
    assert {table.take(NAME, columns) for table in tables} == {FULL}
    for table in tables:
        table.close()


def test_there_cannot_be_more_columns_than_owners_fit_into_the_head() -> None:
    SlotTable.create(rows=64, columns=896).close()
    with pytest.raises(ValueError, match="896 at most"):
        SlotTable.create(rows=64, columns=897)


# -- the mutex -----------------------------------------------------------------------------------------


def _stop_inside(fd: int, inside: Any, at: str) -> None:
    """Go into ``take`` and stay there, with the mutex: once it has it, has read a row's sum, or is about to count."""

    def stay() -> None:
        inside.send(os.getpid())
        while True:
            signal.pause()

    table = SlotTable.attach(fd)
    table.claim_column()
    if at == "_trylock":
        lock = table._trylock

        def lock_and_stay(where: object) -> None:
            lock(where)
            stay()

        setattr(table, at, lock_and_stay)
    else:
        setattr(table, at, Looked(getattr(table, at), stay))
    table.take(NAME, CAP)


@pytest.mark.parametrize("at", ["_trylock", "_words", "_counts"])
def test_after_a_kill_inside_the_mutex_the_next_take_goes_on_at_once(table: SlotTable, at: str) -> None:
    here, there = processes.Pipe()
    for _ in range(5):
        with child(_stop_inside, table.fd, there, at) as process:
            assert here.recv() == process.pid == table.holder()
            process.kill()
            process.join()
            began = time.perf_counter()
            row = table.take(NAME, CAP)
            assert time.perf_counter() - began < 0.05
            assert row >= 0
            table.give_back(row)
        table.clear_after(process.pid)
    rows = [table.take(NAME, CAP) for _ in range(CAP + 1)]
    assert rows.count(FULL) == 1
    assert rows[-1] == FULL


def test_a_stopped_holder_blocks_the_others_for_a_bounded_time_only(table: SlotTable) -> None:
    here, there = processes.Pipe()
    with child(_stop_inside, table.fd, there, "_trylock") as process:
        here.recv()
        os.kill(process.pid, signal.SIGSTOP)
        began = time.perf_counter()
        assert table.take(NAME, CAP) == UNAVAILABLE
        assert time.perf_counter() - began < 0.4
        began = time.perf_counter()
        for _ in range(100):  # without patience: a vain wait is not repeated at once
            assert table.take(NAME, CAP) == UNAVAILABLE
        assert time.perf_counter() - began < 0.1
        process.kill()
        process.join()
    assert table.take(NAME, CAP) >= 0


def test_giving_back_needs_no_mutex(table: SlotTable) -> None:
    row = table.take(NAME, CAP)
    here, there = processes.Pipe()
    with child(_stop_inside, table.fd, there, "_trylock"):
        here.recv()
        table.give_back(row)
        assert table.taken() == 0


def _attached(fd: int, locks: bool) -> SlotTable:
    """A process's own table; the control, which does not lock, counts in the same way without a mutex."""
    table = SlotTable.attach(fd)
    table.claim_column()
    if not locks:
        setattr(table, "_trylock", lambda _: 0)  # noqa: B010 (mypy)
        setattr(table, "_unlock", lambda _: 0)  # noqa: B010 (mypy)
    return table


def _burst(locks: bool, fd: int, gate: Barrier, rounds: int, answers: Any) -> None:
    table = _attached(fd, locks)
    # Whoever has read the sum lets the others run before adding to it: the worst moment, each time.
    setattr(table, "_words", Summed(table._words, os.sched_yield))  # noqa: B010 (mypy)
    row = -1
    for _ in range(rounds):
        gate.wait()
        got = [row for row in (table.take(NAME, CAP, row) for _ in range(25)) if row >= 0]
        gate.wait()
        for row in got:
            table.give_back(row)
        answers.send(len(got))


def _admitted(locks: bool, workers: int, rounds: int) -> list[int]:
    """How many of ``workers`` × 25 simultaneous takes were let in, round by round."""
    shared = SlotTable.create(rows=256)
    gate = processes.Barrier(workers)
    pipes = [processes.Pipe() for _ in range(workers)]
    crowd = [
        processes.Process(target=_burst, args=(locks, shared.fd, gate, rounds, there), daemon=True)
        for _, there in pipes
    ]
    for process in crowd:
        process.start()
    sums = [sum(here.recv() for here, _ in pipes) for _ in range(rounds)]
    for process in crowd:
        process.join()
    assert shared.taken() == 0
    shared.close()
    return sums


@pytest.mark.parametrize("workers", [2, 4])
def test_bursts_from_several_processes_are_let_in_exactly_twenty_at_a_time(workers: int) -> None:
    assert set(_admitted(True, workers, rounds=300)) == {CAP}


def test_the_control_without_a_lock_is_seen_to_let_in_too_many() -> None:
    assert max(_admitted(False, 2, rounds=300)) > CAP


def _last_slot(locks: bool, fd: int, answers: Any) -> None:
    """Read the sum, say so, and wait a while for the other before adding to it."""
    mutex.PATIENCE = 2.0
    table = _attached(fd, locks)

    def meet() -> None:
        answers.send("inside")
        time.sleep(0.3)

    row = table.take(NAME, 1)
    if row >= 0:
        table.give_back(row)
    answers.send("ready")
    answers.recv()
    setattr(table, "_words", Summed(table._words, meet))  # noqa: B010 (mypy)
    answers.send(table.take(NAME, 1, row))
    signal.pause()


@pytest.mark.parametrize(("locks", "let_in"), [(True, 1), (False, 2)])
def test_two_that_meet_at_the_last_slot_get_it_once(locks: bool, let_in: int) -> None:
    shared = SlotTable.create(rows=64)
    one, for_one = processes.Pipe()
    two, for_two = processes.Pipe()
    with child(_last_slot, locks, shared.fd, for_one), child(_last_slot, locks, shared.fd, for_two):
        assert one.recv() == two.recv() == "ready"
        one.send("go")
        assert one.recv() == "inside"
        two.send("go")
        results = [one.recv()]
        assert two.recv() == "inside"
        results.append(two.recv())
    assert sum(row >= 0 for row in results) == let_in
    shared.close()
