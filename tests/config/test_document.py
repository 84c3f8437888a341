from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from keystile.config.document import Document, settings
from keystile.config.kinds import Flag
from keystile.config.section import Section, sections_in

ROOT = Path(__file__).parents[2]
LEAST = {
    "upstreams": {"api": {"servers": ["http://127.0.0.1:9000"]}},
    "routes": [{"path": "/x", "scope": "X", "upstream": "api"}],
}
SETTINGS = dict(settings())


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_described(path: str) -> None:
    description = SETTINGS[path].description or ""
    assert description.endswith((".", "?"))
    assert len(description) > 20


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_stands_in_the_example(path: str) -> None:
    name = path.rpartition(".")[2]
    text = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
    assert re.search(rf"(^|[\s{{]|# |- ){re.escape(name)}:", text, re.MULTILINE)


def test_every_default_is_parsed_like_what_is_written() -> None:
    document = Document.model_validate(LEAST)
    assert document.limits.request_timeout == 600.0
    assert document.listeners[0].address == ("127.0.0.1", 8080)
    assert document.limits.max_body_size is None


def test_only_upstreams_and_routes_have_no_default() -> None:
    assert {name for name, info in Document.model_fields.items() if info.is_required()} == {"upstreams", "routes"}


def test_a_name_that_is_no_setting_is_refused_everywhere() -> None:
    sections: list[type[Section]] = [
        Document,
        *(inner for info in SETTINGS.values() for inner in sections_in(info.annotation)),
    ]
    for section in set(sections):
        with pytest.raises(ValidationError, match="Extra inputs"):
            section.model_validate({"surely_no_setting": 1})


def test_a_document_cannot_be_changed() -> None:
    document = Document.model_validate(LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        document.workers = 3


def test_sections_are_found_through_lists_mappings_and_choices() -> None:
    class Inner(Section):
        flag: Flag

    assert sections_in(dict[str, list[Inner | None]]) == [Inner]
    assert sections_in(int) == []


def test_the_settings_are_named_as_people_name_them() -> None:
    assert {"limits.request_timeout", "listeners[].tls.certificate", "upstreams.*.host", "routes[].scopes.any"} <= set(
        SETTINGS
    )
