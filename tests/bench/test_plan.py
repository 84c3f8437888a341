from __future__ import annotations

import pytest
from bench.cases import CASES, EACH_CAP
from bench.plan import AROUND, Progress, can, lacking, steps, too_wide

from tests.bench.fakes import Plain, gateways


def names(rounds: int, *cases: str, who: tuple[str, ...] = ("a", "b")) -> list[str]:
    return [
        f"{each.round} {each.case.name} {each.name}"
        for each in steps(rounds, [CASES[c] for c in cases], gateways(*who))
    ]


def test_each_round_goes_through_the_gateways_the_other_way() -> None:
    assert names(2, "same", "log") == [
        "1 same a", "1 same b", "1 log a", "1 log b", "2 same b", "2 same a", "2 log b", "2 log a",
    ]  # fmt: skip


def test_a_paced_case_has_the_direct_load_in_every_round() -> None:
    assert names(2, "latency") == [
        "1 latency direct", "1 latency a", "1 latency b", "2 latency b", "2 latency a", "2 latency direct",
    ]  # fmt: skip


def test_who_cannot_do_a_case_has_no_turn_there_and_a_word_says_so() -> None:
    less = Plain("less", EACH_CAP)
    cases = [CASES["429"], CASES["same"]]
    assert [each.name for each in steps(1, cases, [Plain("a"), less])] == ["a", "a", "less"]
    assert lacking(cases, [Plain("a"), less]) == [f"less in 429: it leaves out {EACH_CAP}"]
    assert can(less, CASES["same"])


def test_two_relays_need_four_cores() -> None:
    cases = [CASES["same"], CASES["relays-2"]]
    assert too_wide(cases, 2) == ["relays-2: 2 cores, and it needs 4"]
    assert too_wide(cases, 4) == []


def test_before_the_first_turn_what_is_left_is_a_guess() -> None:
    planned = steps(2, [CASES["same"]], gateways("a", "b"))
    progress = Progress(planned, 4.0)
    assert progress.left() == pytest.approx(4 * (4.0 + AROUND))


def test_a_turn_is_expected_to_take_what_it_took_or_what_the_others_took_in_its_case() -> None:
    planned = steps(2, [CASES["same"], CASES["log"]], gateways("a", "b"))
    progress = Progress(planned, 4.0)
    progress.took(planned[0], 10.0)  # a, same
    # same: b twice and a once like a; log: four by guess.
    assert progress.left() == pytest.approx(3 * 10 + 4 * (4.0 + AROUND))
    progress.took(planned[1], 20.0)  # b, same
    assert progress.left() == pytest.approx(10 + 20 + 4 * (4.0 + AROUND))


def test_the_words_count_turns_and_round_the_time() -> None:
    planned = steps(2, [CASES["same"]], gateways("a"))
    progress = Progress(planned, 4.0)
    progress.took(planned[0], 30.4)
    assert progress.words() == "1 of 2, about 30 s left"
    progress.took(planned[1], 600.0)
    assert progress.words() == "2 of 2"
    planned = steps(3, [CASES["same"]], gateways("a"))
    progress = Progress(planned, 4.0)
    progress.took(planned[0], 600.0)
    assert progress.words() == "1 of 3, about 20 min left"
