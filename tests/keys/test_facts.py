from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from keystile.keys import facts
from keystile.keys.errors import KeyRuleBroken

CASES: list[tuple[str, Callable[[], object]]] = [
    ("bad_email", lambda: facts.email("nobody")),
    ("bad_name", lambda: facts.name(" ")),
    ("bad_name", lambda: facts.smtp_name("mailer")),
    ("bad_scope", lambda: facts.scopes(["two words"])),
    ("bad_scope", lambda: facts.scopes(f"s{number}" for number in range(257))),
    ("bad_network", lambda: facts.networks(["10.0.0.0/99"])),
    ("bad_network", lambda: facts.networks(f"10.0.{number}.1" for number in range(257))),
    ("expiry_in_the_past", lambda: facts.expiry(100.0, now=100.0)),
    ("expiry_in_the_past", lambda: facts.expiry(-math.inf, now=100.0)),
    ("bad_expiry", lambda: facts.expiry(math.inf, now=100.0)),
    ("bad_expiry", lambda: facts.expiry(math.nan, now=100.0)),
    ("bad_overlap", lambda: facts.overlap(-1)),
    ("bad_overlap", lambda: facts.overlap(math.nan)),
    ("bad_overlap", lambda: facts.overlap(31 * 86400)),
    ("bad_digest", lambda: facts.digest("ab")),
    ("bad_digest", lambda: facts.digest("g" * 64)),
    ("bad_hint", lambda: facts.hint("1234")),
    ("bad_hint", lambda: facts.hint("12 45")),
]


@pytest.mark.parametrize(("code", "ask"), CASES)
def test_what_breaks_a_rule_has_its_code_and_a_sentence(code: str, ask: Callable[[], object]) -> None:
    with pytest.raises(KeyRuleBroken) as caught:
        ask()
    assert caught.value.code == code
    assert str(caught.value) == caught.value.message != ""


def test_what_is_right_becomes_a_value() -> None:
    assert facts.email("Ann@X.org") == "ann@x.org"
    assert facts.smtp_name(" Mailer@X.org") == "mailer@x.org"
    assert facts.scopes(["A", " A "]) == {"A"}
    assert facts.networks(["10.0.0.1"]).texts == ("10.0.0.1",)
    assert facts.expiry(None, now=1.0) is None
    assert facts.expiry(2, now=1.0) == 2.0
    assert facts.overlap(0) == 0.0
    assert facts.digest(" " + "aB" * 32) == bytes.fromhex("ab" * 32)
    assert facts.hint("A9~b!") == "A9~b!"
