from __future__ import annotations

from typing import Annotated, Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from keystile.config import kinds
from keystile.config.kinds import Read

KINDS = {name: kind for name, kind in vars(kinds).items() if any(isinstance(arg, Read) for arg in get_args(kind))}
TEXTS = [
    "512B/s", "0B/s", "Forwarded", "600s", "0s", "32KiB",
    "none", "auto", "127.0.0.1:8080", "[::]:8080", "10.0.0.0/8", "http://127.0.0.1:9000", "*",
    "https://a", "X-Api-Key", "GET", "api", "/v2/*", "", "/v4", "(.+)", "security", "x-a", "1.2", "1.3", "refuse",
    "upstream", "all", "sqlite:///a.db", "sqlite:////a/b.db", "host", "stdout", "off", "a b", "keys.example.com",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(st.sampled_from(TEXTS) | st.text() | st.integers() | st.booleans() | st.none())
def test_an_editor_refuses_nothing_that_the_gateway_takes(kind: str, value: Any) -> None:
    adapter = TypeAdapter[Any](KINDS[kind])
    try:
        adapter.validate_python(value)
    except ValidationError:
        return
    if value in ("off", "false") and kind == "NoCors":
        return  # for YAML readers that take it for false, which the schema does too
    if value in (None, "/") and kind == "Prefix":
        return  # nothing said, in two more ways
    jsonschema.validate(value, adapter.json_schema())


def test_a_kind_says_what_would_be_right() -> None:
    with pytest.raises(ValidationError, match="from 1 to 5"):
        TypeAdapter[Any](Annotated[Any, kinds.whole(1, 5)]).validate_python(6)
