from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

import keystile.management as management
from keystile.management.pages import layout
from tests.management.pages.ground import Pages, Person

HOME = Path(management.__path__[0])
TEMPLATES = sorted((HOME / "templates").glob("*.html"))
BUDGET = 50 * 1024


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_template_holds_nothing_that_the_policy_forbids(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", text)
    assert "|safe" not in text
    assert "autoescape false" not in text


def test_what_is_shown_is_escaped_and_what_is_missing_is_an_error() -> None:
    template = layout.environment().from_string('<p title="{{ text }}">{{ text }}</p>')
    assert "<script>" not in template.render(text='"><script>alert(1)</script>')
    with pytest.raises(UndefinedError):
        template.render()


async def test_static_files_are_kept_for_ever_under_their_version_only(site: Pages) -> None:
    types = {"keystile.css": "text/css", "keystile.js": "text/javascript", "mark.svg": "image/svg"}
    for name, content_type in types.items():
        answer = await site.client.get(layout.asset(name))
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(content_type)
        assert "immutable" in answer.headers["Cache-Control"]
        answer = await site.client.get(f"/static/{name}?v=older")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("identity", None), ("gzip;q=0", None)])
async def test_static_files_are_compressed_for_who_can_read_that(
    site: Pages, accepted: str, encoding: str | None
) -> None:
    answer = await site.client.get(layout.asset("keystile.css"), headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert await answer.read() == layout.STATIC["keystile.css"].body


@pytest.mark.parametrize("path", ["nothing.css", "..%2fcontext.py", "%2e%2e%2fcontext.py", "__init__.py", "%00"])
async def test_nothing_else_is_served(site: Pages, path: str) -> None:
    assert (await site.client.get(f"/static/{path}")).status == 404


def test_pictures_are_xml_without_scripts() -> None:
    for file in (HOME / "static").glob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(file).iter()}
        assert tags <= {"svg", "rect", "path", "circle", "g"}


async def test_a_page_is_kept_by_nobody_and_names_its_own_files_only(ann: Person, site: Pages) -> None:
    answer = await site.client.get("/keys", headers=ann._cookie)
    assert answer.headers["Cache-Control"] == "no-store"
    page = await answer.text()
    addresses = re.findall(r'(?:src|href|action)="([^"]+)"', page)
    assert addresses
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)


async def test_operators_find_their_pages_and_others_do_not(site: Pages) -> None:
    assert 'href="/operator"' not in await (await site.person()).get("/keys")
    page = await (await site.person("op@example.com", operator=True)).get("/keys")
    assert 'href="/operator"' in page
    assert 'href="/operator/accounts"' in page


async def test_the_page_one_is_on_is_marked(ann: Person) -> None:
    assert re.findall(r'<a href="([^"]+)" aria-current="page"', await ann.get("/history")) == ["/history"]


async def test_every_page_with_style_and_script_is_below_50_kib(ann: Person) -> None:
    shared = sum(len(file.small) for file in layout.STATIC.values())
    for number in range(15):
        networks = ["2001:db8:1234:5678:9abc:def0:1234:5678-2001:db8:1234:5678:9abc:def0:1234:5679"] * 2
        key = await ann.key(f"{number} {'n' * 97}", networks=networks)
    forms = [f"/keys/{key.id}/{form}" for form in ("edit", "change", "delete")]
    for path in ("/keys", "/keys/new", "/history", *forms):
        size = len((await ann.get(path)).encode())
        assert size + shared < BUDGET, path


async def test_a_form_that_cannot_be_read_is_a_bad_request(ann: Person, site: Pages) -> None:
    headers = ann._cookie | {"X-CSRF-Token": ann.csrf}
    for content_type, body in (
        ("application/x-www-form-urlencoded; charset=nonsense", b"name=x"),
        ("application/x-www-form-urlencoded", b"name=\xff\xfe"),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnothing"),
    ):
        answer = await site.client.post("/keys/new", data=body, headers=headers | {"Content-Type": content_type})
        assert answer.status in (400, 422), (content_type, answer.status)
