from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, Tag, ValidationError

from keystile.config.section import Section, named, needed, sections_in, setting


class Inner(Section):
    """A section."""


class Outer(Section):
    """A section with settings of each kind."""

    inner: list[Annotated[Inner, Tag("x")]] | None = setting(None, description="Inner ones.")
    from_: int = Field(5, alias="from")
    much: int = needed(description="Needed.", ge=3)


def test_sections_are_found_however_deep_they_stand() -> None:
    assert sections_in(Outer.model_fields["inner"].annotation) == [Inner]
    assert sections_in(dict[str, int]) == []


def test_settings_are_named_as_people_write_them() -> None:
    assert list(named(Outer)) == ["inner", "from", "much"]


def test_what_is_needed_has_no_default_and_bounds_hold() -> None:
    assert Outer.model_validate({"much": 3}).inner is None
    for wrong in ({}, {"much": 2}, {"much": 3, "more": 1}):
        with pytest.raises(ValidationError):
            Outer.model_validate(wrong)
