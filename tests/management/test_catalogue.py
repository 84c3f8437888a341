from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.config.model import Settings
from keystile.management import catalogue as module
from keystile.management.catalogue import SENDING, Catalogue, readable, split
from keystile.management.reference import Reference, read_reference
from keystile.routing.conflicts import known_scopes
from tests.management.documented import HOSTILE, contents, document, document_settings, real_settings, written

NAMES = st.from_regex(r"[!#-+\--\[\]-~]{1,40}", fullmatch=True)


async def read(settings: Settings) -> Catalogue:
    catalogue = Catalogue.of(settings, contents(settings))
    await catalogue.read()
    return catalogue


def scopes_settings(directory: Path, *scopes: str) -> Settings:
    return written(directory, *(f"path: /p{n}, scope: '{scope}'" for n, scope in enumerate(scopes)))


async def test_every_permission_of_the_real_service_stands_in_one_area(tmp_path: Path) -> None:
    settings = real_settings(tmp_path)
    catalogue = await read(settings)
    placed = [info.name for area in catalogue.areas for info in area.scopes]

    assert sorted(placed) == sorted(known_scopes(settings.operations))
    assert catalogue.full == tuple(sorted(placed))
    assert [area.name for area in catalogue.areas] == sorted((area.name for area in catalogue.areas), key=str.lower)
    contacts = next(area for area in catalogue.areas if area.name == "Contacts")
    verbs = [(info.name, info.verb) for info in contacts.scopes]
    assert verbs == [("ViewContacts", "view"), ("ModifyContacts", "modify")]


async def test_a_permission_is_explained_by_the_operations_that_need_it(tmp_path: Path) -> None:
    catalogue = await read(real_settings(tmp_path))
    info = catalogue.info("ViewTemplates")

    assert info is not None
    assert info.explanation == "See templates: Load Templates, Load Template."
    assert [(one.method, one.path, one.slug) for one in info.operations][1] == (
        "GET",
        "/v4/templates/{name}",
        "get-v4-templates-name",
    )
    assert catalogue.info("Nothing") is None


async def test_the_service_s_odd_names_find_their_places(tmp_path: Path) -> None:
    catalogue = await read(real_settings(tmp_path, "path: /smtp, scope: SendSmtp"))
    placed = {info.name: (area.name, info.verb) for area in catalogue.areas for info in area.scopes}

    assert placed["SendHttp"] == (SENDING, "send over HTTP")
    assert placed["SendSmtp"] == (SENDING, "send over SMTP")
    assert placed["Export"] == ("Export", "")
    assert placed["VerifyEmails"] == ("Verify emails", "verify")
    assert placed["ViewVerifyEmails"] == ("Verify emails", "view")
    assert placed["ModifySubAccounts"] == ("Sub accounts", "modify")
    assert placed["ViewWebNotifications"] == ("Web notifications", "view")


