"""The systemd unit: what systemd's own tools say of it, and the gateway under its system call filters."""

from __future__ import annotations

import ctypes.util
import os
import re
import shlex
import subprocess
import sys
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from keystile.cli.main import build_parser
from keystile.config.model import Limits
from tests.deploy.reading import DEPLOY, ROOT, program, unit
from tests.e2e.running import Gateway, answered, make_certificate, settings, trusting
from tests.lacking import lacks

UNIT = DEPLOY / "keystile.service"
LOW_PORTS = DEPLOY / "keystile-low-ports.conf"
PROGRAM = "/opt/keystile/bin/keystile"
MOST_EXPOSED = 2.0
FROM_DEBIAN = "apt-get install systemd"
CONFINED = [sys.executable, "-m", "tests.deploy.confined", str(UNIT), sys.executable]
AROUND = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}


@pytest.mark.parametrize("name", ["ExecStartPre", "ExecStart", "ExecReload"])
def test_the_unit_runs_commands_that_exist(name: str) -> None:
    [line] = unit(UNIT)[name]
    program_name, *words = shlex.split(line)
    assert program_name == PROGRAM
    assert build_parser().parse_args(words).file == Path("/etc/keystile/gateway.yaml")


def test_the_unit_waits_longer_than_a_drain_takes() -> None:
    [seconds] = unit(UNIT)["TimeoutStopSec"]
    assert float(seconds.removesuffix("s")) > Limits().drain_wait + Limits().drain_timeout + 5


def test_the_unit_lets_requests_finish_and_keeps_the_store_to_itself() -> None:
    found = unit(UNIT)
    assert found["KillMode"] == ["mixed"]
    assert (found["StateDirectory"], found["StateDirectoryMode"], found["UMask"]) == (["keystile"], ["0700"], ["0077"])
    assert (found["NoNewPrivileges"], found["ProtectSystem"]) == (["yes"], ["strict"])


@pytest.mark.parametrize("more", [[], [LOW_PORTS]], ids=["the unit", "with ports below 1024"])
def test_its_exposure_is_at_most_two(tmp_path: Path, more: list[Path]) -> None:
    file = tmp_path / "keystile.service"
    # A drop-in counts as if its lines stood at the end of the section.
    dropped = "".join(each.read_text().partition("[Service]")[2] for each in more)
    file.write_text(UNIT.read_text().replace("[Install]", f"{dropped}\n[Install]"))
    tool = program("systemd-analyze", FROM_DEBIAN, in_ci=False)
    command = [tool, "security", "--offline=true", "--no-pager", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    [exposure] = re.findall(r"Overall exposure level for \S+: (\d+\.\d+)", said.stdout)
    assert float(exposure) <= MOST_EXPOSED, said.stdout


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    tool = program("systemd-analyze", FROM_DEBIAN, in_ci=False)
    file = tmp_path / "keystile.service"
    # Only the program is another one: what is verified must be there to be executed.
    file.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    said = subprocess.run([tool, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


# -- under its filters ---------------------------------------------------------------------------------------


@pytest.fixture
def confinable() -> None:
    program("systemd-analyze", FROM_DEBIAN, in_ci=False)
    if ctypes.util.find_library("seccomp") is None:
        # systemd brings it, and may have been built without; then there is nothing to set the unit's filters with.
        lacks("libseccomp is not installed: apt-get install libseccomp2", not_even_in_ci=True)


@pytest.mark.usefixtures("confinable")
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)", "PermissionError"),
        ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", "not supported"),
        ("import os; os.setpriority(os.PRIO_PROCESS, 0, 5)", "PermissionError"),
        ("import os; os.chroot('/')", "PermissionError"),
        ("import mmap, socket; mmap.mmap(-1, 4096); socket.socket(); print('served')", "served"),
    ],
)
def test_the_filters_forbid_what_they_name_and_nothing_else(code: str, said: str) -> None:
    done = subprocess.run([*CONFINED, "-c", code], env=AROUND, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


class Confined(Gateway):
    """``keystile serve`` under the unit's filters."""

    def start(self) -> None:
        command = [*CONFINED, "-m", "keystile", "-c", str(self.file), "serve"]
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(command, env=AROUND, stdout=out, stderr=err, cwd=self.directory)


@pytest.mark.usefixtures("confinable")
def test_a_gateway_under_the_units_filters_does_all_that_it_does(tmp_path: Path) -> None:
    """It starts, serves (over TLS too), takes another version, stops."""
    certificate, key = make_certificate(tmp_path)
    listeners = [
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:0", "tls": {"certificate": certificate.name, "private_key": key.name}},
    ]
    gateway = Confined(tmp_path, settings(9, [{"path": "/any", "public": True}], listeners=listeners))
    gateway.start()
    try:
        gateway.wait_until_ready()
        assert "Seccomp_filters:\t2" in Path(f"/proc/{gateway.process.pid}/status").read_text()
        [before] = gateway.pids("relay")
        assert gateway.run("upgrade").code == 0
        assert gateway.pids("relay") != [before]
        # Let in, and nothing is behind it.
        assert gateway.call(path="/any")[0] == 502
        tls = HTTPSConnection("localhost", gateway.ports[1], timeout=30, context=trusting(certificate))
        assert answered(tls, "GET", "/any")[0] == 502
        tls.close()
        assert "keystile_" in gateway.look("/metrics")
        assert gateway.stop() == 0
    finally:
        gateway.close()
    said = gateway.err.read_text()
    assert "PermissionError" not in said, said
    assert "not permitted" not in said, said
