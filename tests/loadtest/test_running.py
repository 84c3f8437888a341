from __future__ import annotations

import io

import pytest

from keystile.loadtest import running, told
from keystile.loadtest.running import RunFailed
from keystile.loadtest.told import Progress, Yield

PROGRESS = Progress(1.0, 10, 0, 0, 1, None, None)
WHOLE = Yield(5.0, [], [], [], [], 0, (10, 0), [])


def listen(*lines: bytes) -> tuple[Yield, list[Progress]]:
    shown: list[Progress] = []
    return running._listen(io.BytesIO(b"".join(lines)), shown.append), shown


def test_progress_is_shown_and_the_whole_is_given_at_the_end() -> None:
    assert listen(told.write(PROGRESS), told.write(PROGRESS), told.write(WHOLE)) == (WHOLE, [PROGRESS, PROGRESS])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "before its time"),
        ((told.write(PROGRESS),), "before its time"),
        ((b"nonsense\n",), "cannot be read"),
        ((told.write(Yield(5.0, [], [], [], [], 0, (0, 0), ["ValueError: x"])),), "failed: ValueError: x"),
    ],
)
def test_a_load_tester_that_did_not_do_its_work_is_a_failure(lines: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(RunFailed, match=why):
        listen(*lines)


def test_the_load_tester_is_an_extra_that_can_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert running.is_installed()
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    assert not running.is_installed()
    assert "pip install 'keystile[loadtest]'" in running.MISSING
