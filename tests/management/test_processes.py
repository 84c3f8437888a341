from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from keystile.management.metrics import Sample
from keystile.management.processes import Processes, age_of

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def put(proc: Path, pid: int, user: int, system: int, pages: int, began: int = 1) -> None:
    """A process as proc(5) tells of it; its command is not easy to read over."""
    fields = ["S", *["0"] * 10, str(user), str(system), *["0"] * 6, str(began), "0", str(pages), "0"]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n")


def cpu(samples: list[Sample]) -> dict[str, float]:
    return {labels: value for name, labels, value in samples if name == "process_cpu_seconds_total"}


def test_the_age_of_a_process_is_the_kernels(tmp_path: Path) -> None:
    began = time.clock_gettime(time.CLOCK_BOOTTIME) - 60
    put(tmp_path, 1, 0, 0, 0, began=int(began * TICK))
    assert 60 <= age_of(1, tmp_path) < 90
    assert 0 < age_of(os.getpid()) < 86400
    with pytest.raises(OSError, match="No such file"):
        age_of(99, tmp_path)


def test_processes_of_a_role_are_added_up(tmp_path: Path) -> None:
    put(tmp_path, 1, TICK, TICK, 10)
    put(tmp_path, 2, 3 * TICK, 0, 20)
    found = Processes(tmp_path).samples({"relay": [1, 2, 99], "management": []})
    assert found == [
        ("process_resident_memory_bytes", 'role="relay"', 30 * PAGE),
        ("process_resident_memory_bytes", 'role="management"', 0),
        ("process_cpu_seconds_total", 'role="relay"', 5.0),
        ("process_cpu_seconds_total", 'role="management"', 0.0),
    ]


def test_processor_time_goes_on_over_the_end_of_a_process_and_over_another_that_gets_its_id(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    put(tmp_path, 1, 5 * TICK, 0, 1)
    assert cpu(processes.samples({"relay": [1]})) == {'role="relay"': 5.0}
    assert cpu(processes.samples({"relay": []})) == {'role="relay"': 5.0}
    put(tmp_path, 1, TICK, 0, 1, began=7)
    assert cpu(processes.samples({"relay": [1]})) == {'role="relay"': 6.0}
    put(tmp_path, 1, 2 * TICK, 0, 1, began=9)
    assert cpu(processes.samples({"relay": [1]})) == {'role="relay"': 8.0}


def test_this_very_process_has_memory_and_time() -> None:
    found = {name: value for name, _, value in Processes().samples({"management": [os.getpid()]})}
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["process_cpu_seconds_total"] > 0


def test_processor_time_goes_on_in_another_process_that_looks(tmp_path: Path) -> None:
    put(tmp_path, 1, 5 * TICK, 0, 1)
    put(tmp_path, 2, 3 * TICK, 0, 1)
    before, after = Processes(tmp_path), Processes(tmp_path)
    before.samples({"relay": [1], "management": [2]})
    after.restore(json.loads(json.dumps(before.kept())))
    put(tmp_path, 1, 6 * TICK, 0, 1)
    put(tmp_path, 3, TICK, 0, 1)
    assert cpu(after.samples({"relay": [1], "management": [3]})) == {'role="relay"': 6.0, 'role="management"': 4.0}


def test_a_look_that_finds_a_tick_less_takes_nothing_back_here_or_after_a_restart(tmp_path: Path) -> None:
    before, after = Processes(tmp_path), Processes(tmp_path)
    put(tmp_path, 1, 5 * TICK, 7, 1)
    shown = cpu(before.samples({"relay": [1]}))
    put(tmp_path, 1, 5 * TICK, 6, 1)
    assert cpu(before.samples({"relay": [1]})) == shown
    after.restore(json.loads(json.dumps(before.kept())))
    assert cpu(after.samples({"relay": [1]})) == shown
    put(tmp_path, 1, 5 * TICK, 9, 1)
    assert cpu(after.samples({"relay": [1]})) == {'role="relay"': (5 * TICK + 9) / TICK}
