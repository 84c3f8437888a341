from __future__ import annotations

import logging
import re
import sys

import pytest

from keystile.keys.secret import generate
from keystile.process.log import Redacting, log


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


def test_what_libraries_log_holds_no_key_not_even_in_a_traceback() -> None:
    secret = generate()
    try:
        raise ValueError(f"bad line {secret}")
    except ValueError:
        record = logging.LogRecord("aiohttp.server", logging.ERROR, "x.py", 1, "got %s", (secret,), sys.exc_info())
    said = Redacting("%(message)s").format(record)
    assert "bad line" in said
    assert secret not in said
    assert said.count(f"[key …{secret[-5:]}]") == 2
