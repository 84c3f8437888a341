from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import pytest

from keystile.keys.secret import generate
from keystile.process.log import Redacting, Unwaiting, log


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


def test_nobody_waits_for_a_reader_that_has_stopped_and_what_is_lost_is_counted() -> None:
    reading, writing = os.pipe()
    stream = Unwaiting(writing)
    for _ in range(100):
        assert stream.write(b"x" * 9999 + b"\n") == 10_000
    assert stream.dropped > 90
    held = os.read(reading, 1 << 20)
    lost = stream.dropped
    assert stream.write(b"again\n") == 6
    assert os.read(reading, 100).endswith(b"again\n")
    assert (len(held) > 40_000, stream.dropped) == (True, lost)
    os.close(reading)
    assert stream.write(b"to nobody\n") == 10
    assert stream.dropped == lost + 1
    os.close(writing)


def test_a_full_pipe_that_cannot_be_opened_anew_makes_nobody_wait_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", _refused)
    reading, writing = os.pipe()
    stream = Unwaiting(writing)
    assert stream.fileno() == writing
    for _ in range(100):
        stream.write(b"x" * 4096)
    assert stream.dropped > 80
    os.close(reading)
    os.close(writing)


def _refused(*_: object) -> int:
    raise PermissionError


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}])
def test_any_text_can_be_said_in_any_locale(locale: dict[str, str]) -> None:
    code = (
        "import sys; from keystile.process.log import *; wait_for_no_reader();"
        "log('Zo\\xeb \\udcff'); print('\\xfcnseen', file=sys.stderr)"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=True, env={**bare, **locale})
    assert done.stderr.decode().endswith("keystile: Zoë \\udcff\nünseen\n")
