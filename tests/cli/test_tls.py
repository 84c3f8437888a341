from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest

from keystile.wire.certificates import certificate_facts, check_certificate
from tests.cli.conftest import Run


def test_a_pair_is_written_that_belongs_together_and_only_its_owner_reads_the_key(run: Run, tmp_path: Path) -> None:
    said = run("tls", "self-signed", "a.example", "127.0.0.1", "--days", "3", "--into", str(tmp_path / "tls"))
    assert said.code == 0
    certificate, key = tmp_path / "tls" / "cert.pem", tmp_path / "tls" / "key.pem"
    assert str(certificate) in said.out
    assert certificate_facts(certificate.read_bytes()).names == ("a.example", "127.0.0.1")
    assert check_certificate(certificate.read_bytes(), key.read_bytes(), None) == []
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate.stat().st_mode) & 0o044, "others have to read what they shall trust"
    assert b"PRIVATE" not in said.out.encode()
    ssl.create_default_context(cafile=certificate)


def test_nothing_is_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("mine")
    said = run("tls", "self-signed", "--into", str(tmp_path))
    assert said.code == 1
    assert "key.pem" in said.err
    assert (tmp_path / "key.pem").read_text() == "mine"
    assert not (tmp_path / "cert.pem").exists()


@pytest.mark.parametrize("days", ["0", "4000"])
def test_odd_lifetimes_are_refused(run: Run, tmp_path: Path, days: str) -> None:
    assert run("tls", "self-signed", "--days", days, "--into", str(tmp_path)).code == 1
