from __future__ import annotations

from pathlib import Path

from keystile.storage.asking import Asking
from keystile.storage.connection import Connection


def as_asking(connection: Connection) -> Asking:
    return connection


def test_a_connection_has_every_method_that_a_store_asks_for(tmp_path: Path) -> None:
    """That the signatures fit is checked by mypy, in the function above."""
    asked = {name for name in vars(Asking) if not name.startswith("_")}
    assert not [name for name in asked if not hasattr(Connection, name)]
    assert as_asking(Connection(tmp_path / "keystile.db")).place == tmp_path / "keystile.db"
