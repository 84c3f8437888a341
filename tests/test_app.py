import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from keystile import app
from keystile.config.faults import ConfigurationError
from keystile.process import snapshot
from keystile.wire.certificates import self_signed

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


def test_a_certificate_for_somebody_else_is_not_taken(file: Path) -> None:
    listener = "listeners: [{address: 127.0.0.1:0, tls: {certificate: cert.pem, private_key: key.pem}}]\n"
    file.write_text(listener + SETTINGS)

    def written(number: int, name: str) -> snapshot.Snapshot:
        for path, content in zip(("cert.pem", "key.pem"), self_signed([name], 5), strict=True):
            (file.parent / path).write_bytes(content)
        return snapshot.take(number, app.load_settings(file))

    in_force = written(1, "a.example")
    app.check_rules(written(2, "a.example"), in_force)
    with pytest.raises(OSError, match=r"the certificate is for b\.example"):
        app.check_rules(written(2, "b.example"), in_force)


async def test_keys_follow_the_settings(file: Path) -> None:
    async with app.open_keys(app.load_settings(file)) as (keys, passwords):
        account = await keys.create_account("ann@example.com", actor="test", origin="test")
        await passwords.set_password(account.id, "a good password")
        assert await passwords.verify(account.id, "a good password")
        made = await keys.create(account.email, "one", ["ViewContacts", "Odd"], actor="test", origin="test")
        assert made.warnings == ("no route uses the scope Odd",)
        with pytest.raises(Exception, match="as many keys"):
            await keys.create(account.email, "two", actor="test", origin="test")


def test_servers_are_asked_as_requests_reach_them_and_only_where_the_settings_say_so(file: Path) -> None:
    file.write_text(
        "upstreams:\n"
        "  plain: {servers: ['http://a', 'http://b']}\n"
        "  safe:\n"
        "    servers: ['https://c', 'https://d:8443']\n"
        "    tls: {server_name: api.internal, verify: false}\n"
        "    health_check: {path: /health}\n"
        "  local: {servers: ['unix:run/s'], health_check: {path: /h}}\n"
        "routes: [{path: /x, scope: X, upstream: plain}]\n"
    )
    targets = app.probe_targets(snapshot.take(1, app.load_settings(file)))
    assert [(one.at, one.server.address, one.host_field, one.server_name) for one in targets] == [
        (2, "c:443", "c", "api.internal"),
        (3, "d:8443", "c", "api.internal"),
        (4, f"unix:{file.parent / 'run/s'}", "localhost", None),
    ]
    assert targets[0].context is not None
    assert targets[0].context is targets[1].context
    assert targets[0].context.verify_mode is ssl.CERT_NONE
    assert targets[2].context is None


def loaded(*modules: str) -> set[str]:
    """All that a process has loaded that has imported these."""
    asked = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_a_relay_loads_nothing_that_only_management_and_commands_need() -> None:
    """Each would cost every relay memory, and a second at its start."""
    needed = ("keystile.process.relay", "keystile.app", "keystile.relay.gateway", "keystile.relay.reaching")
    found = {name.split(".")[0] for name in loaded(*needed)}
    assert {"keystile", "uvloop", "httptools"} <= found
    assert not found & {"aiohttp", "jinja2", "markdown_it", "pydantic", "yaml"}


def test_management_that_is_ready_reads_a_configuration_with_nothing_that_lies_on_disk_by_then() -> None:
    """An upgrade may have put another version there, of this program or of a library."""
    file = Path(__file__).parent / "data" / "elasticemail-gateway.yaml"
    asked = (
        "import sys; from pathlib import Path; import keystile.process.management; from keystile import app\n"
        "app.make_ready_to_read(); before = set(sys.modules)\n"
        f"app.load_settings(Path({str(file)!r})); print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert {name.split(".")[0] for name in done.stdout.split()} <= sys.stdlib_module_names


def test_commands_load_no_relay_and_no_page_and_management_all_that_its_checks_need() -> None:
    """What is loaded late is another version's after an upgrade on disk."""
    found = loaded("keystile.cli.main", "keystile.app", "keystile.config.load")
    assert not {name for name in found if name.startswith(("keystile.relay", "keystile.management", "cryptography"))}
    relays = ("gateway", "reaching", "terms", "upstreams")
    assert {f"keystile.relay.{name}" for name in relays} <= loaded("keystile.process.management")
