from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keystile.limits.mutex import SIZE, Mutex

processes = multiprocessing.get_context("fork")


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, SIZE) as memory:
        yield memory


@pytest.fixture
def mutex(memory: mmap.mmap) -> Iterator[Mutex]:
    view = memoryview(memory)
    mutex = Mutex(view)
    mutex.make()
    yield mutex
    mutex.release()
    view.release()


def _lock_and_stay(mutex: Mutex, ready: Any) -> None:
    ready.send(mutex.trylock(mutex.at))
    signal.pause()


def _locked_elsewhere(mutex: Mutex) -> Any:
    here, there = processes.Pipe()
    process = processes.Process(target=_lock_and_stay, args=(mutex, there), daemon=True)
    process.start()
    assert here.recv() == 0
    return process


def test_it_is_ours_until_unlocked_and_shows_it(mutex: Mutex) -> None:
    assert mutex.shows_holder()
    assert mutex.trylock(mutex.at) == 0
    assert mutex.holder() == threading.get_native_id() == os.getpid()
    mutex.unlock(mutex.at)
    assert mutex.holder() == 0


def test_while_another_process_has_it_the_wait_is_bounded_and_not_repeated_at_once(mutex: Mutex) -> None:
    process = _locked_elsewhere(mutex)
    assert mutex.holder() == process.pid
    began = time.monotonic()
    assert not mutex.enter(mutex.trylock(mutex.at))
    assert 0.05 < time.monotonic() - began < 0.4
    began = time.monotonic()
    assert not mutex.enter(mutex.trylock(mutex.at))
    assert time.monotonic() - began < 0.05
    process.kill()
    process.join()


def test_what_a_killed_owner_had_is_ours_at_once_and_good_for_ever_after(mutex: Mutex) -> None:
    for _ in range(10):
        process = _locked_elsewhere(mutex)
        process.kill()
        process.join()
        began = time.monotonic()
        assert mutex.enter(mutex.trylock(mutex.at))
        assert time.monotonic() - began < 0.05
        mutex.unlock(mutex.at)
