"""What schemathesis needs to know to make good requests, and what it must leave out.

Law: loaded by schemathesis itself (SCHEMATHESIS_HOOKS), in its process. With KEYSTILE_FUZZ=own in its environment
it asks about one's own things in the version that is there, so that most requests get past the first checks;
otherwise as the document says.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

LONGEST_TARGET = 7000
"""Above 8,190 bytes of a request line aiohttp refuses before it knows which path was meant."""
_networks = (
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
    | st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1-192.0.2.9", "::ffff:192.0.2.1"])
)

schemathesis.openapi.format("ip-network", _networks)


@schemathesis.hook
def filter_query(_: schemathesis.HookContext, query: dict[str, object] | None) -> bool:
    """Leave out targets that no server would read."""
    return len(str(query).encode("utf-8", "surrogatepass")) * 3 < LONGEST_TARGET


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, document: dict[str, Any]) -> None:
    """Narrow the document to what mostly succeeds, where that is asked for."""
    if os.environ.get("KEYSTILE_FUZZ") != "own":
        return
    for item in document["paths"].values():
        for operation in item.values():
            kept = [each for each in operation["parameters"] if each["name"] != "account"]
            operation["parameters"] = [_any_version(each) for each in kept]


def _any_version(parameter: dict[str, Any]) -> dict[str, Any]:
    return {**parameter, "schema": {"enum": ["*"]}} if parameter["name"] == "If-Match" else parameter
