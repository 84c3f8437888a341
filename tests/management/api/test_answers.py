from __future__ import annotations

import pytest
from pydantic import ValidationError

from keystile.keys.key import Account as AnAccount
from keystile.management.api.answers import Account, respond

ANN = AnAccount("00ff", "ann@example.com", False, 0.0)


def test_an_account_is_told_without_anything_that_signs_in() -> None:
    assert Account.of(ANN).model_dump() == {
        "id": "00ff",
        "email": "ann@example.com",
        "operator": False,
        "created": "1970-01-01T00:00:00Z",
    }


def test_nobody_on_the_way_keeps_an_answer() -> None:
    made = respond(Account.of(ANN), 201, {"Location": "/x"})
    assert (made.status, made.content_type, made.headers["Cache-Control"]) == (201, "application/json", "no-store")
    assert made.headers["Location"] == "/x"


def test_an_answer_has_no_member_that_its_shape_does_not_name() -> None:
    with pytest.raises(ValidationError):
        Account.model_validate({**Account.of(ANN).model_dump(), "password": "x"})


def test_the_document_leaves_room_for_members_of_later_versions() -> None:
    schema = Account.model_json_schema(mode="serialization")
    assert "additionalProperties" not in schema
    assert set(schema["required"]) == set(schema["properties"])
