from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.config.model import MANAGEMENT_UPSTREAM, Cors, Needs, Settings
from keystile.config.service_calls import CALLS
from keystile.routing.route import Route
from keystile.routing.table import RouteTable
from tests.config.conftest import LEAST

Load = Callable[[str], Settings]
Lines = Callable[[str], list[str]]
ON = "management_routes: {prefix: /v4/security}\n"
API = 'upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}\n'
DOCUMENT = """\
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /security/apikeys:
    get: {description: "Required Access Level: SomethingElse", responses: {}}
    post: {description: "says nothing", responses: {}}
    patch: {description: "Required Access Level: Patching", responses: {}}
  /security/apikeys/{key}:
    get: {description: "Required Access Level: SomethingElse", responses: {}}
"""
ROW = "{openapi: d.yaml, prefix: /v4, scope_from_description: 'Required Access Level: (.+)', upstream: api}"


def found(settings: Settings, method: str, path: str) -> Route:
    route = RouteTable(settings.operations).find(method.encode(), path.encode())
    assert isinstance(route, Route)
    return route


def test_there_are_ten_calls_and_each_needs_a_scope() -> None:
    assert len({(path, method) for path, method, _ in CALLS}) == 10
    assert all(scopes for _, _, scopes in CALLS)


def test_the_calls_lead_to_management_and_need_their_scopes(with_settings: Load) -> None:
    settings = with_settings(ON)
    look = found(settings, "GET", "/v4/security/apikeys/a%2Fb")
    assert (look.upstream, look.needs) == (MANAGEMENT_UPSTREAM, Needs(all_of=frozenset({"ViewAccessTokens"})))
    make = found(settings, "POST", "/v4/security/smtp")
    assert make.needs == Needs(all_of=frozenset({"ModifyAccessTokens", "SendSmtp"}))
    assert make.source == "gateway.yaml:1"
    assert sum(one.upstream == MANAGEMENT_UPSTREAM for one in settings.operations) == 10


def test_without_the_setting_there_are_none(with_settings: Load) -> None:
    assert [one.upstream for one in with_settings("management_routes: null").operations] == ["api"]


def test_they_win_over_a_document_without_override_and_even_where_it_says_no_permission(
    load_text: Load, tmp_path: Path
) -> None:
    (tmp_path / "d.yaml").write_text(DOCUMENT)
    settings = load_text(f"{ON}{API}routes:\n  - {ROW}\n")
    assert settings.warnings == ()
    for method, path in (("GET", "apikeys"), ("POST", "apikeys"), ("GET", "apikeys/x")):
        assert found(settings, method, f"/v4/security/{path}").upstream == MANAGEMENT_UPSTREAM
    # What is none of the calls stays the document's.
    assert found(settings, "PATCH", "/v4/security/apikeys").upstream == "api"


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        ("{path: /v4/security/apikeys, methods: [GET], scope: ViewAccessTokens, upstream: api}", "GET"),
        ("{path: /v4/security/apikeys, scope: X, override: true, upstream: api}", "GET POST"),
        ("{path: '/v4/security/smtp/{other}', methods: [PATCH, DELETE], public: true, upstream: api}", "DELETE"),
        ("{path: '/v4/securit%79/smtp', methods: [POST], scope: X, upstream: api}", "POST"),
    ],
)
def test_a_row_by_hand_for_one_of_them_is_a_fault(lines_of: Lines, row: str, taken: str) -> None:
    (line,) = lines_of(f"{ON}{API}routes:\n  - {row}\n")
    assert line.startswith("gateway.yaml:4: routes[0].path: '/v4/securit")
    assert line.endswith(f"is what management_routes serves ({taken}); leave out this row, or management_routes")


@pytest.mark.parametrize(
    "row",
    [
        "{path: /v4/*, scope: X, upstream: api}",
        "{path: '/v4/security/{kind}', scope: X, upstream: api}",
        "{path: /v4/security/apikeys, methods: [PATCH], scope: X, upstream: api}",
        "{path: /v4/security/apikeys/special, methods: [GET], scope: X, upstream: api}",
        "{path: /v5/security/apikeys, scope: X, upstream: api}",
    ],
)
def test_a_row_of_another_shape_stands_beside_them(load_text: Load, row: str) -> None:
    settings = load_text(f"{ON}{API}routes:\n  - {row}\n")
    assert settings.warnings == ()
    assert found(settings, "GET", "/v4/security/apikeys").upstream == MANAGEMENT_UPSTREAM


def test_a_row_that_collides_is_told_beside_other_faults(lines_of: Lines) -> None:
    lines = lines_of(f"{ON}workers: 0\n{API}routes:\n  - {{path: /v4/security/smtp, scope: X, upstream: api}}\n")
    assert len(lines) == 2


@pytest.mark.parametrize("where", ["upstreams", "row"])
def test_no_upstream_may_be_called_management(lines_of: Lines, where: str) -> None:
    name = "management" if where == "upstreams" else "api"
    text = f'upstreams: {{{name}: {{servers: ["http://127.0.0.1:9000"]}}}}\n'
    (line,) = lines_of(f"{text}routes:\n  - {{path: /x, scope: X, upstream: management}}\n")[:1]
    assert "is where management_routes leads, the gateway's own process; write another name" in line


@pytest.mark.parametrize("value", ["{prefix: null}", "{prefix: 5}", "{}", "/v4", "{prefix: v4}", "{prefix: '/{a}'}"])
def test_a_prefix_that_is_none_is_a_fault(lines_with: Lines, value: str) -> None:
    (line,) = lines_with(f"management_routes: {value}")
    assert line.startswith("gateway.yaml:1: management_routes")


def test_a_prefix_may_be_nothing(with_settings: Load) -> None:
    settings = with_settings("management_routes: {prefix: /}")
    assert found(settings, "GET", "/apikeys").upstream == MANAGEMENT_UPSTREAM


def test_the_origins_of_all_hold_for_them_too(with_settings: Load) -> None:
    settings = with_settings(f"{ON}cors: {{origins: ['https://a']}}")
    assert found(settings, "GET", "/v4/security/smtp").cors == Cors(("https://a",))


def test_a_health_path_that_hides_one_is_remarked(with_settings: Load) -> None:
    (warning,) = with_settings(f"{ON}health_path: /v4/security/smtp").warnings[:1]
    assert "health_path: hides" in warning


def test_the_least_that_runs_names_no_such_upstream() -> None:
    assert MANAGEMENT_UPSTREAM not in LEAST
