from __future__ import annotations

from keystile.keys.answers import UNCHANGED, Created
from keystile.keys.secret import generate
from tests.keys.test_audit import KEY


def test_the_repr_of_an_answer_hides_the_secret() -> None:
    secret = generate()
    assert secret not in repr(Created(KEY, secret))


def test_unchanged_says_its_name() -> None:
    assert repr(UNCHANGED) == "UNCHANGED"
