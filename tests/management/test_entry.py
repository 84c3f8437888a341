from __future__ import annotations

import re

import pytest

from keystile.keys.key import Account
from keystile.management.entry import (
    AccessRefused,
    Identity,
    SignedIn,
    csrf_of,
    digest,
    must_be_good,
    must_be_session,
    new_secret,
)

ANN = Account("a1", "ann@example.com", False, 0.0)


def test_a_secret_is_256_random_bits() -> None:
    secrets = {new_secret("kst_") for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch("kst_[0-9a-f]{64}", secret) for secret in secrets)


def test_what_forms_carry_follows_from_the_secret_and_does_not_lead_back() -> None:
    assert csrf_of("a") == csrf_of("a") != csrf_of("b")
    assert csrf_of("a") != digest("a").hex()  # what is in the file is not what is on the page


def test_anything_typed_has_a_digest() -> None:
    assert len(digest("\ud800")) == len(csrf_of("\ud800")) // 2 == 32


def test_secrets_are_not_in_the_text_of_what_holds_them() -> None:
    identity = Identity(ANN, "session", "the-csrf", "id")
    assert "the-csrf" not in repr(SignedIn("the-secret", identity))
    assert "the-secret" not in repr(SignedIn("the-secret", identity))


def test_a_token_is_told_that_a_session_is_needed() -> None:
    must_be_session(Identity(ANN, "session", "", "id"))
    with pytest.raises(AccessRefused) as caught:
        must_be_session(Identity(ANN, "token", "", "id"))
    assert caught.value.code == "session_needed"


def test_a_bad_password_is_refused_without_being_repeated() -> None:
    must_be_good("x" * 8)
    with pytest.raises(AccessRefused) as caught:
        must_be_good("hunter2")
    assert caught.value.code == "bad_password"
    assert "hunter2" not in str(caught.value)
