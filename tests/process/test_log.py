from __future__ import annotations

import re
import sys

import pytest

from keystile.process.log import log


def test_whatever_is_said_is_one_line_with_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    log("one\ntwo")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ keystile: one two\n", capsys.readouterr().err)


def test_a_journal_that_is_gone_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        log("lost")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()
