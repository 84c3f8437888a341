from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keystile.config import rules

Lines = Callable[[str], list[str]]
API = 'upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}\n'


def rows(*rows: str) -> str:
    return API + "routes:\n" + "".join(f"  - {{{row}, upstream: api}}\n" for row in rows)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("path: /x", "says none; write exactly one of scope, scopes, key_only, public"),
        ("path: /x, scope: X, public: true", "says scope and public; write exactly one of"),
        ("path: /x, key_only: true, scopes: {all: [A]}", "says scopes and key_only; write exactly one of"),
        ("path: /x, scope: null", "says none"),
        ("openapi: x.yaml", "says none; write exactly one of scope_from_description, scope_from"),
        (
            "openapi: x.yaml, scope_from: security, scope_from_description: (.)",
            "says scope_from_description and scope_from",
        ),
    ],
)
def test_a_row_says_exactly_one_need(lines_of: Lines, row: str, said: str) -> None:
    assert any(line.startswith(f"gateway.yaml:3: routes[0]: {said}") for line in lines_of(rows(row)))


@pytest.mark.parametrize("scopes", ["{}", "{all: []}", "{any: []}"])
def test_scopes_that_name_none_are_refused(lines_of: Lines, scopes: str) -> None:
    assert any("is empty" in line for line in lines_of(rows(f"path: /x, scopes: {scopes}")))


def test_an_unknown_upstream_suggests_the_nearest(lines_of: Lines) -> None:
    text = API + "routes: [{path: /x, scope: X, upstream: apu}, {path: /y, scope: X, upstream: qqqqq}]"
    assert lines_of(text) == [
        "gateway.yaml:2: routes[0].upstream: 'apu' is no upstream; did you mean api?",
        "gateway.yaml:2: routes[1].upstream: 'qqqqq' is no upstream; there are api",
    ]


def test_an_upstream_with_faults_of_its_own_is_known_all_the_same(lines_of: Lines) -> None:
    text = "upstreams: {api: {servers: [x y]}}\nroutes: [{path: /x, scope: X, upstream: api}]"
    assert [line.split(": ")[1] for line in lines_of(text)] == ["upstreams.api.servers[0]"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("keys: {headers: [X-Api-Key, x_api_key]}", "keys.headers[1]"),
        ("management: {hosts: [a, A]}", "management.hosts[1]"),
        ("trusted_proxies: [10.0.0.0/8, '::ffff:10.0.0.0/104']", "trusted_proxies[1]"),
        ("limits:\n  max_fields: 5\n  max_fields: 6", "limits.max_fields"),
    ],
)
def test_what_stands_twice_is_refused(lines_with: Lines, text: str, path: str) -> None:
    [line] = lines_with(text)
    assert f": {path}: " in line
    assert "stands twice" in line


def test_servers_and_methods_stand_once(lines_of: Lines) -> None:
    text = 'upstreams: {api: {servers: ["http://A", "http://a:80/"]}}\n'
    text += "routes: [{path: /x, methods: [GET, GET], scope: X, upstream: api}]"
    assert [line.split(": ")[1] for line in lines_of(text)] == ["upstreams.api.servers[1]", "routes[0].methods[1]"]


def test_all_origins_and_some_are_refused(lines_with: Lines) -> None:
    [line] = lines_with("cors: {origins: ['*', 'https://a']}")
    assert "holds * and others" in line


def test_keys_need_a_place(lines_with: Lines, with_settings: Callable[[str], object]) -> None:
    [line] = lines_with("keys: {headers: []}")
    assert "no request could carry a key" in line
    with_settings("keys: {headers: [], query_parameter: apikey}")


@pytest.mark.parametrize(
    "text",
    [
        "listeners: [{address: 127.0.0.1:80}, {address: 127.0.0.1:80}]",
        "listeners: [{address: 127.0.0.1:80}, {address: 0.0.0.0:80}]",
        "listeners: [{address: 127.0.0.1:8081}]",
        "management: {address: 127.0.0.1:8080}",
        "listeners: [{address: '[::]:80'}, {address: '[::1]:80'}]",
    ],
)
def test_two_addresses_that_cannot_both_be_listened_on_are_refused(lines_with: Lines, text: str) -> None:
    [line] = lines_with(text)
    assert "collides with" in line


