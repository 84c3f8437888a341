from __future__ import annotations

from tests.storage.engines import common_database, engine, postgres

__all__ = ["common_database", "engine", "postgres"]
