from __future__ import annotations

from pathlib import Path

import pytest

from keystile.management.reference import OTHER, Entry, Reference, cut, read_reference
from tests.management.documented import contents, document, document_settings, real_settings, written


def read(directory: Path, said: dict[str, object], *rows: str) -> Reference:
    settings = document_settings(directory, said, *rows)
    return read_reference(settings, contents(settings))


def at(reference: Reference, slug: str) -> Entry:
    found = reference.entry(slug)
    assert found is not None
    return found


def test_every_operation_of_the_real_document_is_there_with_its_words_and_its_permission(tmp_path: Path) -> None:
    settings = real_settings(tmp_path)
    reference = read_reference(settings, contents(settings))

    assert len(reference.entries) == 112
    assert all(entry.summary and entry.tag != OTHER for entry in reference.entries)
    contact = at(reference, "get-v4-contacts-email")
    assert (contact.method, contact.path, contact.summary) == ("GET", "/v4/contacts/{email}", "Load Contact")
    assert contact.scopes == ("ViewContacts",)
    assert reference.titles == ("Elastic Email REST API",)
    assert [tag.name for tag in reference.tags][:3] == ["Campaigns", "Contacts", "Domains"]
    assert sum(tag.operations for tag in reference.tags) == 112


def test_a_row_that_settles_an_operation_decides_what_it_needs_and_the_document_says_what_it_is(tmp_path: Path) -> None:
    row = "path: '/v4/contacts/{who}', methods: [GET], scope: Mine, override: true"
    settings = real_settings(tmp_path, row)
    entry = at(read_reference(settings, contents(settings)), "get-v4-contacts-who")

    assert entry.scopes == ("Mine",)
    assert entry.summary == "Load Contact"


def test_rows_without_a_document_are_listed_by_method_and_path(tmp_path: Path) -> None:
    settings = written(tmp_path, "path: /v2/*, scope: Legacy", "path: /health, methods: [GET], public: true")
    reference = read_reference(settings, {})

    assert [(entry.slug, entry.title, entry.tag) for entry in reference.entries] == [
        ("any-v2", "* /v2/*", OTHER),
        ("get-health", "GET /health", OTHER),
    ]
    assert reference.entries[1].needs.public


def test_without_the_document_s_contents_the_table_is_still_complete(tmp_path: Path) -> None:
    reference = read_reference(real_settings(tmp_path), {})

    assert len(reference.entries) == 112
    assert {entry.summary for entry in reference.entries} == {""}


def test_only_documents_that_the_settings_name_are_looked_at(tmp_path: Path) -> None:
    settings = written(tmp_path, "path: /a, scope: A")

    assert read_reference(settings, {tmp_path / "other.yaml": b"paths: {/a: {get: {summary: Mine}}}"}).titles == ()


def test_a_prefix_that_reads_like_a_path_of_the_document_confuses_nothing(tmp_path: Path) -> None:
    said = document({"get /a": {"summary": "short"}, "get /api/a": {"summary": "long"}})
    reference = read(tmp_path, said)

    assert {entry.path: entry.summary for entry in reference.entries} == {"/api/a": "short", "/api/api/a": "long"}


def test_operations_whose_names_read_alike_have_pages_of_their_own(tmp_path: Path) -> None:
    reference = read(tmp_path, document({"get /a-b": {}, "get /a/b": {}, "get /a/{b}": {}}))
    slugs = [entry.slug for entry in reference.entries]

    assert slugs == ["get-api-a-b", "get-api-a-b--2", "get-api-a-b--3"]
    assert [at(reference, slug).path for slug in slugs] == ["/api/a-b", "/api/a/b", "/api/a/{b}"]


def test_missing_and_broken_words_are_left_out(tmp_path: Path) -> None:
    said = document(
        {"get /a": {"summary": 7, "tags": "x"}, "get /b": {"summary": None, "tags": [3, "Good"]}},
        tags=["x", {"name": 4}, {"description": "no name"}, {"name": "Good", "description": [1]}],
    )
    reference = read(tmp_path, said)

    assert [(entry.summary, entry.tag) for entry in reference.entries] == [("", OTHER), ("", "Good")]
    assert [(tag.name, tag.description) for tag in reference.tags] == [("Good", ""), (OTHER, "")]


def test_words_of_any_length_are_cut(tmp_path: Path) -> None:
    said = document({"get /a": {"summary": "s" * 9999, "tags": ["t" * 9999]}})
    [entry] = read(tmp_path, said).entries

    assert len(entry.summary) <= 160
    assert len(entry.tag) <= 60


def test_a_thousand_operations_are_read_in_the_table_s_order(tmp_path: Path) -> None:
    reference = read(tmp_path, document({f"get /things/t{n}": {"summary": f"Thing {n}"} for n in range(1000)}))

    assert [entry.summary for entry in reference.entries] == [f"Thing {n}" for n in range(1000)]
    assert len({entry.slug for entry in reference.entries}) == 1000


@pytest.mark.parametrize(("most", "text"), [(3, "abc"), (2, "a…"), (1, "…")])
def test_a_text_is_cut_with_a_sign_that_it_was(most: int, text: str) -> None:
    assert cut("abc", most) == text
