from __future__ import annotations

import pytest

from keystile.loadtest import told
from keystile.loadtest.records import AddressSum, CallSum, Round
from keystile.loadtest.told import Progress, Yield
from tests.loadtest.examples import windows


def test_what_is_told_comes_back_as_it_was() -> None:
    progress = Progress(1.5, 10, 2, 1, 3, 0.01, None)
    whole = Yield(
        5.0,
        list(windows()),
        [CallSum("GET", "/a", 1)],
        [AddressSum("127.1.0.1", 1, 1)],
        [Round(0, 25, 20, 5, 0, held=True)],
        1,
        (10, 0),
        ["fault"],
    )
    for said in (progress, whole):
        line = told.write(said)
        assert line.count(b"\n") == 1
        assert told.read(line) == said


@pytest.mark.parametrize("line", [b"", b"{}", b'{"kind": "yield"}', b"Traceback (most recent call last):"])
def test_what_cannot_be_read_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        told.read(line)
