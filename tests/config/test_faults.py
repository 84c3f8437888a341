from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.faults import (
    HIDDEN,
    LONGEST_SHOWN,
    MOST_TOLD,
    ConfigurationError,
    Fault,
    in_order,
    shown_name,
    shown_value,
    without_secrets,
)
from keystile.keys.secret import digest, generate


def test_a_fault_is_told_with_file_line_path_value_and_what_would_be_right() -> None:
    fault = Fault("gateway.yaml", 12, "limits.request_timeout", "'10 parsecs'", "is not a duration; write 600s")
    assert str(fault) == "gateway.yaml:12: limits.request_timeout: '10 parsecs' is not a duration; write 600s"


def test_a_fault_of_the_whole_file_has_neither_line_nor_path() -> None:
    assert str(Fault("gateway.yaml", None, "", None, "is empty")) == "gateway.yaml: is empty"


def test_faults_come_in_the_order_of_the_file_and_once() -> None:
    late, early, other = (Fault(f, n, "", None, "x") for f, n in (("g", 9), ("g", 2), ("a", 1)))
    assert in_order([late, other, early, late], "g") == [early, late, other]


def test_more_faults_than_anybody_reads_are_counted() -> None:
    told = in_order([Fault("g", n, "", None, "x") for n in range(MOST_TOLD + 7)], "g")
    assert len(told) == MOST_TOLD + 1
    assert told[-1].message == "7 more faults are not shown"


def test_the_error_holds_every_fault_and_survives_pickling() -> None:
    error = ConfigurationError([Fault("g", 1, "a", None, "x"), Fault("g", 2, "b", "5", "y")])
    assert str(error) == "g:1: a: x\ng:2: b: 5 y"
    assert pickle.loads(pickle.dumps(error)).faults == error.faults


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "nothing"), (True, "true"), (False, "false"), ({}, "a mapping"), ([1], "a list"), (5, "5"),
     ("a'b", '"a\'b"'), ("a\nb", "a text of several lines")],
)  # fmt: skip
def test_a_value_is_shown_as_yaml_calls_it(value: object, shown: str) -> None:
    assert shown_value(value) == shown


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_key_is_never_shown(before: str, after: str) -> None:
    secret = generate()
    text = f"{before}{secret}{after}"
    for shown in (shown_value(text), shown_name(text), without_secrets(text)):
        assert secret not in shown
        assert secret[:40] not in shown


def test_digests_tokens_credentials_and_pem_are_not_shown() -> None:
    assert shown_value(digest(b"x").hex()) == f"'{HIDDEN}'"
    assert "pa55" not in shown_value("postgresql://user:pa55@host/db")
    assert "MII" not in shown_value("-----BEGIN PRIVATE KEY----- MIIabc")
    assert shown_value("ghp0AbCdEfGhIjKlMnOpQrStUvWx") == f"'{HIDDEN}'"


@pytest.mark.parametrize("name", ["password", "client_secret", "api_key", "apikey", "token"])
def test_the_value_of_a_name_that_promises_a_secret_is_not_shown(name: str) -> None:
    assert shown_value("hunter2", name) == HIDDEN


@pytest.mark.parametrize(
    "text",
    ["tls/private_key.pem", "/var/lib/keystile/2024-backup/certificates/very-long-name.pem", "X-ElasticEmail-ApiKey"],
)
def test_paths_and_names_are_shown(text: str) -> None:
    assert shown_value(text) == repr(text)


@given(st.text())
def test_what_is_shown_is_short_and_printable(text: str) -> None:
    assert len(shown_name(text)) <= LONGEST_SHOWN
    assert shown_name(text).isprintable()
    assert shown_value(text).isprintable()
    assert len(shown_value(text)) <= 12 * LONGEST_SHOWN
