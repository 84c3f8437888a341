from pathlib import Path

import pytest

from keystile.cli.settings import read_settings
from keystile.cli.store import opened
from keystile.cli.terminal import CommandFailed


async def test_a_broken_rule_is_what_the_command_says(gateway_file: Path) -> None:
    with pytest.raises(CommandFailed, match=r"there is no account nobody@example\.com"):
        async with opened(read_settings(gateway_file)) as (keys, _):
            await keys.list("nobody@example.com")


async def test_a_store_that_is_no_store_is_one_error_that_names_the_file(gateway_file: Path) -> None:
    settings = read_settings(gateway_file)
    settings.store.write_bytes(b"this is not a database" * 100)
    with pytest.raises(CommandFailed, match=r"keystile\.db"):
        async with opened(settings) as (keys, _):
            await keys.list_accounts()


async def test_the_known_scopes_are_those_of_the_routes(gateway_file: Path) -> None:
    async with opened(read_settings(gateway_file)) as (keys, _):
        await keys.create_account("ann@example.com", actor="test", origin="test")
        scopes = ["ViewContacts", "ViewFiles", "Export", "ViewReports", "Legacy", "Unknown"]
        made = await keys.create("ann@example.com", "a", scopes, actor="test", origin="test")
    assert made.warnings == ("no route uses the scope Unknown",)
