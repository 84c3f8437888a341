from __future__ import annotations

from pathlib import Path

import pytest

from keystile.storage.errors import StoreUnreadable
from keystile.storage.postgresql.database import Database

OPTIONS = (("host", "db.example.com"), ("port", "5433"), ("user", "key stile"), ("dbname", "keys"))


def test_it_is_named_as_a_url_without_what_is_secret(tmp_path: Path) -> None:
    database = Database(OPTIONS, tmp_path / "password")
    assert str(database) == "postgresql://key%20stile@db.example.com:5433/keys"
    several = Database((("host", "one,two"), ("port", "5432"), ("dbname", "keys")))
    assert str(several) == "postgresql://one:5432,two:5432/keys"
    assert str(Database((("host", "/run/postgresql"), ("user", "k"), ("dbname", "d")))) == (
        "postgresql://k@%2Frun%2Fpostgresql/d"
    )


def test_a_password_is_read_for_each_connection_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "password"
    database = Database(OPTIONS, file)
    for password in ("first one", "sécond"):
        file.write_text(password + "\n", "utf-8")
        assert database.parameters()["password"] == password
        assert password not in repr(database) + str(database)
    assert "password" not in Database(OPTIONS).parameters()


def test_a_connection_notices_a_peer_that_is_gone() -> None:
    parameters = Database((*OPTIONS, ("connect_timeout", "9"))).parameters()
    assert parameters["connect_timeout"] == "9"
    assert parameters["tcp_user_timeout"] == "5000"
    assert parameters["target_session_attrs"] == "read-write"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nlines\n", b"\xff", b"a\0b", b"x" * 5000])
def test_a_password_file_that_holds_no_password_is_told_without_its_content(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StoreUnreadable) as caught:
        Database(OPTIONS, file).parameters()
    assert str(file) in str(caught.value)
    assert "two" not in str(caught.value)
    assert "xxx" not in str(caught.value)
