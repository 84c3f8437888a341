"""Pairs that can be served and pairs that cannot."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from keystile.wire.certificates import certificate_facts, check_certificate, self_signed, share_a_name

NOW = time.time()
CERT, KEY = self_signed(["a.example", "*.b.example", "127.0.0.1"], 30)


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
def test_a_new_pair_has_no_faults(kind: str) -> None:
    cert, key = self_signed(["a.example"], 30, kind)  # type: ignore[arg-type]
    assert check_certificate(cert, key, time.time()) == []
    assert certificate_facts(cert).key_type == kind


def test_what_stands_in_a_certificate_is_read() -> None:
    facts = certificate_facts(CERT)
    assert facts.names == ("a.example", "*.b.example", "127.0.0.1")
    assert facts.not_after - facts.not_before == 30 * 86400 + 300


def test_both_edges_of_validity_are_kept() -> None:
    facts = certificate_facts(CERT)
    edges = (facts.not_before - 1, facts.not_before, facts.not_after - 1, facts.not_after)
    early, *good, late = (check_certificate(CERT, KEY, edge) for edge in edges)
    assert good == [[], []]
    assert "not valid before" in early[0]
    assert "expired" in late[0]


def test_a_key_of_another_certificate_is_a_fault() -> None:
    assert check_certificate(CERT, self_signed(["a"], 1)[1], NOW) == [
        "the private key does not belong to the certificate"
    ]


@pytest.mark.parametrize(("cert", "key"), [(b"", KEY), (b"nonsense", KEY), (CERT, b""), (CERT, b"nonsense")])
def test_what_is_no_pem_is_one_fault_and_shows_nothing(cert: bytes, key: bytes) -> None:
    (fault,) = check_certificate(cert, key, NOW)
    assert "nonsense" not in fault


def test_a_certificate_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        self_signed([], 1)


def test_a_certificate_that_names_nobody_is_a_fault() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nobody")])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder(nobody, nobody, private.public_key(), 1)
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
    chain = builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert check_certificate(chain, key, NOW + 1) == ["the certificate is for no name"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["a.example"], ["b.example", "a.example"], True),
        (["a.example"], ["b.example"], False),
        (["*.a.example"], ["x.a.example"], True),
        (["x.a.example"], ["*.a.example"], True),
        (["*.a.example"], ["a.example"], False),
        (["*.a.example"], ["x.y.a.example"], False),
        (["*.a.example"], ["*.b.example"], False),
        (["127.0.0.1"], ["127.0.0.1"], True),
    ],
)
def test_certificates_are_for_the_same_where_they_share_a_name(one: list[str], other: list[str], same: bool) -> None:
    assert share_a_name(one, other) is share_a_name(other, one) is same
