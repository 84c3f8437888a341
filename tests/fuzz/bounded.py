"""``python -m tests.fuzz.bounded TARGET COUNT SEED``: every seed of a target, and COUNT mutations of them.

Law: no coverage and no libFuzzer, so it runs on every Python, takes seconds and gives the same inputs each time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

from tests.fuzz.targets import TARGETS, seeds

#: What rules hang on; put in, doubled or taken for something else.
WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"+", b"-", b"_", b"%2f", b"%2e",
    b"%25", b"..", b"/", b"\\", b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Connection: close\r\n", b"Connection: Host\r\n", b"Expect: 100-continue\r\n", b"Host: b\r\n", b"0\r\n\r\n",
    b"HTTP/1.0", b"HTTP/1.1 100 Continue\r\n\r\n", b"GET /any/x HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n",
)  # fmt: skip


def mutations(name: str, count: int, seed: int) -> Iterator[bytes]:
    """The seeds, and ``count`` inputs made of them."""
    known = seeds(name)
    yield from known
    chance = random.Random(f"{name} {seed}")
    for _ in range(count):
        data = bytearray(chance.choice(known))
        for _ in range(chance.randint(1, 4)):
            _mutate(data, known, chance)
        yield bytes(data[:4096])


def _mutate(data: bytearray, known: list[bytes], chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    to = min(len(data), at + chance.choice((1, 1, 2, 5, 40)))
    match chance.randint(0, 6):
        case 0:
            data[at:at] = chance.choice(WORDS)
        case 1:
            data[at:to] = chance.choice(WORDS)
        case 2:
            del data[at:to]
        case 3:
            data[at:at] = data[at:to]
        case 4:
            data[at:to] = chance.randbytes(to - at)
        case 5:
            other = chance.choice(known)
            cut = chance.randint(0, len(other))
            data[at:] = other[cut:]
        case _:
            if data:
                data[0] = chance.randint(0, 20)


def run(name: str, count: int, seed: int) -> int:
    """Play them all; how many there were. A finding is raised, with its input as a note."""
    target, played = TARGETS[name], 0
    for data in mutations(name, count, seed):
        try:
            target(data)
        except Exception as finding:
            finding.add_note(f"target {name}, input {data!r}")
            raise
        played += 1
    return played


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
