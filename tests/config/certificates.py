"""Certificates for tests, made as they are needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make(
    folder: Path,
    name: str = "a",
    passphrase: bytes | None = None,
    days: float = 90,
    common_name: str | None = "localhost",
) -> tuple[Path, Path]:
    """Write ``a.cert.pem`` and ``a.key.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    validity = builder.not_valid_before(now - timedelta(days=100)).not_valid_after(now + timedelta(days=days))
    signed = validity.sign(key, hashes.SHA256())
    certificate_file, key_file = folder / f"{name}.cert.pem", folder / f"{name}.key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    closed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, pkcs8, closed))
    return certificate_file, key_file
