import argparse
import getpass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.cli import options


def test_a_date_means_midnight_utc() -> None:
    assert options.expiry("2026-12-31") == datetime(2026, 12, 31, tzinfo=UTC).timestamp()


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones()))
def test_a_date_time_is_the_moment_it_names(moment: datetime) -> None:
    assert options.expiry(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1)


def test_a_time_without_a_zone_is_utc() -> None:
    assert options.expiry("2026-12-31T18:00") == options.expiry("2026-12-31T18:00:00Z")
    assert options.expiry("2026-12-31T18:00:00+02:00") == options.expiry("2026-12-31T16:00:00Z")


@pytest.mark.parametrize("text", ["", "tomorrow", "31.12.2026", "2026-13-01", "2026-02-30", "never", "1e9"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="2026-12-31"):
        options.expiry(text)


def test_never_is_an_expiry_where_one_is_taken_away() -> None:
    assert options.expiry_or_never("never") is None
    assert options.expiry_or_never("2026-12-31") == options.expiry("2026-12-31")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1.5h", "1w", "1_0", "٣", "9999999999"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="10m"):
        options.seconds(text)


def test_c_may_stand_before_or_after_a_subcommand() -> None:
    file_option = options.file_option()
    parser = argparse.ArgumentParser(parents=[file_option])
    parser.add_subparsers().add_parser("do", parents=[file_option])

    def chosen(*words: str) -> Path:
        file: Path = parser.parse_args(words, argparse.Namespace(file=options.DEFAULT_FILE)).file
        return file

    assert chosen("-c", "a.yaml", "do") == Path("a.yaml")
    assert chosen("do", "-c", "a.yaml") == Path("a.yaml")
    assert chosen("-c", "a.yaml", "do", "--config", "b.yaml") == Path("b.yaml")
    assert chosen("do") == Path("gateway.yaml")


def test_who_asks_is_the_user_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr("platform.node", lambda: "gate-1")
    assert options.asked_by() == ("ann (command line)", "gate-1")


def test_a_user_without_a_name_is_still_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 10001)
    assert options.asked_by()[0] == "uid 10001 (command line)"


def test_statuses_are_written_as_people_think_of_them() -> None:
    assert options.statuses("404") == {404}
    assert options.statuses("4xx,503") == {*range(400, 500), 503}
    for wrong in ("", "4", "4x", "600", "6xx", "4xx;503", "4XX", "٤٠٤", "4xx,"):
        with pytest.raises(argparse.ArgumentTypeError, match="no status"):
            options.statuses(wrong)
