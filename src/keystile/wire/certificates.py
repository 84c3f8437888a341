"""Certificates before they are used: what is wrong with one, what stands in it, and one of our own to try with.

Law: PEM bytes and a clock in, plain values out. Nothing here shows a private key or writes one down.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystile.wire.tls import Pair, profile_context, reason_of

KeyKind = Literal["ecdsa-p256", "rsa-2048"]


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """``names``: DNS names in lower case, then addresses; the common name where there are none. Times: Unix seconds.
    ``key_type``: as ``ecdsa-p256`` or ``rsa-2048``."""

    names: tuple[str, ...]
    not_before: float
    not_after: float
    key_type: str


def certificate_facts(cert_pem: bytes) -> CertificateFacts:
    """What stands in the first certificate. Raises ``ValueError`` where there is none that can be read."""
    certificate = x509.load_pem_x509_certificate(cert_pem)
    return CertificateFacts(
        _names(certificate),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        _key_type(certificate),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(each.value).lower() for each in common)
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return (*names, *(str(each) for each in found.get_values_for_type(x509.IPAddress)))


def _key_type(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ecdsa-" + {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}.get(
            key.curve.name, key.curve.name
        )
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").lower().strip("_")


def check_certificate(cert_pem: bytes, key_pem: bytes, now: float | None) -> list[str]:
    """What is wrong with a pair at ``now`` (Unix seconds), as sentences; empty where it can be served.

    ``now`` None: whatever its dates say. One that has expired serves badly, but better than none.
    """
    try:
        facts = certificate_facts(cert_pem)
    except ValueError:
        return ["the certificate cannot be read as PEM"]
    faults = [] if facts.names else ["the certificate is for no name"]
    if now is not None and now < facts.not_before:
        faults.append(f"the certificate is not valid before {_day(facts.not_before)}")
    if now is not None and now >= facts.not_after:
        faults.append(f"the certificate has expired on {_day(facts.not_after)}")
    fault = _handshake_fault(Pair(cert_pem, key_pem))
    return [*faults, fault] if fault else faults


def share_a_name(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two certificates are for one name both, of which either may be a wildcard's (RFC 9525 section 6.3)."""
    others = set(other)
    return any(_is_for(mine, theirs) or _is_for(theirs, mine) for mine in one for theirs in others)


def _is_for(pattern: str, name: str) -> bool:
    return pattern == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:])


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _handshake_fault(pair: Pair) -> str | None:
    """Load a pair and do one handshake in memory with it."""
    try:
        server = profile_context([pair])
    except ssl.SSLError as error:
        if reason_of(error) == "KEY_VALUES_MISMATCH":
            return "the private key does not belong to the certificate"
        return "the certificate and its private key cannot be loaded: " + (reason_of(error) or "not PEM, or encrypted")
    try:
        _shake_hands(server)
    except ssl.SSLError as error:
        return f"a handshake with the certificate fails: {reason_of(error) or error}"
    return None


def _shake_hands(server: ssl.SSLContext) -> None:
    """Raises ``ssl.SSLError`` where one of the two ends refuses, or they come to no end."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether the world trusts it is not the question: the key and the format are.
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    for end in ends:
        end.do_handshake()


def self_signed(
    names: Sequence[str], days: int, key: KeyKind = "ecdsa-p256", now: float | None = None
) -> tuple[bytes, bytes]:
    """(certificate, private key) as PEM, for ``names`` (DNS names and addresses). Raises ``ValueError`` without any."""
    if not names:
        raise ValueError("a certificate needs a name")
    private = _new_key(key)
    # 64 characters at most stand in a common name; clients read the alternative names only.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    # Clocks differ: a client a little behind ours takes it as well.
    start = (datetime.now(UTC) if now is None else datetime.fromtimestamp(now, UTC)) - timedelta(minutes=5)
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
    signed = (
        builder.not_valid_before(start)
        .not_valid_after(start + timedelta(days=days, minutes=5))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(pem), key_pem


def _new_key(kind: KeyKind) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind == "rsa-2048":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
