"""The JSON Schema of gateway.yaml, for editors.

Law: everything in it comes from ``document.py``; it says less than ``load.py`` checks and never more.
"""

from __future__ import annotations

import json
from typing import Any

from keystile.config.document import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = "gateway.schema.json"


def json_schema() -> dict[str, Any]:
    """The schema as JSON values, the same at every call."""
    return {"$schema": DIALECT, **Document.model_json_schema(), "title": "gateway.yaml of Keystile"}


def as_text() -> str:
    """The schema as it stands in ``gateway.schema.json``: indented, ends with a line's end."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
