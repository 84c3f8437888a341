"""The operations of the real API, read from its OpenAPI document.

Law: knows the document and nothing of gateways. It is a reader of its own on purpose: HAProxy's map and the
naive proxy's table must not come out of the code that is being compared with them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PREFIX = "/v4"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
LEVEL = re.compile(r"Required Access Level: (.+)")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One operation: method, path template with the prefix, and the scopes it needs (all of them; () is any key)."""

    method: str
    path: str
    scopes: tuple[str, ...]


def read_calls(document: Path) -> tuple[ApiCall, ...]:
    """Every operation of ``document``; raises ValueError for one that states no access level."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parsed = yaml.load(document.read_text(encoding="utf-8"), loader)
    return tuple(
        ApiCall(method.upper(), PREFIX + path, _levels(path, item[method]))
        for path, item in parsed["paths"].items()
        for method in METHODS
        if method in item
    )


def write_more(document: Path, file: Path, count: int) -> None:
    """``document`` with so many operations in all, the added ones each with a parameter; JSON, which is YAML."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parsed = yaml.load(document.read_text(encoding="utf-8"), loader)
    there = sum(method in item for item in parsed["paths"].values() for method in METHODS)
    operation = {
        "description": "Required Access Level: ViewContacts",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {"200": {"description": "OK"}},
    }
    for number in range(count - there):
        parsed["paths"][f"/generated/part{number}/{{id}}"] = {"get": operation}
    file.write_text(json.dumps(parsed, default=str))


def _levels(path: str, operation: dict[str, Any]) -> tuple[str, ...]:
    found = LEVEL.search(operation.get("description", ""))
    if found is None:
        raise ValueError(f"{path}: no access level in the description")
    names = tuple(name.strip() for name in found[1].split(","))
    return () if names == ("None",) else names
