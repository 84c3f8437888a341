from __future__ import annotations

from pathlib import Path

import pytest

from keystile.management.api.openapi import operations
from tests.management.api.checked import Api
from tests.management.api.fuzzing import fuzz


@pytest.mark.parametrize(("by", "own"), [("token", False), ("session", True)])
async def test_schemathesis_finds_no_server_error_and_no_undocumented_answer(
    api: Api, tmp_path: Path, by: str, own: bool
) -> None:
    operator = await api.user("operator@example.com", operator=True)
    who = operator if by == "token" else await api.session(operator.account)
    code, said = await fuzz(api, who, examples=4, seed=4, directory=tmp_path, own=own)
    assert code == 0, said
    # It did run, in every phase: every operation but the one left out, and the document, which it had to get first.
    for line in (f"Tested: {len(operations()) - 2}", "✅ Coverage", "✅ Fuzzing", "✅ Stateful"):
        assert line in said
