from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from keystile.cli import loadtest_site
from keystile.cli.terminal import CommandFailed
from keystile.keys import secret as secrets
from keystile.loadtest import credentials
from keystile.loadtest.preparing import Site
from tests.cli.conftest import Run

SECRET = secrets.generate()


def site(gateway_file: Path, **given: Any) -> Site:
    usual = {"url": "http://127.0.0.1:8080", "i_may_load": None, "ca": None, "key_file": None, "file": gateway_file}
    return loadtest_site.given(argparse.Namespace(**{**usual, **given}))


def test_a_given_gateway_is_called_with_keys_of_a_file_and_the_routes_of_gateway_yaml(
    gateway_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys.txt").write_text(f"{SECRET} ViewContacts\n")
    found = site(gateway_file, key_file=tmp_path / "keys.txt")
    assert (found.target.url, found.key_field, found.cap, found.is_ours) == (
        "http://127.0.0.1:8080",
        "X-Api-Key",
        20,
        False,
    )
    assert [(key.secret, key.scopes) for key in found.keys] == [(SECRET, ("ViewContacts",))]
    assert "/whoami" in {each.path for each in found.operations}


def test_keys_that_only_the_query_may_carry_are_not_sent(gateway_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.ENVIRONMENT, SECRET)
    gateway_file.write_text(f"{gateway_file.read_text()}keys: {{headers: [], query_parameter: apikey}}\n")
    with pytest.raises(CommandFailed, match=r"keys\.headers names none"):
        site(gateway_file)


def test_keys_of_the_environment_are_seen_by_nobody_else(gateway_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.ENVIRONMENT, SECRET)
    assert [key.secret for key in site(gateway_file).keys] == [SECRET]
    assert credentials.ENVIRONMENT not in os.environ


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://127.0.0.1:8080"], "there is no key in it"),
        (["--url", "http://127.0.0.1:8080", "--key-file", "missing.txt"], "cannot be read"),
        (["--url", "http://192.0.2.1:8080"], "--i-may-load 192.0.2.1"),
        (["--url", "192.0.2.1"], "write for example"),
        (["--url", "https://127.0.0.1", "--ca", "missing.pem"], "no certificates"),
    ],
)
def test_what_may_not_or_cannot_be_called_is_one_line(words: list[str], why: str, run: Run) -> None:
    said = run("loadtest", *words)
    assert said.code == 1
    assert why in said.err
    assert said.err.count("\n") == 1


def test_a_demonstration_has_routes_even_without_a_gateway_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(loadtest_site.demo_settings(Path("gateway.yaml")).operations) == 5
    assert list(tmp_path.iterdir()) == []
