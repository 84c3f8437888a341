"""That what stands in deploy/, the Makefile and .ci/run is true for this package."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from keystile.cli.main import build_parser
from keystile.config.model import Limits

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def unit() -> dict[str, list[str]]:
    """Every setting of the unit's [Service] with all its values."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "deploy" / "keystile.service").read_text().partition("[Service]")[2].splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", ["ExecStartPre", "ExecStart"])
def test_the_unit_runs_commands_that_exist(name: str) -> None:
    [line] = unit()[name]
    program, *words = shlex.split(line)
    assert program == "/opt/keystile/bin/keystile"
    assert build_parser().parse_args(words).file == Path("/etc/keystile/gateway.yaml")


def test_the_unit_waits_longer_than_a_drain_takes() -> None:
    [seconds] = unit()["TimeoutStopSec"]
    assert float(seconds.removesuffix("s")) > Limits().drain_timeout + 5


def test_the_unit_lets_requests_finish_and_keeps_the_store_to_itself() -> None:
    settings = unit()
    assert settings["KillMode"] == ["mixed"]
    assert settings["StateDirectory"] == ["keystile"]
    assert (settings["NoNewPrivileges"], settings["ProtectSystem"]) == (["yes"], ["strict"])


def test_the_image_runs_commands_that_exist_and_not_as_root() -> None:
    for command in re.findall(r"^(?:HEALTHCHECK .*)?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE):
        words = [word for word in re.findall(r'"([^"]+)"', command) if word != "keystile"]
        assert build_parser().parse_args(words).file == Path("/etc/keystile/gateway.yaml")
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["keystile"]


def test_the_image_has_a_python_that_is_new_enough() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    versions = re.findall(r"^FROM python:(\d+)\.(\d+)-slim", DOCKERFILE, re.MULTILINE)
    assert len(versions) == 2
    assert all((int(major), int(minor)) >= floor for major, minor in versions)


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    kept = re.findall(r"^!(\S+)$", (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = {
        word.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    }
    assert copied == set(kept)
    assert all((ROOT / name).exists() for name in copied)


def test_ci_can_be_executed_and_is_a_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("target", ["run", "test", "check", "bench", "clean"])
def test_the_makefile_has_its_targets(target: str) -> None:
    make = shutil.which("make")
    assert make, "make is what runs these tests"
    done = subprocess.run([make, "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
