"""The files of TLS that gateway.yaml names: certificates, their keys, and those that sign.

Law: as in ``files.py``, which reads them: judged here as OpenSSL would, kept in ``contents``. What is right
today and not for long (a certificate that expires) is told in ``tls_remarks.py``.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from keystile.config import files, units
from keystile.config.faults import Fault
from keystile.config.written import Written
from keystile.config.yamltext import Loc


class _Encrypted(Exception):
    """A private key asks for a passphrase, and nobody is there to type it."""


def check(written: Written, contents: dict[Path, bytes]) -> list[Fault]:
    """Every fault of certificates, keys and signers."""
    pairs = [fault for place in places_of_pairs(written) for fault in _both(written, place, contents)]
    return [*pairs, *(fault for place in places_of_signers(written) for fault in _signers(written, place, contents))]


def places_of_pairs(written: Written) -> list[Loc]:
    """Where ``certificate`` and ``private_key`` may stand."""
    places: list[Loc] = [(*loc, "tls") for loc in written.items("listeners")]
    places += [loc for place in places for loc in written.items(*place, "certificates")]
    return [*places, ("management", "tls"), ("slots", "tls"), *((*loc, "tls") for loc in written.items("upstreams"))]


def places_of_signers(written: Written) -> list[Loc]:
    """Where the settings ``ca`` may stand."""
    places: list[Loc] = [(*loc, "tls", "client_certificates", "ca") for loc in written.items("listeners")]
    return [*places, ("slots", "tls", "ca"), *((*loc, "tls", "ca") for loc in written.items("upstreams"))]


def _both(written: Written, place: Loc, contents: dict[Path, bytes]) -> Iterator[Fault]:
    certificate, faults = files.read(written, (*place, "certificate"), contents)
    key, more = files.read(written, (*place, "private_key"), contents)
    yield from [*faults, *more]
    if certificate is not None and key is not None:
        yield from _pair(written, place, certificate, key)


def _signers(written: Written, place: Loc, contents: dict[Path, bytes]) -> Iterator[Fault]:
    content, faults = files.read(written, place, contents)
    yield from faults
    if content is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError):
        yield written.fault(place, "holds no certificate in PEM form, or a broken one", show=True)


def _pair(written: Written, place: Loc, certificate: bytes, key: bytes) -> Iterator[Fault]:
    """Whether OpenSSL would serve the two; told at the one of them that is wrong."""
    at_certificate, at_key = (*place, "certificate"), (*place, "private_key")
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        yield written.fault(at_certificate, "holds no certificate in PEM form", show=True)
        return
    if b"PRIVATE KEY-----" not in key:
        yield written.fault(at_key, "holds no private key in PEM form", show=True)
        return
    names = written.read(units.text, *at_certificate), written.read(units.text, *at_key)
    try:
        _load(*(files.absolute(written.folder, name or "") for name in names))
    except _Encrypted:
        yield written.fault(at_key, "needs a passphrase; write a key without one", show=True)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"is not the private key of the certificate {names[0]!r}"
            yield written.fault(at_key, message, show=True)
        else:
            said = (error.reason or "unknown reason").replace("_", " ").lower()
            yield written.fault(at_certificate, f"cannot be used with its private key ({said})", show=True)
    except OSError as error:
        yield written.fault(at_certificate, f"{files.CANNOT}: {files.reason(error)}", show=True)
    else:
        if place[0] not in ("upstreams", "slots") and not _is_for_somebody(certificate):
            message = "is for no name; have it made for the names that clients call"
            yield written.fault(at_certificate, message, show=True)


def _is_for_somebody(content: bytes) -> bool:
    """Whether a certificate has a name by which clients can know its server; what cannot be read is told elsewhere."""
    from cryptography import x509  # here: whoever has no TLS is not to wait for it
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(content)
        return bool(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return bool(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    except ValueError:
        return True


def _load(certificate: Path, key: Path) -> None:
    def refuse() -> str:
        raise _Encrypted  # without this, OpenSSL would ask on the terminal

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse)
