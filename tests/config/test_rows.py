from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keystile.config.document import CorsSection
from keystile.config.model import Cors, Needs, Settings
from keystile.config.rows import cors_of

Load = Callable[[str], Settings]
Lines = Callable[[str], list[str]]
API = 'upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}\n'
DOCUMENT = """\
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /contacts:
    get: {description: "Required Access Level: ViewContacts", responses: {}}
    post: {description: "Required Access Level: A,B", responses: {}}
"""
FROM_DESCRIPTION = "scope_from_description: 'Required Access Level: (.+)'"


def test_each_way_to_say_a_need(load_text: Load) -> None:
    settings = load_text(
        API
        + """\
routes:
  - {path: /a, scope: A, upstream: api}
  - {path: /b, scopes: {all: [A, B]}, upstream: api}
  - {path: /c, scopes: {any: [A, B]}, upstream: api}
  - {path: /d, scopes: {all: [A], any: [B, C]}, upstream: api}
  - {path: /e, key_only: true, upstream: api}
  - {path: /f, methods: [GET, POST], public: true, override: true, upstream: api}
"""
    )
    assert [one.needs for one in settings.operations] == [
        Needs(all_of=frozenset("A")),
        Needs(all_of=frozenset("AB")),
        Needs(any_of=frozenset("AB")),
        Needs(all_of=frozenset("A"), any_of=frozenset("BC")),
        Needs(),
        Needs(public=True),
    ]
    last = settings.operations[5]
    assert (last.methods, last.path, last.upstream, last.source) == (("GET", "POST"), "/f", "api", "gateway.yaml:8")
    assert (last.row, last.override) == (5, True)


def test_the_origins_of_all_hold_for_rows_without_their_own(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DOCUMENT)
    settings = load_text(
        "cors: {origins: ['https://a']}\n"
        + API
        + f"""\
routes:
  - {{path: /a, scope: A, upstream: api}}
  - {{path: /b, scope: A, upstream: api, cors: {{origins: ["*"], headers: [X-A], max_age: 10m}}}}
  - {{path: /c, scope: A, upstream: api, cors: off}}
  - {{openapi: d.yaml, {FROM_DESCRIPTION}, upstream: api}}
"""
    )
    everywhere = Cors(("https://a",))
    assert settings.cors == everywhere
    own = Cors(("*",), ("X-A",), 600)
    assert [one.cors for one in settings.operations] == [everywhere, own, None, everywhere, everywhere]


def test_a_document_gives_its_operations(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DOCUMENT)
    row = f"{{openapi: d.yaml, prefix: /v4, {FROM_DESCRIPTION}, scopes: any, override: true, upstream: api}}"
    settings = load_text(f"{API}routes:\n  - {{path: /z, scope: Z, upstream: api}}\n  - {row}\n")
    assert settings.documents == (tmp_path / "d.yaml",)
    get, post = settings.operations[1:]
    assert (get.path, get.methods, get.row, get.override, get.source) == ("/v4/contacts", ("GET",), 1, True, "d.yaml:5")
    assert post.needs == Needs(any_of=frozenset("AB"))


def test_the_faults_of_a_document_are_told_in_it(lines_of: Lines, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DOCUMENT.replace("Required Access Level: A,B", "none").replace("get:", "gte:"))
    lines = lines_of(f"{API}routes: [{{openapi: d.yaml, {FROM_DESCRIPTION}, upstream: api}}]")
    assert [line.split(": ")[0] for line in lines] == ["d.yaml:5", "d.yaml:6"]


def test_a_row_above_settles_what_a_document_leaves_open(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(DOCUMENT.replace("Required Access Level: A,B", "none"))
    document = f"{{openapi: d.yaml, {FROM_DESCRIPTION}, upstream: api}}"
    row = "{path: /contacts, methods: [POST], key_only: true, upstream: api}"
    assert len(load_text(f"{API}routes: [{row}, {document}]").operations) == 2


def test_rows_that_contradict_each_other_are_told_where_override_could_stand(lines_of: Lines) -> None:
    rows = "routes:\n  - {path: '/x/{a}', scope: A, upstream: api}\n  - {path: '/x/{b}', scope: B, upstream: api}\n"
    assert lines_of(API + rows) == [
        "gateway.yaml:3: routes[0]: needs something else for every method /x/{b} than routes[1] (gateway.yaml:4) does; "
        "write override: true here if this row is to win"
    ]


def test_an_upstream_that_ignores_case_makes_two_spellings_one(lines_of: Lines, load_text: Load) -> None:
    rows = "routes:\n  - {path: /x, scope: A, upstream: api}\n  - {path: /X, scope: B, upstream: api}\n"
    load_text(API + rows)
    assert len(lines_of(API.replace("]}}", "], case_insensitive: true}}") + rows)) == 1


def test_rows_with_faults_hide_no_conflict_of_others_and_no_missing_document(lines_of: Lines) -> None:
    rows = """\
routes:
  - {path: /x, scope: A, upstream: api}
  - {path: x, upstream: api}
  - {path: /x, scope: B, upstream: api}
  - {openapi: nowhere.yaml, prefix: x, scope_from: security, upstream: api}
"""
    told = "\n".join(lines_of(API + rows))
    for said in ("routes[0]: needs something else", "routes[1].path", "routes[1]: says none", "routes[3].prefix"):
        assert said in told
    assert "routes[3].openapi: 'nowhere.yaml' cannot be read" in told


def test_a_row_without_a_need_is_not_compared(lines_of: Lines) -> None:
    rows = "routes:\n  - {path: /x, upstream: api}\n  - {path: /x, scope: B, upstream: api}\n"
    assert len(lines_of(API + rows)) == 1


def test_no_origins_are_no_policy() -> None:
    assert cors_of(None) is None
    assert cors_of(CorsSection.model_validate({"origins": ["*"]})) == Cors(("*",))
