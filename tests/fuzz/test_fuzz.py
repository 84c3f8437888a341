"""The bounded part of fuzzing: every seed and some thousand mutations of them, on every run of the tests.

``make fuzz`` is the long part. Here it is also shown that the targets find what was planted, and that atheris starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.__main__ import NAMES, SHARES, Outcome, show
from tests.fuzz.bounded import run
from tests.fuzz.scripts import CLIENT, CLOG, SERVER, TURN, say
from tests.fuzz.targets import TARGETS
from tests.lacking import lacks
from tests.wire.planted.faults import FAULTS, Planted
from tests.wire.planted.plant import ROOT, SOURCE, edited
from tests.wire.websocket_attacks import FIELDS, FRAME, GET, SWITCHED

COUNTS = {
    "request head": 6000,
    "chunks": 6000,
    "client": 3000,
    "answer": 3000,
    "paths": 3000,
    "proxy header": 1500,
    "caller": 3000,
    "relay": 700,
    "sockets": 700,
}

#: Inputs of fuzzers that found something: a fault of the gateway's, or of what judged it. They stay.
FOUND: dict[str, dict[str, bytes]] = {
    "relay": {
        "a bad head of HEAD is answered without a body": (
            b"\x00\x3dHEAD /any/a HTTP/1.1\r\nno colon\r\nX: aaaaaaaaaaaaaaaaaaaaaa\r\n\r\n\x02"
        ),
        "a head that came too late gets an answer": b"\x00\x1fHEAD /any/a HTTP/1.1\r\nHost: a\r\n" + b"\x1e\x02",
        "a HEAD of which nothing else can be read gets no body": (
            b'\x00\xa5HEAD /any/a H\x00\x00\x00\x00\x00\x00\x00\x00\x00'
            b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
            b'\x00\x00bbbbbbbbb\x02\x02\x02TTost\r\n\xec: '
            b'a\r\nX-Api-Key: 2<key>\r\nEx'
            b'pect: 100-continue\r\nExpe'
            b'ct: y\r\nContent-Length: 5'
            b'\r\n\r\nhelloGET /any/smugt\r'
            b'\n\xec: a\r\nX-Api-Key: <key>\r'
            b'\nExpect: 100-continue\r\nE'
            b'xpect: y\r\nContent-Length'
            b': 5\r\n\r\nhelloGET /any/smu'
            b'ggled HTTP/gled HTTP/1.1'
            b'\r\nHost: a\r\nX-Api-Key:\x02'
        ),
        "a head was tried again before any byte of its body": (
            b"\x00\x34GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n\x02\x02\x02\x07\x02\x02"
            b"\x00\x50GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"\x02\x06\x02\x02"
        ),
    },
    "sockets": {
        "a server that switches before it has read all is not sent more than it reads": (
            say(CLIENT, GET + FIELDS + b"\r\n" + FRAME) + bytes([TURN, TURN, CLOG]) + say(SERVER, SWITCHED + FRAME)
            + bytes([TURN, TURN, TURN]) + say(CLIENT, FRAME) + say(SERVER, FRAME)
        ),
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_are_kept_whatever_comes(name: str) -> None:
    assert run(name, COUNTS[name], seed=20) > COUNTS[name]


@pytest.mark.parametrize(
    ("target", "data"),
    [pytest.param(target, data, id=name) for target, rows in FOUND.items() for name, data in rows.items()],
)
def test_what_was_found_once_is_not_found_again(target: str, data: bytes) -> None:
    TARGETS[target](data)


_MOVES = '    text = b"/".join(segs)\n    if _PERCENT in'
#: A fault for each target: those of the attack suite, and one of the path rules.
NOTICED: dict[str, Planted] = {
    **{
        target: next(fault for fault in FAULTS if fault.why.startswith(why))
        for target, why in {
            "request head": "the last Host wins",
            "chunks": "whatever ends a chunk's data",
            "client": "a GET has no body, so its chunks",
            "answer": "the last framing that an answer gives",
            "relay": "the rest of a refused body",
            "sockets": "what follows a handshake that was not granted",
            "caller": "the list is read from the left",
        }.items()
    },
    "proxy header": Planted(
        "PROXY",
        "a header is read before it has come",
        (("wire/proxy_protocol.py", "    if len(data) < size:\n        return None\n", ""),),
    ),
    "paths": Planted("paths", "no other reading counts", (("routing/paths.py", _MOVES, "    return\n" + _MOVES),)),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_fault_is_found(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file, text in edited(NOTICED[name]).items():
        (copy / "keystile" / file).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.bounded", name, "3000", "1"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"target {name}, input" in done.stderr


def test_the_guided_fuzzer_runs_and_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("atheris") is None:
        # It has wheels for some Pythons only (see pyproject.toml); the bounded runs above do without it.
        lacks("no atheris: no wheel for this Python", not_even_in_ci=sys.version_info >= (3, 14))
    assert command.main(["--runs", "4000", "--targets", "chunks", "paths", "--corpus", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "all " in said
    assert (tmp_path / "chunks" / "log").is_file()
    totals = [line.split() for line in said.splitlines() if line.startswith("all")]
    assert int(totals[0][1].replace(",", "")) >= 3000


def test_a_finding_is_said_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert show([Outcome("chunks", 10, 1.0, []), Outcome("paths", 5, 1.0, ["crash-1"])]) == 1
    assert "crash-1" in capsys.readouterr().out


def test_every_target_has_a_share() -> None:
    assert set(NAMES) == set(TARGETS) == set(SHARES) == set(COUNTS) == set(NOTICED)
