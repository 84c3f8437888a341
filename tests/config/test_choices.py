from __future__ import annotations

import pytest

from keystile.config import choices


def test_a_setting_of_later_versions_may_be_off() -> None:
    read = choices.not_yet("something")
    read(None)
    read(False)
    refused: list[object] = [True, {}, "x", 1]
    for value in refused:
        with pytest.raises(choices.NotYet, match=r"is not yet served by this version \(something\)"):
            read(value)


def test_what_is_neither_the_word_nor_a_mapping_is_told_both_ways() -> None:
    assert choices.over_limit("refuse") == "refuse"
    with pytest.raises(ValueError, match="write refuse"):
        choices.over_limit("wait")


@pytest.mark.parametrize("value", ["1.2", "1.3"])
def test_a_tls_version(value: str) -> None:
    assert choices.tls_version(value) == value


@pytest.mark.parametrize(
    ("value", "said"), [("1.0", "legacy"), ("1.1", "legacy"), ("1", "1.2 or 1.3"), (1, "1.2 or")]
)
def test_another_tls_version_is_refused(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choices.tls_version(value)


def test_a_setting_that_is_there_or_not_is_never_false() -> None:
    assert choices.only_true(True) is True
    with pytest.raises(ValueError, match="leave it out"):
        choices.only_true(False)


@pytest.mark.parametrize("value", [False, "off", "false"])
def test_cors_may_be_off(value: object) -> None:
    assert choices.cors_off(value) is False


def test_cors_that_is_not_said_is_neither_on_nor_off() -> None:
    assert choices.cors_off(None) is None
    with pytest.raises(ValueError, match="origins"):
        choices.cors_off("*")


@pytest.mark.parametrize(
    ("value", "path"), [("sqlite:///keystile.db", "keystile.db"), ("sqlite:////var/k.db", "/var/k.db")]
)
def test_three_slashes_are_relative_and_four_absolute(value: str, path: str) -> None:
    assert choices.store(value) == path


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("postgresql://host", "names no database"),
        ("postgresql://u:pa55@host/db", "holds a password"),
        ("keystile.db", "such as sqlite:///keystile.db"),
        ("sqlite://k.db", "such as"),
        ("sqlite:///", "such as"),
        ("sqlite:///a/", "such as"),
        ("sqlite:///a?mode=ro", "such as"),
        ("sqlite:///:memory:", "one process only"),
    ],
)
def test_what_is_no_store_is_refused(value: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choices.store(value)


@pytest.mark.parametrize(("value", "place"), [("stdout", "stdout"), ("a.log", "a.log"), ("off", None), (False, None)])
def test_the_access_log_goes_somewhere_or_nowhere(value: object, place: str | None) -> None:
    assert choices.access_log(value) == place


@pytest.mark.parametrize("value", [True, "yes", "stderr", "none", None, 5, [], ""])
def test_a_word_is_not_taken_for_the_name_of_a_log_file(value: object) -> None:
    with pytest.raises(ValueError, match="write stdout, off, or a file"):
        choices.access_log(value)


@pytest.mark.parametrize("value", ["default", "time", "query", "trace_id"])
def test_a_field_of_the_access_log(value: str) -> None:
    assert choices.log_field(value) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [("statuz", "write status"), ("zzz", "write default, time, request_id"), ("", "empty"), (5, "quotes")],
)
def test_another_field_is_refused(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choices.log_field(value)


def test_what_is_done_with_traces() -> None:
    for value in ("pass", "begin", "off"):
        assert choices.trace(value) == value
    assert choices.trace(False) == "off"
    for wrong in ("on", True, None):
        with pytest.raises(ValueError, match="write pass or begin or off"):
            choices.trace(wrong)


def test_where_spans_go() -> None:
    assert choices.otlp(None) is None
    for value in ("http://127.0.0.1:4318/v1/traces", "https://otel.example.com", "http://[::1]:4318/"):
        assert choices.otlp(value) == value


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1:4318", "grpc://a", "http://", "http://u:p@a/", "http://a/?k=1", "HTTP://a", "http://a/ b", 4318],
)
def test_where_spans_cannot_go(value: object) -> None:
    with pytest.raises(ValueError, match=r"write"):
        choices.otlp(value)
