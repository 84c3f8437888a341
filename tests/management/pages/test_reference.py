from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yarl

from keystile.config.model import Needs
from keystile.management.pages.reference import PAGE, Search
from keystile.management.reference import Entry
from tests.management.documented import HOSTILE, document, document_settings, parts, real_settings, written
from tests.management.pages.reading import Page, harmless
from tests.management.running import Managed, running

EMAIL = "a@example.com"


async def signed_in(app: Managed) -> Managed:
    await app.account(EMAIL)
    await app.sign_in(EMAIL)
    return app


async def shown(app: Managed, path: str, status: int = 200) -> Page:
    return harmless(await app.page(yarl.URL(path, encoded=True).raw_path_qs, status))


async def test_every_page_of_the_real_reference_is_small_and_harmless_and_every_link_leads_somewhere(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        await signed_in(app)
        seen, todo = set[str](), ["/reference"]
        while todo:
            path = todo.pop()
            seen.add(path)
            page = await shown(app, path)
            links = {unescape(link) for link in page.links if link.startswith("/reference")}
            todo += sorted(links - seen - set(todo))

        assert len([path for path in seen if path.startswith("/reference/")]) == 112
        assert "/reference?scope=ViewContacts" in seen


async def test_an_operation_shows_its_permission_its_parameters_and_a_line_for_curl(tmp_path: Path) -> None:
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        await signed_in(app)
        page = await shown(app, "/reference/get-v4-contacts-email")

        assert "/reference?scope=ViewContacts" in page.links
        assert "X-ElasticEmail-ApiKey: YOUR_API_KEY" in page.text
        assert "email required in path" in page.text
        assert "Load Contact" in page.text


async def test_operations_are_found_by_words_permission_and_chapter(tmp_path: Path) -> None:
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        await signed_in(app)

        assert "6 operations" in (await shown(app, "/reference?scope=Export")).text
        assert "9 operations" in (await shown(app, "/reference?tag=Contacts")).text
        found = await shown(app, "/reference?q=export+STATUS&tag=Contacts")
        assert "1 operation for “export STATUS”" in found.text
        assert "/reference/get-v4-contacts-export-id-status" in found.links
        assert "0 operations" in (await shown(app, "/reference?q=nothing+of+the+kind")).text
        assert "No operation needs this permission" in (await shown(app, "/reference?scope=Nothing")).text


async def test_what_is_not_there_is_said_on_a_page(tmp_path: Path) -> None:
    async with running(tmp_path, **parts(written(tmp_path, "path: /a, scope: A"))) as app:
        await signed_in(app)

        assert "There is no such operation" in (await shown(app, "/reference/get-nothing", 404)).text


async def test_routes_without_a_document_are_in_the_reference_too(tmp_path: Path) -> None:
    rows = ("path: /v2/*, scopes: {all: [A], any: [B, C]}", "path: /w, key_only: true", "path: /p, public: true")
    async with running(tmp_path, **parts(written(tmp_path, *rows))) as app:
        await signed_in(app)
        page = await shown(app, "/reference?tag=Other+calls")

        assert "ANY /v2/* /v2/* A and one of B C" in page.text
        assert "Any key" in page.text
        assert "No key" in page.text
        assert "YOUR_API_KEY" not in (await shown(app, "/reference/any-p")).text.partition("Put your key")[0]


async def test_a_document_s_script_does_not_get_into_a_page(tmp_path: Path) -> None:
    said = document(
        {
            "post /a": {
                "summary": HOSTILE,
                "description": HOSTILE,
                "tags": [HOSTILE[:50]],
                "parameters": [{"name": HOSTILE, "in": "query", "description": HOSTILE, "example": HOSTILE}],
                "requestBody": {
                    "description": HOSTILE,
                    "content": {HOSTILE: {"schema": {"properties": {HOSTILE: {"type": HOSTILE}}}, "example": HOSTILE}},
                },
                "responses": {HOSTILE: {"description": HOSTILE, "content": {"text/html": {"example": HOSTILE}}}},
            }
        },
        tags=[{"name": HOSTILE[:50], "description": HOSTILE}],
    )
    said["info"]["title"] = HOSTILE
    async with running(tmp_path, **parts(document_settings(tmp_path, said))) as app:
        await signed_in(app)
        first = await shown(app, "/reference")
        [chapter] = [link for link in first.links if "tag=" in link]
        assert HOSTILE[:40] in (await shown(app, chapter)).text
        assert HOSTILE[:40] in (await shown(app, "/reference/post-api-a")).text
        for query in ("q", "scope", "tag"):
            await shown(app, str(yarl.URL("/reference").with_query({query: HOSTILE})))


def enormous() -> dict[str, Any]:
    """An operation that would fill a megabyte."""
    quote = '"' * 9999
    fields = {f"{n}{quote}": {"type": quote, "description": quote} for n in range(100)}
    body = {"description": quote, "content": {"application/json": {"schema": {"properties": fields}}}}
    parameters = [{"name": f"{n}{quote}", "in": "query", "description": quote, "example": quote} for n in range(100)]
    answers = {f"{n}{quote}": body if n == 0 else {"description": quote} for n in range(100)}
    return {"summary": quote, "description": quote, "parameters": parameters, "requestBody": body, "responses": answers}


async def test_a_page_stays_small_whatever_a_document_holds(tmp_path: Path) -> None:
    names = [f"{n}{'&' * 999}" for n in range(200)]
    operations = {f"get /t{n}": {"tags": [name]} for n, name in enumerate(names)}
    tags = [{"name": name, "description": '"' * 999} for name in names]
    said = document({"post /a": enormous(), **operations}, tags=tags)
    async with running(tmp_path, **parts(document_settings(tmp_path, said))) as app:
        await signed_in(app)

        assert "There is more of it than fits here." in (await shown(app, "/reference/post-api-a")).text
        assert len([link for link in (await shown(app, "/reference")).links if "?tag=" in link]) == PAGE


async def test_a_thousand_operations_are_shown_page_by_page(tmp_path: Path) -> None:
    said = document({f"get /things/t{n}": {"summary": f"Thing {n} {'&' * 200}"} for n in range(1000)})
    async with running(tmp_path, **parts(document_settings(tmp_path, said))) as app:
        await signed_in(app)
        path: str | None = "/reference?scope=ViewThings"
        found: list[str] = []
        while path:
            page = await shown(app, path)
            found += [link for link in page.links if link.startswith("/reference/")]
            here = yarl.URL(path).query.get("page", "1")
            further = [link for link in page.links if yarl.URL(link).query.get("page") == str(int(here) + 1)]
            path = further[0] if further else None

        assert len(set(found)) == len(found) == 1000


async def test_who_has_not_signed_in_reads_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, **parts(real_settings(tmp_path))) as app:
        for path in ("/reference", "/reference/get-v4-contacts", "/reference/get-nothing"):
            async with app.client.get(app.url + path, allow_redirects=False) as answer:
                assert answer.status == 303


@pytest.mark.parametrize(
    ("search", "finds"),
    [
        (Search(), True),
        (Search(q="LOAD /v4/c viewc"), True),
        (Search(q="load nothing"), False),
        (Search(scope="ViewContacts", tag="Contacts"), True),
        (Search(scope="View"), False),
        (Search(tag="contacts"), False),
    ],
)
def test_a_search_means_every_word_and_the_very_permission(search: Search, finds: bool) -> None:
    needs = Needs(all_of=frozenset({"ViewContacts"}))
    entry = Entry("s", "GET", "/v4/contacts", needs, "api", summary="Load Contacts", tag="Contacts")

    assert search.finds(entry) == finds
