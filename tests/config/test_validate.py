from __future__ import annotations

from collections.abc import Callable

import pytest

from keystile.config import validate
from keystile.config.document import OpenApiRow, PathRow

Lines = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "limits:\n  request_timeout: 10 parsecs",
            "2: limits.request_timeout: '10 parsecs' is not a duration; "
            "write a number with ms, s, m, h or d, such as 600s",
        ),
        ("limits: {request_timout: 5s}", "1: limits.request_timout: is not a setting; did you mean request_timeout?"),
        ("lisetners: []", "1: lisetners: is not a setting; did you mean listeners?"),
        ("request_timeout: 5s", "1: request_timeout: is not a setting here; it stands at limits.request_timeout"),
        (
            "keys: {qwertz: 5}",
            "1: keys.qwertz: is not a setting; here stand per_account, headers, query_parameter",
        ),
        ("limits:", "1: limits: is empty; write something below it, or leave it out"),
        ("limits: 5", "1: limits: 5 is no mapping; write its settings as name: value"),
        (
            "trusted_proxies: 10.0.0.0/8",
            "1: trusted_proxies: '10.0.0.0/8' is no list; write it as [ … ], or as lines that begin with -",
        ),
        ("listeners: []", "1: listeners: is empty; write at least one"),
        (
            "listeners:\n  - tls: null",
            '2: listeners[0].address: is missing: IP address and port; an IPv6 address needs quotes: "[::]:8080"',
        ),
        (
            "cors: {origins: [x]}",
            "1: cors.origins[0]: 'x' is not an origin; write scheme and host, such as https://app.example.com, or *",
        ),
    ],
)
def test_a_fault_is_told_with_its_line_its_path_and_what_would_be_right(
    lines_with: Lines, text: str, told: str
) -> None:
    assert lines_with(text) == [f"gateway.yaml:{told}"]


def test_a_fault_in_a_row_is_told_without_what_pydantic_adds(lines_of: Lines) -> None:
    text = """\
upstreams: {"a b": {servers: [ftp://x], hots: preserve}}
routes:
  - {path: x, methods: [get, 5], scope: 5, upstream: "a b", cors: {origin: x}}
  - {openapi: 5, scope_from: y, upstream: "a b"}
  - 7
"""
    paths = {line.split(": ")[1] for line in lines_of(text)}
    assert paths >= {
        "upstreams", "upstreams.a b.servers[0]", "upstreams.a b.hots", "routes[0].path", "routes[0].methods[0]",
        "routes[0].methods[1]", "routes[0].scope", "routes[0].cors.origin", "routes[0].cors.origins",
        "routes[1].openapi",
        "routes[1].scope_from", "routes[2]",
    }  # fmt: skip


def test_a_misspelt_setting_of_a_row_suggests_those_of_its_kind(lines_of: Lines) -> None:
    text = """\
upstreams: {api: {servers: ["http://x"]}}
routes:
  - {path: /x, scope: X, upstream: api, methds: [GET]}
  - {openapi: x.yaml, scope_from: security, prefx: /v4, upstream: api}
  - {path: /y, scope: X, upstream: api, cors: {origins: ["*"], max_agee: 5s}}
"""
    lines = "\n".join(lines_of(text))
    for name in ("methods", "prefix", "max_age"):
        assert f"did you mean {name}?" in lines


def test_secrets_are_not_told(lines_with: Lines) -> None:
    secret = "0123456789ABCDEF" * 6
    told = "\n".join(
        lines_with(f"{secret}: 1\nhealth_path: {secret}\nslots: {secret}\nkeys: {{headers: ['{secret} ']}}")
    )
    assert secret not in told
    assert told.count("[hidden]") >= 4


def test_a_row_by_itself_is_either_kind_or_nothing() -> None:
    assert isinstance(validate.row({"path": "/x", "scope": "X", "upstream": "a"}), PathRow)
    assert isinstance(validate.row({"openapi": "x", "scope_from": "security", "upstream": "a"}), OpenApiRow)
    assert validate.row({"path": "x"}) is None
    assert validate.row(5) is None
