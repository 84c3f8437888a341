from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import Certificate, ClientCertificates, Legacy, Tls
from keystile.relay.entrance import Terms
from keystile.relay.terms import UnusableCertificate, check_names, terms_of
from keystile.wire.certificates import self_signed
from keystile.wire.tls_policy import Version

NOW = time.time()


def pair(folder: Path, name: str, *names: str, **how: Any) -> Certificate:
    chain, key = self_signed(list(names) or [f"{name}.example"], 5, **how)
    (folder / f"{name}.pem").write_bytes(chain)
    (folder / f"{name}.key").write_bytes(key)
    return Certificate(folder / f"{name}.pem", folder / f"{name}.key")


def terms(tls: Tls, now: float = NOW) -> Terms:
    return terms_of(tls, Path.read_bytes, now)


def test_each_certificate_is_found_by_its_names_and_the_first_otherwise(tmp_path: Path) -> None:
    found = terms(Tls((pair(tmp_path, "a"), pair(tmp_path, "b", "b.example", "*.c.example")))).certificates
    assert found.find("b.example") is found.find("x.c.example")
    assert found.find("a.example") is found.find("z.example") is found.find(None)
    assert found.find("a.example") is not found.find("b.example")


def test_two_kinds_of_keys_for_the_same_names_answer_together(tmp_path: Path) -> None:
    one, other = pair(tmp_path, "a", "x.example"), pair(tmp_path, "b", "x.example", key="rsa-2048")
    found = terms(Tls((one, other))).certificates
    assert list(found.by_name) == ["x.example"]


@pytest.mark.parametrize(
    ("retire_at", "there"),
    [(NOW + 9, True), (NOW, False), (1.0, False)],
    ids=["before its day", "at its day", "long after it"],
)
def test_weak_ciphers_are_loaded_only_while_they_are_needed(tmp_path: Path, retire_at: float, there: bool) -> None:
    one = pair(tmp_path, "a")
    made = terms(Tls((one,), legacy=Legacy("1.1", retire_at)))
    found = made.certificates.find(None)
    assert found is not None
    assert (found.legacy is not None) is there
    assert made.policy.legacy is not None
    assert made.policy.legacy.minimum_version is Version.TLS_1_1


def test_who_was_made_by_a_clock_past_the_day_refuses_old_versions_until_it_is_made_anew(tmp_path: Path) -> None:
    """Set right, the clock says that they may; but what serves them was not built, and no is the safe side."""
    one = pair(tmp_path, "a")
    tls = Tls((one,), legacy=Legacy("1.1", NOW + 9))
    ahead = terms_of(tls, Path.read_bytes, NOW + 10).certificates.find(None)
    right = terms_of(tls, Path.read_bytes, NOW).certificates.find(None)
    assert ahead is not None
    assert right is not None
    assert ahead.legacy is None
    assert right.legacy is not None


def test_without_a_legacy_part_there_is_none(tmp_path: Path) -> None:
    made = terms(Tls((pair(tmp_path, "a"),), "1.3"))
    found = made.certificates.find(None)
    assert found is not None
    assert found.legacy is None
    assert made.policy.minimum_version is Version.TLS_1_3
    assert found.modern.minimum_version.name == "TLSv1_3"


def test_what_cannot_serve_is_named(tmp_path: Path) -> None:
    one, other = pair(tmp_path, "a"), pair(tmp_path, "b")
    for mixed in (Certificate(one.certificate, other.private_key), Certificate(one.private_key, one.private_key)):
        with pytest.raises(UnusableCertificate, match=str(mixed.certificate)):
            terms(Tls((mixed,)))
    with pytest.raises(UnusableCertificate, match="expired"):
        terms_of(Tls((one,)), Path.read_bytes, NOW + 6 * 86400, is_new=lambda path: path == one.certificate)
    # What is in force comes back with a relay, expired or not.
    assert terms(Tls((one,)), NOW + 6 * 86400).certificates.find(None) is not None
    with pytest.raises(FileNotFoundError):
        terms(Tls((Certificate(tmp_path / "no.pem", one.private_key),)))


def test_a_changed_file_must_be_for_a_name_that_it_was_for_before(tmp_path: Path) -> None:
    one, other = pair(tmp_path, "a", "a.example", "b.example"), pair(tmp_path, "b", "b.example", "c.example")
    wrong = pair(tmp_path, "c", "c.example")
    before = {file: file.read_bytes() for file in (one.certificate, one.private_key)}

    def changed_to(new: Certificate) -> Terms:
        after = {one.certificate: new.certificate.read_bytes(), one.private_key: new.private_key.read_bytes()}
        check_names(Tls((one,)), after.__getitem__, before.__getitem__)
        return terms_of(Tls((one,)), after.__getitem__, NOW)

    assert changed_to(other).certificates.find("c.example") is not None
    with pytest.raises(UnusableCertificate, match=r"a\.pem: the certificate is for c\.example, and not for any of"):
        changed_to(wrong)
    # A file that is newly named may be for whomever it likes.
    check_names(Tls((wrong,)), Path.read_bytes, before.__getitem__)


def test_authorities_of_clients_are_read(tmp_path: Path) -> None:
    one = pair(tmp_path, "a")
    found = terms(Tls((one,), client_certificates=ClientCertificates(one.certificate))).certificates.find(None)
    assert found is not None
    assert found.modern.verify_mode.name == "CERT_REQUIRED"
    with pytest.raises(OSError, match="does not contain a certificate"):
        terms(Tls((one,), client_certificates=ClientCertificates(one.private_key)))
