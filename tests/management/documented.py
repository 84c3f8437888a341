"""Settings with documents for tests: the real service's, and ones made to trouble us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keystile.app import load_settings
from keystile.config.model import Settings

REAL = Path(__file__).parent.parent / "data" / "elasticemail-openapi.yaml"
LEVEL = "scope_from_description: 'Required Access Level: (.+)'"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>${7*7}{{7*7}}"


def real_settings(directory: Path, *rows: str) -> Settings:
    """The gateway in front of the real service's API; ``rows`` come before its document."""
    return written(directory, *rows, f"openapi: {REAL}, prefix: /v4, {LEVEL}", header="X-ElasticEmail-ApiKey")


def document_settings(directory: Path, document: dict[str, Any], *rows: str) -> Settings:
    """A gateway in front of an API with this document, whose operations say ``x-scopes``."""
    (directory / "api.json").write_text(json.dumps(document))
    return written(directory, *rows, "openapi: api.json, prefix: /api, scope_from: x-scopes")


def written(directory: Path, *rows: str, header: str = "X-Api-Key") -> Settings:
    """Settings read from a gateway.yaml with these rows of routes."""
    file = directory / "gateway.yaml"
    lines = [
        'upstreams: {api: {servers: ["http://127.0.0.1:9"]}}',
        f"keys: {{headers: [{header}]}}",
        "routes:",
        *(f"- {{{row}, upstream: api}}" for row in rows),
    ]
    file.write_text("\n".join(lines))
    return load_settings(file)


def contents(settings: Settings) -> dict[Path, bytes]:
    """What the documents of settings hold."""
    return {path: path.read_bytes() for path in settings.documents}


def document(operations: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """An OpenAPI document with an operation for each "get /path"; those without ``x-scopes`` get one."""
    paths: dict[str, dict[str, Any]] = {}
    for place, said in operations.items():
        method, path = place.split(" ")
        paths.setdefault(path, {})[method] = {"x-scopes": "ViewThings", **said}
    return {"openapi": "3.0.3", "info": {"title": "Things"}, "paths": paths, **more}


def parts(settings: Settings) -> dict[str, Any]:
    """What ``running`` needs to know of settings."""
    names = ("operations", "documents", "keys", "upstreams", "listeners")
    return {name: getattr(settings, name) for name in names}
