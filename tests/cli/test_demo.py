"""The demo, run for real: every line that it prints is typed into a shell, and answers as promised."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from keystile.cli import demo

PROMISE = re.compile(r"  # (?P<answers>.+?) — .+")
STATUS = re.compile(r"^ *(?:(\d+) +)?([1-5]\d\d)$", re.MULTILINE)
KEY = re.compile("[0-9A-F]{96}")


class Running:
    """``keystile demo`` in a process of its own, in a directory that shows what it leaves behind."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keystile", "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(directory)},
        )

    def read_until(self, last: str) -> str:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith(last):
                return "".join(lines)
        raise AssertionError(f"the demo ended: {''.join(lines)}{self.process.communicate()[1]}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = Running(tmp_path_factory.mktemp("demo"))
    try:
        yield running.read_until("Ctrl-C")
    finally:
        running.stop()


def lines_to_try(printed: str) -> list[tuple[str, str]]:
    """Each printed command with the promise above it."""
    lines = printed.splitlines()
    pairs = pairwise(lines)
    return [(match["answers"], command) for line, command in pairs if (match := PROMISE.fullmatch(line))]


def promised(answers: str) -> Counter[int]:
    """``20 × 200, 5 × 429`` as a count."""
    counts: Counter[int] = Counter()
    for each in answers.split(", "):
        number, _, status = each.rpartition(" × ")
        counts[int(status)] += int(number or 1)
    return counts


def answered(command: str) -> Counter[int]:
    """What a shell shows when somebody types the line."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    counts: Counter[int] = Counter()
    for number, status in STATUS.findall(done.stdout):
        counts[int(status)] += int(number or 1)
    return counts


def test_every_printed_line_answers_as_it_says(printed: str) -> None:
    lines = lines_to_try(printed)
    assert [(answers, answered(command)) for answers, command in lines] == [
        (answers, promised(answers)) for answers, _ in lines
    ]
    assert {status for answers, _ in lines for status in promised(answers)} == {200, 401, 403, 404, 429}


def test_25_at_once_may_be_tried_again_at_once(printed: str) -> None:
    answers, command = lines_to_try(printed)[-1]
    assert answers == "20 × 200, 5 × 429"
    assert answered(command) == {200: 20, 429: 5}


def test_the_api_sees_who_calls_and_no_key(printed: str) -> None:
    _, command = lines_to_try(printed)[1]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    body = json.loads(done.stdout.splitlines()[0])
    assert body["caller"] == {
        "account": demo.ACCOUNT,
        "scopes": "ViewCampaigns, ViewContacts",
        "address": "127.0.0.1",
    }
    assert not KEY.search(done.stdout)


def wait_until_gone(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"something still listens on {port}")


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_speaks_json_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    running = Running(tmp_path, "--json")
    said: dict[str, Any] = json.loads(running.read_until("}"))
    assert [key["name"] for key in said["keys"]] == ["reader", "editor"]
    assert all(KEY.fullmatch(key["key"]) for key in said["keys"])
    first = said["try"][0]
    assert answered(first["command"]) == {int(status): count for status, count in first["answers"].items()}
    assert list(tmp_path.iterdir())
    assert running.stop(number) == 0
    assert not list(tmp_path.iterdir())
    for place in ("gateway", "management", "api"):
        wait_until_gone(port_of(said[place]))


def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    running = Running(tmp_path, "--json")
    said = json.loads(running.read_until("}"))
    running.stop(signal.SIGKILL)
    for place in ("gateway", "management", "api"):
        wait_until_gone(port_of(said[place]))


def test_another_port_is_taken_where_the_usual_one_is_not_free() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert demo._free_port(taken, 0) not in (taken, 0)


def test_each_try_is_one_line_for_a_shell() -> None:
    each = demo.tries(demo.Demo(8080, 8081, 9000, "A" * 96, "B" * 96, "password"))
    assert all("\n" not in one.command and one.command.startswith("curl ") for one in each)
