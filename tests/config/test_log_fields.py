from __future__ import annotations

import re
from pathlib import Path

from keystile.config.log_fields import DEFAULT_FIELDS, DEFAULT_REDACTED, FIELDS
from keystile.config.tokens import redacted_parameter

DOCUMENT = Path(__file__).parents[2] / "docs" / "logs.md"
ROW = re.compile(r"^\| `(\w+)`( \\\*)? \| (.+) \|$", re.MULTILINE)


def test_the_usual_fields_are_fields_in_their_order() -> None:
    assert [name for name in FIELDS if name in DEFAULT_FIELDS] == sorted(DEFAULT_FIELDS, key=list(FIELDS).index)
    assert set(DEFAULT_FIELDS) <= set(FIELDS)


def test_the_query_is_not_logged_unless_it_is_asked_for() -> None:
    assert "query" not in DEFAULT_FIELDS


def test_what_is_redacted_by_default_could_be_written() -> None:
    assert [redacted_parameter(name) for name in DEFAULT_REDACTED] == list(DEFAULT_REDACTED)


def test_the_document_has_the_same_table() -> None:
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert [(name, said) for name, _, said in rows] == list(FIELDS.items())
    assert [name for name, usual, _ in rows if usual] == [name for name in FIELDS if name in DEFAULT_FIELDS]
