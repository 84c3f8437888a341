import json
from pathlib import Path

import jsonschema
import yaml

from tests.cli.conftest import Run


def test_a_good_file_is_0(run: Run, gateway_file: Path) -> None:
    said = run("check")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{gateway_file}: good (1 listener, 1 upstream, 6 routes)\n"


def test_every_fault_has_its_line_and_the_code_is_1(run: Run, gateway_file: Path) -> None:
    text = gateway_file.read_text().replace("workers: 1", "worker: 1").replace("scope: Legacy", "scoop: Legacy")
    gateway_file.write_text(text)
    said = run("check")
    assert (said.code, said.out) == (1, "")
    assert f"{gateway_file}:3: worker" in said.err
    assert f"{gateway_file}:13: routes[5]" in said.err


def test_a_file_that_is_missing_is_one_line(run: Run, gateway_file: Path) -> None:
    gateway_file.unlink()
    said = run("check")
    assert said.code == 1
    assert str(gateway_file) in said.err
    assert said.err.count("\n") == 1


def test_the_schema_is_a_schema_that_the_file_meets(run: Run, gateway_file: Path) -> None:
    said = run("check", "--schema")
    assert said.code == 0
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(gateway_file.read_text()), schema)


def test_the_schema_needs_no_file(run: Run, gateway_file: Path) -> None:
    gateway_file.unlink()
    assert run("check", "--schema").code == 0
