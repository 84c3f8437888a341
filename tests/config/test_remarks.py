from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.config.model import Settings

Load = Callable[[str], Settings]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "listeners: [{address: 0.0.0.0:0}]",
            "listeners[0]: keys that arrive here have crossed the network in clear; add tls",
        ),
        ("trusted_proxies: [0.0.0.0/0]", "trusted_proxies[0]: 0.0.0.0/0 lets every client choose its own address"),
        ("health_path: /x", "health_path: hides gateway.yaml:4, which has the same path"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(with_settings: Load, tmp_path: Path, text: str, said: str) -> None:
    assert with_settings(text).warnings == (f"{tmp_path}/gateway.yaml:1: {said}",)


def test_an_upstream_that_nothing_leads_to_is_a_warning(load_text: Load) -> None:
    [warning] = load_text(
        'upstreams:\n  api: {servers: ["http://a"]}\n  old: {servers: ["http://b"]}\n'
        "routes: [{path: /x, scope: X, upstream: api}]"
    ).warnings
    assert warning.endswith("gateway.yaml:3: upstreams.old: no route leads there")


def test_a_row_that_never_counts_is_a_warning(load_text: Load) -> None:
    rows = """\
upstreams: {api: {servers: ["http://a"]}}
routes:
  - {path: /x, scope: X, upstream: api}
  - {path: /x, methods: [GET], scope: X, upstream: api}
  - {path: /y, methods: [GET], scope: X, upstream: api}
  - {path: /y, methods: [GET, POST], scope: X, upstream: api}
"""
    [warning] = load_text(rows).warnings
    assert warning.endswith("gateway.yaml:4: routes[1]: never counts, since gateway.yaml:3 answers first")


def test_behind_a_proxy_a_plain_listener_is_meant(with_settings: Load) -> None:
    assert not with_settings("listeners: [{address: 0.0.0.0:0}]\ntrusted_proxies: [10.0.0.0/8]").warnings