@pytest.mark.parametrize(
    "text",
    [
        "listeners: [{address: 127.0.0.1:0}, {address: 127.0.0.1:0}]",
        "listeners: [{address: 127.0.0.1:80}, {address: 127.0.0.2:80}, {address: '[::]:80'}]",
        "management: {address: 127.0.0.2:8080}",
    ],
)
def test_addresses_that_do_not_collide_are_taken(with_settings: Callable[[str], object], text: str) -> None:
    with_settings(text)


def test_management_that_others_can_reach_needs_tls(lines_with: Lines) -> None:
    [line] = lines_with("management: {address: 0.0.0.0:9443}")
    assert "'0.0.0.0:9443' can be reached from other machines" in line


@pytest.mark.parametrize("listener", ["127.0.0.1:9000", "0.0.0.0:9000"])
def test_the_gateway_is_not_its_own_upstream(lines_with: Lines, listener: str) -> None:
    [line] = lines_with(f"listeners: [{{address: {listener}}}]")
    assert "upstreams.api.servers[0]: 'http://127.0.0.1:9000' is a listener of this gateway itself" in line


def test_the_log_does_not_go_into_the_store(lines_with: Lines) -> None:
    [line] = lines_with("access_log: keystile.db")
    assert "is the store's file" in line


@pytest.mark.parametrize("proxies", ["", "trusted_proxies: []\n"])
def test_a_listener_with_proxy_protocol_needs_proxies_that_may_connect(lines_with: Lines, proxies: str) -> None:
    listeners = "listeners: [{address: 127.0.0.1:1}, {address: 127.0.0.1:2, proxy_protocol: true}]"
    [line] = lines_with(f"{proxies}{listeners}")
    assert "listeners[1].proxy_protocol: would close every connection: name the proxies in trusted_proxies" in line


def test_a_listener_with_proxy_protocol_and_proxies_is_right(with_settings: Callable[[str], object]) -> None:
    with_settings("trusted_proxies: [10.0.0.1]\nlisteners: [{address: 127.0.0.1:2, proxy_protocol: true}]")


@pytest.mark.parametrize("methods", ["[POST]", "[HEAD, DELETE]"])
def test_a_websocket_needs_get(lines_of: Lines, methods: str) -> None:
    [line] = lines_of(rows(f"path: /x, scope: X, websocket: true, methods: {methods}"))
    assert line.startswith("gateway.yaml:3: routes[0].websocket: has no meaning without GET, which opens one")


@pytest.mark.parametrize("row", ["websocket: true", "websocket: true, methods: [POST, GET]",
                                 "websocket: false, methods: [POST]"])  # fmt: skip
def test_a_row_with_get_may_serve_websockets(load_text: Callable[[str], Any], row: str) -> None:
    [operation] = load_text(rows(f"path: /x, scope: X, {row}")).operations
    assert operation.websocket is ("true" in row)


@pytest.mark.parametrize("value", ["1", "'true'", "null"])
def test_websocket_is_true_or_false(lines_of: Lines, value: str) -> None:
    [line] = lines_of(rows(f"path: /x, scope: X, websocket: {value}"))
    assert "routes[0].websocket: " in line
    assert "is neither true nor false" in line


def test_the_access_log_is_not_the_store_however_it_is_written(lines_with: Callable[[str], list[str]]) -> None:
    [line] = lines_with("access_log: {to: keystile.db}")
    assert line == "gateway.yaml:1: access_log.to: 'keystile.db' is the store's file; name another"


def test_a_field_of_the_access_log_stands_there_once(lines_with: Callable[[str], list[str]]) -> None:
    [line] = lines_with("access_log: {fields: [time, status, time]}")
    assert line == "gateway.yaml:1: access_log.fields[2]: 'time' stands twice in this list"


def test_spans_are_of_exchanges_in_whose_trace_the_gateway_takes_part(
    lines_with: Callable[[str], list[str]],
) -> None:
    for more in ("", "trace: pass, ", "trace: off, "):
        [line] = lines_with(f"telemetry: {{{more}otlp: 'http://127.0.0.1:4318'}}")
        assert line.endswith("telemetry.otlp: has no spans to send to; write trace: begin, or leave it out")


def test_without_the_extra_that_sends_spans_it_is_named(
    lines_with: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(rules, "find_spec", nothing)
    [line] = lines_with("telemetry: {trace: begin, otlp: 'http://127.0.0.1:4318'}")
    assert line.endswith("telemetry.otlp: needs what is not installed; pip install 'keystile[otel]'")
