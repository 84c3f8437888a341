from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from keystile.keys import facts
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.networks import Networks
from keystile.management.api import shapes
from keystile.management.api.moments import written
from keystile.management.api.shapes import CreateKey, EditKey, Shape, VerifySmtp

CLASSES = [each for each in vars(shapes).values() if isinstance(each, type)]
ALL = [each for each in CLASSES if issubclass(each, Shape) and each is not Shape]
visible = st.text(st.characters(min_codepoint=32, max_codepoint=127), min_size=1, max_size=20)


@pytest.mark.parametrize("shape", ALL, ids=lambda shape: shape.__name__)
def test_every_body_refuses_members_that_it_does_not_name(shape: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        shape.model_validate({"unheard_of": 1})
    assert "extra_forbidden" in {fault["type"] for fault in refused.value.errors()}


@given(visible)
def test_a_scope_here_is_one_in_the_domain(name: str) -> None:
    try:
        there = facts.scopes([name]) == {name}
    except KeyRuleBroken:
        there = False
    try:
        CreateKey.model_validate({"name": "k", "scopes": [name]})
        here = True
    except ValidationError:
        here = False
    assert here == there


@given(st.ip_addresses())
def test_no_network_is_too_long_to_be_written(address: object) -> None:
    text = f"{address}-{address}"
    assert len(text) <= shapes.LONGEST_NETWORK
    assert Networks.parse([text])
    CreateKey.model_validate({"name": "k", "allowed_networks": [text]})


@given(st.integers(0, 253402300799))
def test_an_expiry_becomes_unix_seconds(at: int) -> None:
    made = CreateKey.model_validate({"name": "k", "expires": written(at)})
    assert made.expires == at


def test_a_patch_knows_what_was_sent() -> None:
    patch = EditKey.model_validate({"expires": None, "scopes": ["Export"]})
    assert patch.given("name", "scopes", "allowed_networks") == {"scopes": ["Export"]}
    assert patch.model_fields_set == {"expires", "scopes"}


def test_no_secret_stands_in_a_repr_or_in_an_error() -> None:
    body = {"name": "n", "secret": "hidden-5f3c"}
    assert "hidden-5f3c" not in repr(VerifySmtp.model_validate(body))
    with pytest.raises(ValidationError) as refused:
        VerifySmtp.model_validate({**body, "secret": ["hidden-5f3c"]})
    assert "hidden-5f3c" not in str(refused.value)
