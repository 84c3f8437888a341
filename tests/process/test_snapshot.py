from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from keystile.config.model import Certificate, Limits, Listener, Tls
from keystile.process import snapshot
from tests.process.stand_in import settings_for


def _with_files(tmp_path: Path) -> snapshot.Snapshot:
    (tmp_path / "cert.pem").write_bytes(b"certificate")
    (tmp_path / "key.pem").write_bytes(b"private!")
    tls = Tls((Certificate(tmp_path / "cert.pem", tmp_path / "key.pem"),))
    return snapshot.take(7, settings_for(tmp_path, listeners=(Listener("127.0.0.1", 0, tls),)))


def test_what_was_sealed_is_read_again_and_again(tmp_path: Path) -> None:
    taken = _with_files(tmp_path)
    fd = snapshot.seal(taken)
    assert snapshot.read(fd) == snapshot.read(fd) == taken
    os.close(fd)


def test_a_file_is_as_it_was_accepted_whatever_became_of_it(tmp_path: Path) -> None:
    taken = _with_files(tmp_path)
    (tmp_path / "cert.pem").unlink()
    with taken.file(tmp_path / "cert.pem") as path:
        assert path.read_bytes() == b"certificate"
    assert not path.exists()


def test_the_documents_that_the_settings_name_are_part_of_it(tmp_path: Path) -> None:
    document = tmp_path / "api.yaml"
    document.write_bytes(b"openapi: 3.1.0")
    taken = snapshot.take(1, settings_for(tmp_path, documents=(document,)))
    document.write_bytes(b"another")
    assert taken.contents(document) == b"openapi: 3.1.0"
    with pytest.raises(KeyError):
        taken.contents(tmp_path / "other.yaml")


def test_a_sealed_snapshot_cannot_be_changed(tmp_path: Path) -> None:
    fd = snapshot.seal(_with_files(tmp_path))
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)


def test_private_keys_are_not_shown(tmp_path: Path) -> None:
    assert "private!" not in repr(_with_files(tmp_path))


def test_something_unsealed_is_not_believed() -> None:
    fd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    with pytest.raises(ValueError, match="not sealed"):
        snapshot.read(fd)
    os.close(fd)


def test_another_version_may_know_a_setting_more_which_has_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if these settings had been written before there was a drain_wait.
    without = dataclasses.make_dataclass("Limits", [("idle_timeout", float)], frozen=True, slots=True)
    older = without(60.0)
    without.__module__, without.__qualname__ = Limits.__module__, Limits.__qualname__
    monkeypatch.setattr("keystile.config.model.Limits", without)
    fd = snapshot.seal(snapshot.Snapshot(1, settings_for(tmp_path, limits=older)))
    monkeypatch.undo()
    assert snapshot.read(fd).settings.limits == Limits(idle_timeout=60.0)
    os.close(fd)


def test_a_setting_that_a_version_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError, match="unheard_of"):
        snapshot.made(Limits, {"unheard_of": 1})
