"""Here ``engine`` is PostgreSQL alone; ``own`` is a server that a test may stop, kill and start again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keystile.storage.postgresql.database import Database
from tests.storage.engines import PostgresEngine, emptied
from tests.storage.postgres_server import Server, needs_postgresql, server


@pytest.fixture
def engine(postgres: Server, common_database: Database, tmp_path: Path) -> PostgresEngine:
    return PostgresEngine(emptied(postgres, common_database), tmp_path / "keystile-mirror.db")


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    needs_postgresql()
    with server() as made:
        yield made


@pytest.fixture
def own(own_server: Server) -> Iterator[Server]:
    yield own_server
    if not own_server.is_running:
        own_server.start()
