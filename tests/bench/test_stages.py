from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from bench.arguments import parse
from bench.cases import CASES
from bench.gateways.gateway import Scene
from bench.stages import make_stages

from tests.bench.fakes import Plain

DOCUMENT = """
paths:
  /contacts:
    get: {description: "Required Access Level: ViewContacts"}
"""


class Unready(Plain):
    def prepare(self, scene: Scene, directory: Path) -> None:
        raise OSError("no space")


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    monkeypatch.setattr("bench.load.VARIED_REQUESTS", 3)
    document = tmp_path / "api.yaml"
    document.write_text(DOCUMENT)
    chosen = parse(["--keys", "5", "--rate", "700", "--document", str(document)])
    chosen.spare = ()
    return chosen


def test_there_is_a_stage_for_each_size_and_cases_of_one_size_share_it(chosen: Namespace, tmp_path: Path) -> None:
    cases = [CASES["same"], CASES["log"], replace(CASES["routes-10k"], routes=50)]
    stages = make_stages(chosen, cases, [], 8080, tmp_path)
    assert list(stages) == [(0, 0), (0, 50)]
    assert len(stages[0, 0].scene.keys.keys) == 5
    assert len(stages[0, 0].scene.calls) == 1
    assert len(stages[0, 50].scene.calls) == 50
    assert stages[0, 0].load.rate == 700
    assert stages[0, 0].scene.certificate.exists()


def test_a_gateway_that_cannot_be_prepared_is_told_and_the_others_go_on(
    chosen: Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stages(chosen, [CASES["same"]], [Unready("a"), Plain("b")], 8080, tmp_path)[0, 0]
    assert list(stage.unready) == ["a"]
    assert "no space" in stage.unready["a"]
    assert "a could not be prepared" in capsys.readouterr().err
