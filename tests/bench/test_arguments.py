from __future__ import annotations

import argparse

import pytest
from bench.arguments import names, parse
from bench.cases import CASES, SETS


def test_by_default_the_base_cases_of_all_gateways() -> None:
    chosen = parse([])
    assert chosen.cases == ["same", "varied", "log"]
    assert chosen.gateways is None
    assert chosen.rate == 2000


def test_a_set_stands_for_its_cases_and_none_comes_twice() -> None:
    assert parse(["--cases", "log,base,tls"]).cases == ["log", "same", "varied", "tls"]
    assert parse(["--cases", "all"]).cases == list(CASES)


def test_the_long_set_holds_every_case_that_a_release_is_measured_by() -> None:
    asked = """same varied post down-64k down-1m up-1m tls tls-new 401 403 429 log conn-1 conn-512 keys-100k routes-10k
    addresses-1k addresses-1m relays-2 latency"""
    assert set(asked.split()) == set(SETS["long"])


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="fast: not one of both, a, b"):
        names({"a": 1, "b": 2}, {"both": ("a", "b")})("a,fast")


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--rate", "0"], ["--rate", "inf"], ["--cases", "nothing"]])
def test_what_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err
