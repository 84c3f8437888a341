"""What every section of gateway.yaml is made of.

Law: how a setting is written down, and which sections a section holds; no setting.
"""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def setting(default: Any, description: str, **bounds: Any) -> Any:
    """A setting with its default, written as in YAML and parsed like it."""
    return Field(default, description=description, validate_default=True, **bounds)


def needed(description: str, **bounds: Any) -> Any:
    """A setting without a default."""
    return Field(description=description, **bounds)


class Section(BaseModel):
    """Any mapping of gateway.yaml: names that are not settings are faults."""

    # Deferred: with the document its sections are made ready, each once and not again in every section around it.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a setting of this type holds."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def named(section: type[Section]) -> dict[str, FieldInfo]:
    """The settings of a section by the names that people write (``from`` can be none in Python)."""
    return {info.alias or name: info for name, info in section.model_fields.items()}
