"""What a slot costs: microseconds for take + give_back, for a known and for a new client address.

    python bench/slot_cost.py

Medians of ten rounds on one core; the interpreter's loop (about 0.05 µs) is included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

from keystile.limits.slots import SlotTable

ROUNDS = 10
TAKES = 50_000


def _names() -> Iterator[bytes]:
    number = int(IPv4Address("10.0.0.0"))
    while True:
        yield b"\0\0\0\1" + number.to_bytes(4, "big")
        number += 1


def _known(table: SlotTable) -> float:
    name, row = b"\0\0\0\1\x7f\0\0\1", -1
    began = time.process_time()
    for _ in range(TAKES):
        row = table.take(name, 20, row)
        table.give_back(row)
    return (time.process_time() - began) / TAKES * 1e6


def _new(table: SlotTable, names: Iterator[bytes]) -> float:
    fresh = [next(names) for _ in range(TAKES)]
    began = time.process_time()
    for name in fresh:
        table.give_back(table.take(name, 20))
    return (time.process_time() - began) / TAKES * 1e6


def main() -> None:
    """Measure and print."""
    table = SlotTable.create()
    table.claim_column()
    names = _names()
    known = statistics.median(_known(table) for _ in range(ROUNDS))
    new = statistics.median(_new(table, names) for _ in range(ROUNDS))
    print(f"take + give_back, known address: {known:.2f} µs")
    print(f"take + give_back, new address:   {new:.2f} µs")


if __name__ == "__main__":
    main()
