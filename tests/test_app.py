from pathlib import Path

import pytest

from keystile import app
from keystile.config.faults import ConfigurationError

SETTINGS = """\
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
keys: {per_account: 1}
routes:
  - {path: "/v4/contacts", methods: [GET], scope: ViewContacts, upstream: api}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(SETTINGS)
    return file


def test_documents_are_read_and_rows_compared_by_routing(file: Path) -> None:
    document = Path(__file__).parent / "data" / "elasticemail-openapi.yaml"
    row = f"  - {{openapi: '{document}', prefix: /v4, scope_from_description: 'Access Level: (.+)', upstream: api}}\n"
    file.write_text(SETTINGS + row)
    assert len(app.route_rows(app.load_settings(file))) == 112
    file.write_text(SETTINGS.replace("ViewContacts", "Other") + row)
    with pytest.raises(ConfigurationError, match="/v4/contacts"):
        app.load_settings(file)


def test_the_route_table_is_the_one_of_the_settings(file: Path) -> None:
    table = app.route_table(app.load_settings(file))
    assert getattr(table.find(b"GET", b"/v4/contacts"), "upstream", None) == "api"
    assert app.route_rows(app.load_settings(file)) == [
        {"method": "GET", "path": "/v4/contacts", "scopes": ["ViewContacts"], "upstream": "api"}
    ]


async def test_keys_follow_the_settings(file: Path) -> None:
    async with app.open_keys(app.load_settings(file)) as (keys, passwords):
        account = await keys.create_account("ann@example.com", actor="test", origin="test")
        await passwords.set_password(account.id, "a good password")
        assert await passwords.verify(account.id, "a good password")
        made = await keys.create(account.email, "one", ["ViewContacts", "Odd"], actor="test", origin="test")
        assert made.warnings == ("no route uses the scope Odd",)
        with pytest.raises(Exception, match="as many keys"):
            await keys.create(account.email, "two", actor="test", origin="test")
