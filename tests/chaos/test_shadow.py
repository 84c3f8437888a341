from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.shadow import Shadow


def answer(name: str = "k1", secret: str = "S" * 91 + "12345") -> dict[str, Any]:
    return {"id": f"id-{name}", "key": secret, "scopes": ["View"]}


def listed(name: str = "k1", **changes: Any) -> dict[str, Any]:
    return {"name": name, "id": f"id-{name}", "hint": "12345", "scopes": ["View"], **changes}


def test_a_store_that_is_as_was_answered_is_right_whatever_else_is_in_it() -> None:
    shadow = Shadow()
    shadow.made("k1", answer())
    assert shadow.compare([listed(), listed("main")]) == []
    assert shadow.secrets == ["S" * 91 + "12345"]


@pytest.mark.parametrize(
    ("there", "told"),
    [([], "missing"), ([listed(hint="99999")], "another secret"), ([listed(scopes=[])], "scopes"),
     ([listed(id="x")], "another one")],
)  # fmt: skip
def test_a_change_that_was_answered_and_is_not_there_is_told(there: list[dict[str, Any]], told: str) -> None:
    shadow = Shadow()
    shadow.made("k1", answer())
    [fault] = shadow.compare(there)
    assert told in fault


def test_a_deleted_key_that_is_there_is_told() -> None:
    shadow = Shadow()
    shadow.made("k1", answer())
    shadow.deleted("k1")
    assert shadow.compare([]) == []
    assert shadow.compare([listed()]) == ["the deleted key k1 is there"]


def test_of_a_change_whose_answer_was_lost_nothing_is_said() -> None:
    shadow = Shadow()
    shadow.made("k1", answer())
    shadow.settle("k1")
    assert shadow.compare([]) == shadow.compare([listed(hint="99999")]) == []
