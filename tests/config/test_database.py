from __future__ import annotations

from pathlib import Path

import pytest

from keystile.config import load as loading
from keystile.config import rules
from keystile.config.database import DatabaseUrl, parse, shown
from keystile.config.faults import ConfigurationError
from keystile.config.model import Settings
from keystile.config.place import store_of
from keystile.routing.conflicts import check_conflicts
from keystile.routing.openapi import read_operations

UPSTREAM = "upstreams: {api: {servers: ['http://127.0.0.1:9000']}}\nroutes: [{path: /a, public: true, upstream: api}]\n"


def load(file: Path) -> Settings:
    return loading.load(file, read_document=read_operations, check_operations=check_conflicts)


def options(url: str) -> dict[str, str]:
    return dict(parse(url).options)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(text + "\n" + UPSTREAM, "utf-8")
    return file


def faults(file: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    return str(caught.value)


def test_over_a_network_tls_is_verified_unless_something_else_is_said() -> None:
    safe = {"sslmode": "verify-full", "sslrootcert": "system"}
    assert options("postgresql://keystile@db.example.com/keys") == {
        "host": "db.example.com", "dbname": "keys", "user": "keystile", **safe
    }  # fmt: skip
    assert options("postgres://one,two:5433/k?sslrootcert=ca.pem") == {
        "host": "one,two", "port": ",5433", "dbname": "k", "sslmode": "verify-full", "sslrootcert": "ca.pem"
    }  # fmt: skip
    assert options("postgresql://db/keys?sslmode=require")["sslmode"] == "require"


@pytest.mark.parametrize("host", ["127.0.0.1:5433", "localhost", "[::1]", "%2Frun%2Fpostgresql"])
def test_on_this_machine_tls_is_not_needed(host: str) -> None:
    found = parse(f"postgresql://{host}/keys")
    assert found.is_local
    assert found.is_protected
    assert found.get("sslmode") == "prefer"


def test_one_host_far_away_is_enough_to_need_it() -> None:
    assert not parse("postgresql://127.0.0.1,db.example.com/keys").is_local
    assert not parse("postgresql://db/keys?sslmode=prefer").is_protected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ann:pa55@db/keys", "password_file"),
        ("postgresql://ann:@db/keys", "password_file"),
        ("postgresql://db/keys?password=pa55", "has the option 'password'"),
        ("postgresql://db/keys?sslmode=verify", "unknown sslmode"),
        ("postgresql://db/keys?sslmode=verify-ca", "needs sslrootcert"),
        ("postgresql://db/keys?sslmode=require&sslmode=disable", "twice"),
        ("postgresql://db/keys?sslcert=", "empty"),
        ("postgresql://db", "names no database"),
        ("postgresql://db/", "names no database"),
        ("postgresql://db/a/b", "names no database"),
        ("postgresql://db/a#b", "names no database"),
        ("postgresql:///keys", "names no host"),
        ("postgresql://db:70000/keys", "names no host"),
        ("postgresql://db:x/keys", "names no host"),
        ("postgresql://a,,b/keys", "names no host"),
        ("postgresql://db/a%00b", "no name can hold"),
        ("postgresql://db%2Cother/keys", "no name can hold"),
    ],
)
def test_what_is_no_good_is_told_without_what_is_secret(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(url)
    assert "pa55" not in str(caught.value)


def test_it_is_shown_as_a_url() -> None:
    for url in ("postgresql://k@db:5433/keys", "postgresql://[::1]:5432/k", "postgresql://%2Frun%2Fpostgresql/keys"):
        assert shown(options(url)) == url
    assert shown(options("postgresql://a:1,b:2/keys?sslmode=disable")) == "postgresql://a:1,b:2/keys"


def test_settings_have_absolute_files_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x", "utf-8")
    (tmp_path / "secret").write_text("pa55\n", "utf-8")
    url = "postgresql://keystile@db.example.com/keys?sslrootcert=ca.pem"
    settings = load(written(tmp_path, f"store: {url}\ndatabase: {{password_file: secret, mirror: m.db}}"))
    assert settings.database is not None
    assert dict(settings.database.options)["sslrootcert"] == str(tmp_path / "ca.pem")
    assert settings.database.password_file == tmp_path / "secret"
    assert settings.store == tmp_path / "m.db"
    assert settings.store_name == "postgresql://keystile@db.example.com/keys"
    assert "pa55" not in repr(settings)
    assert not settings.warnings


def test_a_host_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    for text, name in (("", None), ("host_name: null", None), ("host_name: 'gateway 1'", "gateway 1")):
        settings = load(written(tmp_path, f"store: postgresql://127.0.0.1/keys\ndatabase: {{{text}}}"))
        assert settings.database is not None
        assert settings.database.host_name == name
    said = faults(written(tmp_path, f"store: postgresql://127.0.0.1/keys\ndatabase:\n  host_name: {'x' * 65}"))
    assert "gateway.yaml:3: database.host_name" in said
    assert "is longer than 64 characters; write such as gateway-1" in said


def test_a_running_gateway_is_found_by_what_it_keeps(tmp_path: Path) -> None:
    file = written(tmp_path, "store: postgresql://db/keys")
    assert store_of(file).store == tmp_path / "keystile-mirror.db" == load(file).store
    assert store_of(written(tmp_path, "store: postgresql://db/keys\ndatabase: {mirror: x/m.db}")).store == (
        tmp_path / "x" / "m.db"
    )
    broken = written(tmp_path, "store: postgresql://db/keys\nlimits: [")
    assert store_of(broken).store == tmp_path / "keystile-mirror.db"


def test_a_way_that_others_can_change_is_warned_of(tmp_path: Path) -> None:
    (warning,) = load(written(tmp_path, "store: postgresql://db/keys?sslmode=require")).warnings
    assert ":1: store: sslmode=require: whoever is on the way can be the database" in warning


def test_what_cannot_be_used_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "store: postgresql://db/keys?sslcert=gone.pem\ndatabase:\n  password_file: nowhere\n  mirror: away/m.db"
    said = faults(written(tmp_path, text))
    assert "gateway.yaml:1: store: sslcert cannot be read: No such file" in said
    assert "gateway.yaml:3: database.password_file: password_file cannot be read: No such file" in said
    assert "gateway.yaml:4: database.mirror" in said
    assert "lies in a directory that does not exist" in said
    monkeypatch.setattr(rules, "_is_installed", lambda _: False)
    said = faults(written(tmp_path, "store: postgresql://db/keys"))
    assert "gateway.yaml:1: store: needs what is not installed; pip install 'keystile[postgresql]'" in said


def test_a_database_section_has_no_meaning_for_a_file(tmp_path: Path) -> None:
    assert "gateway.yaml:1: database: has no meaning" in faults(written(tmp_path, "database: {password_file: x}"))


def test_a_password_in_the_file_is_refused_and_shown_nowhere(tmp_path: Path) -> None:
    said = faults(written(tmp_path, "store: postgresql://keystile:pa55@db/keys"))
    assert "holds a password" in said
    assert "pa55" not in said


def test_an_option_is_read_by_its_name() -> None:
    assert DatabaseUrl((("sslmode", "disable"),), False).get("user") == ""
