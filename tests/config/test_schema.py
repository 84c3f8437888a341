from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from keystile.config import schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "gateway.yaml"


def valid(text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(schema.json_schema()).is_valid(yaml.safe_load(text)))


def test_the_committed_schema_is_the_one_that_check_prints() -> None:
    committed = (ROOT / schema.FILE_NAME).read_text(encoding="utf-8")
    assert committed == schema.as_text(), "write `keystile check --schema` to gateway.schema.json"


def test_the_first_line_of_the_example_names_the_schema() -> None:
    first = EXAMPLE.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{schema.FILE_NAME}"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())
    assert json.loads(schema.as_text()) == schema.json_schema()


def test_the_schema_takes_the_example() -> None:
    assert valid(EXAMPLE.read_text(encoding="utf-8"))


LEAST = """
upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}
routes: [{path: /x, scope: X, upstream: api}]
"""


@pytest.mark.parametrize(
    "text",
    [
        "access_log: off", "access_log: false", "access_log: {to: off}", "access_log: {fields: [default, query]}",
        "access_log: {redact: ['*pin', '*']}", "telemetry: {trace: begin, sample: 0%, otlp: 'http://a/v1/traces'}",
        "telemetry: {trace: off}", "workers: auto", "workers: 4", "limits: {max_body_size: 25MiB}",
        "limits: {over_limit: {wait_up_to: 2s}}",
        "limits: {min_body_rate: 512B/s, min_read_rate: none, connections: auto, max_buffered: 1GiB}",
        "limits: {max_lag: none, max_memory: 1GiB}", "limits: {max_lag: 80ms, max_memory: none}",
        "limits: {connections: 5000, connections_per_ip: 1}", "client_address_field: Forwarded",
        "listeners: [{address: '[::]:1', proxy_protocol: true}]",
        "metrics: {}", "metrics: {routes: false, keys: true}",
        "health_path: null", "management_routes: null", "management_routes: {prefix: /v4}",
        "cors: {origins: ['*'], max_age: 600}", "trusted_proxies: []",
        "listeners: [{address: '[::]:1', tls: {certificate: a, private_key: b, minimum_version: 1.2}}]",
    ],
)  # fmt: skip
def test_the_schema_takes_what_is_right(text: str) -> None:
    assert valid(f"{text}\n{LEAST}")


@pytest.mark.parametrize(
    "text",
    [
        "limit: {}", "limits: {request_timeout: 10 parsecs}", "workers: 65",
        "limits: {over_limit: {waiting_per_ip: 2}}",
        "store: postgresql://", "slots: valkeyz://x", "slots: {url: host}", "slots: {}",
        "management_routes: {}", "management_routes: /v4", "listeners: 5",
        "limits: {max_lag: 50}", "limits: {max_memory: 1 GiB}",
        "limits: {min_body_rate: 512B}", "limits: {connections: 0}", "client_address_field: X-Real-IP",
        "listeners: [{address: '[::]:1', proxy_protocol: v2}]",
        "cors: {}", "limits: {concurrent_requests_per_ip: 0}", "access_log: true",
        "access_log: {fields: []}", "access_log: {fields: [statuz]}",
        "telemetry: {trace: on}", "telemetry: {otlp: a:1}",
        "metrics: true", "metrics: {routes: some}", "metrics: {accounts: true}",
        "listeners: [{address: '[::]:1', tls: {certificate: a, private_key: b, legacy: {minimum_version: '1.0'}}}]",
    ],
)  # fmt: skip
def test_the_schema_refuses_what_is_wrong(text: str) -> None:
    assert not valid(f"{text}\n{LEAST}")


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"path": "/x", "scope": "X"}, True),
        ({"path": "/x", "public": True}, True),
        ({"path": "/x"}, False),
        ({"path": "/x", "scope": "X", "public": True}, False),
        ({"path": "/x", "public": False}, False),
        ({"openapi": "a.yaml", "scope_from": "security"}, True),
        ({"openapi": "a.yaml"}, False),
        ({"openapi": "a.yaml", "scope_from": "security", "scope_from_description": "(x)"}, False),
        ({"path": "/x", "scope": "X", "cors": False}, True),
        ({"path": "/x", "scope": "X", "cors": {"origins": ["*"]}}, True),
        ({"path": "/x", "scope": "X", "cors": {"origins": []}}, False),
    ],
)
def test_the_schema_knows_what_a_row_must_say(row: dict[str, Any], right: bool) -> None:
    document = {**yaml.safe_load(LEAST), "routes": [{**row, "upstream": "api"}]}
    assert jsonschema.Draft202012Validator(schema.json_schema()).is_valid(document) is right
