from __future__ import annotations

from tests.storage.engines import engine

__all__ = ["engine"]
