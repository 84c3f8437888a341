from __future__ import annotations

import dataclasses

import pytest

from keystile.keys.key import Account, ApiKey, SmtpCredential
from tests.keys.test_audit import KEY


def test_facts_cannot_be_altered() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        KEY.name = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Account("a", "ann@x.org", False, 0.0).operator = True  # type: ignore[misc]


def test_no_field_has_room_for_a_secret_or_a_digest() -> None:
    names = {field.name for kind in (ApiKey, SmtpCredential) for field in dataclasses.fields(kind)}
    assert not {name for name in names if "secret" in name or "digest" in name}
