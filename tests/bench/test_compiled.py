"""The compiled copy is measured only where it is of this very source; and what setup.py compiles is there."""

from __future__ import annotations

import ast
import runpy
import shutil
from pathlib import Path

import pytest
from bench.gateways.keystile import SOURCE, Compiled

TOP = SOURCE.parent.parent


def test_a_copy_that_is_not_there_or_of_another_source_is_not_measured(tmp_path: Path) -> None:
    gateway = Compiled()
    gateway.built = tmp_path
    assert gateway.missing() == "keystile-compiled is not there: make compile"
    shutil.copytree(SOURCE, tmp_path / "keystile", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "keystile" / "relay" / "exchange.cpython-311.so").touch()
    assert gateway.missing() is None
    with (tmp_path / "keystile" / "relay" / "exchange.py").open("a") as file:
        file.write("#")
    assert gateway.missing() == "keystile-compiled is of another source (" + str(
        SOURCE / "relay" / "exchange.py"
    ) + " and others): make compile"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What setup.py has asked setuptools for, which does nothing."""
    asked: list[dict[str, object]] = []
    monkeypatch.setattr("setuptools.setup", lambda **how: asked.append(how))
    monkeypatch.delenv("KEYSTILE_COMPILE", raising=False)
    return asked


def test_what_is_compiled_spreads_no_arguments_over_functions_of_ours(asked: list[dict[str, object]]) -> None:
    """mypyc 2.4 hands a list over as the first argument of a method that it has compiled (``cls.made(*parts)``)."""
    names = runpy.run_path(str(TOP / "setup.py"))
    for module in names["hot_modules"]():
        for call in [each for each in ast.walk(ast.parse((TOP / module).read_text())) if isinstance(each, ast.Call)]:
            if any(isinstance(each, ast.Starred) for each in call.args) or any(not each.arg for each in call.keywords):
                called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                assert called in ("gcd", "union"), f"{module}:{call.lineno}: {called}"


def test_without_being_asked_nothing_is_compiled(asked: list[dict[str, object]]) -> None:
    names = runpy.run_path(str(TOP / "setup.py"))
    assert asked == [{}]
    modules = names["hot_modules"]()
    assert {"src/keystile/wire/client.py", "src/keystile/relay/exchange.py"} < set(modules)
    assert all((TOP / module).is_file() for module in modules)
    left = {f"src/keystile/{module}" for module in names["AS_THEY_ARE"]}
    assert not left & set(modules)
    assert all((TOP / module).is_file() for module in left)
