"""Memory: what the process has, what goes back, and what stays for the next piece of a body."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest

from keystile.limits import heap
from keystile.limits.heap import resident, trim
from tests.lacking import lacks

PIECES = r"""
import resource
from keystile.limits.heap import keep_some

def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        read = b"x" * 256_000
        body = b"".join([read[:250_000], read[250_000:]])
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        del read, body, chunk
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_some()
fetched()
print(fetched())
"""


def test_memory_is_what_the_process_has_resident() -> None:
    before = resident()
    # Not from the heap: in a process that has run many tests it has room for this.
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * len(held))
        assert resident() - before > len(held) // 2


def test_it_is_weighed_without_a_free_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    resident()

    def none(*_: object) -> int:
        raise OSError(24, "no descriptor")

    monkeypatch.setattr("os.open", none)
    assert resident() > 1 << 20


def test_what_lies_free_below_what_is_used_goes_back() -> None:
    if heap._TRIM is None:
        # malloc_trim is glibc's; musl gives back by itself, when it likes.
        lacks("another C library than glibc", not_even_in_ci=True)
    filling = [bytearray(b"x" * 60_000) for _ in range(1000)]
    pins = [bytearray(b"x" * 600) for _ in range(10)]
    full = resident()
    filling.clear()
    trim()
    assert full - resident() > 30_000_000
    assert pins


def test_the_pages_of_a_piece_serve_the_next_one() -> None:
    if heap._MALLOPT is None:
        lacks("another C library than glibc", not_even_in_ci=True)
    done = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200  # 200 pieces, each of which has more than sixty pages, four times