async def test_view_only_lets_look_and_nothing_else(tmp_path: Path) -> None:
    rows = ("path: /pets, scope: 'pets:read'", "path: /pet, scope: 'pets:write'")
    catalogue = await read(real_settings(tmp_path, *rows))

    assert set(catalogue.view_only) == {name for name in catalogue.full if name.startswith("View")} | {"pets:read"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ViewContacts", ("View", "Contacts")),
        ("contacts:read", ("Read", "contacts")),
        ("write.pets", ("Write", "pets")),
        ("Views", ("", "Views")),
        ("Viewer", ("", "Viewer")),
        ("View", ("", "View")),
        ("ViewaBle", ("", "ViewaBle")),
        ("SendHttp", ("Send", SENDING)),
        ("SendInvoices", ("Send", "Invoices")),
        ("a:b:c", ("", "a:b:c")),
    ],
)
def test_a_name_has_a_verb_and_an_area_or_stands_for_itself(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts


@pytest.mark.parametrize(
    ("area", "title"),
    [
        ("WebNotifications", "Web notifications"),
        ("SMTPLog", "SMTP log"),
        ("sub_accounts", "Sub accounts"),
        ("ü:x", "ü:x"),
    ],
)
def test_an_area_s_name_can_be_read(area: str, title: str) -> None:
    assert readable(area) == title


@hypothesis(deadline=None)
@given(NAMES)
def test_every_name_that_can_be_a_scope_finds_a_place_of_bearable_length(name: str) -> None:
    verb, area = split(name)

    assert area
    assert verb == "" or verb.lower() in name.lower()
    assert 0 < len(readable(area)) <= 60


async def test_presets_are_met_to_the_letter(tmp_path: Path) -> None:
    catalogue = await read(real_settings(tmp_path))

    assert catalogue.preset_of(catalogue.full) == "full"
    assert catalogue.preset_of(catalogue.view_only) == "view"
    assert catalogue.preset_of(catalogue.full[1:]) == "custom"
    assert catalogue.preset_of([*catalogue.full, "More"]) == "custom"
    assert catalogue.preset_of([]) == "custom"


async def test_without_any_scope_in_the_routes_nothing_is_full(tmp_path: Path) -> None:
    catalogue = await read(written(tmp_path, "path: /a, key_only: true"))

    assert (catalogue.areas, catalogue.full, catalogue.preset_of([])) == ((), (), "custom")
    assert catalogue.describe(["X"]) == "X"


async def test_permissions_are_described_in_short(tmp_path: Path) -> None:
    catalogue = await read(real_settings(tmp_path))
    told = catalogue.describe

    assert told(catalogue.full) == "Full access"
    assert told(catalogue.view_only) == "View only"
    assert told([]) == "No permissions"
    assert told(["ModifyContacts", "ViewContacts"]) == "Contacts (view, modify)"
    assert told(["ViewLists", "ViewContacts", "Export"]) == "3 areas: Contacts (view), Export, ViewLists"
    some = ["ViewCampaigns", "ViewContacts", "ViewFiles", "ViewReports"]
    assert told(some) == "4 areas: Campaigns (view), Contacts (view), Files (view) …"
    assert told([*catalogue.full, "Legacy"]) == "Full access, and Legacy"
    assert len(told(["x" * 200])) <= 60


async def test_a_table_with_view_permissions_alone_says_full_access(tmp_path: Path) -> None:
    catalogue = await read(scopes_settings(tmp_path, "ViewA", "ViewB"))

    assert catalogue.describe(["ViewA", "ViewB"]) == "Full access"


def test_before_documents_are_read_everything_but_their_words_is_there(tmp_path: Path) -> None:
    settings = real_settings(tmp_path)
    catalogue = Catalogue.of(settings, contents(settings))
    info = catalogue.info("ViewTemplates")

    assert len(catalogue.full) == len(known_scopes(settings.operations))
    assert info is not None
    assert info.explanation == "See templates: GET /v4/templates, GET /v4/templates/{name}."


async def test_documents_are_read_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(settings: Settings, documents: dict[Path, bytes]) -> Reference:
        calls.append(len(documents))
        return read_reference(settings, documents)

    monkeypatch.setattr(module, "read_reference", counted)
    settings = real_settings(tmp_path)
    catalogue = Catalogue.of(settings, contents(settings))
    first, *others = await asyncio.gather(*(catalogue.read() for _ in range(5)))

    assert calls == [0, 1]
    assert all(other is first for other in others)


async def test_hostile_words_are_words(tmp_path: Path) -> None:
    said = document({"get /a": {"summary": HOSTILE, "x-scopes": "ViewA"}, "get /b": {"summary": "x" * 9999}})
    catalogue = await read(document_settings(tmp_path, said))

    assert HOSTILE[:40] in "".join(info.explanation for area in catalogue.areas for info in area.scopes)
    assert all(len(info.explanation) < 400 for area in catalogue.areas for info in area.scopes)
