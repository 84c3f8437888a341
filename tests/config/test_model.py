from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from keystile.config.model import Settings


def test_settings_survive_pickling(with_settings: Callable[[str], Settings]) -> None:
    settings = with_settings("cors: {origins: ['*']}\ntrusted_proxies: [10.0.0.0/8, '2001:db8::/32']")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_relay_reads_settings_without_pydantic_and_yaml(
    with_settings: Callable[[str], Settings], tmp_path: Path
) -> None:
    (tmp_path / "pickled").write_bytes(pickle.dumps(with_settings("")))
    program = (
        "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')); "
        "sys.exit(any(name in sys.modules for name in ('pydantic', 'yaml')))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "pickled")], check=True)


def test_settings_cannot_be_changed(with_settings: Callable[[str], Settings]) -> None:
    settings = with_settings("")
    with pytest.raises(FrozenInstanceError):
        settings.workers = 5  # type: ignore[misc]
    assert hash(settings.operations[0]) == hash(with_settings("").operations[0])
