from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import LONGEST, TESTS, pytest_collection_modifyitems


@pytest.mark.parametrize("name", LONGEST)
def test_each_of_the_longest_files_is_there(name: str) -> None:
    assert (TESTS / f"{name}.py").exists()


def items(*names: str) -> list[Any]:
    return [SimpleNamespace(path=TESTS / f"{name}.py", get_closest_marker=lambda _: None) for name in names]


def test_many_at_a_time_begin_with_the_longest_files_and_leave_the_order_within_them() -> None:
    first, second, long, longer, elsewhere = given = items("a", "b", LONGEST[1], LONGEST[0], "a")
    elsewhere.path = Path("/elsewhere/test_x.py")
    pytest_collection_modifyitems(SimpleNamespace(workerinput={}), given)  # type: ignore[arg-type]
    assert given == [longer, long, first, second, elsewhere]


def test_one_at_a_time_goes_by_name() -> None:
    given = items("a", LONGEST[0])
    before = list(given)
    pytest_collection_modifyitems(SimpleNamespace(), given)  # type: ignore[arg-type]
    assert given == before
