"""TLS of listeners: from certificates and a profile to an ``SSLContext``.

Law: policy in, context out. Protocol floors are always set explicitly: some
builds of Python leave the floor open and rely on OpenSSL's security level alone.

``intermediate`` follows Mozilla's profile of that name (Server Side TLS 5.7) less its finite-field key exchange,
which costs the server most; ``modern`` is TLS 1.3 only. ``legacy`` is for hellos that can do no better.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Profile = Literal["modern", "intermediate"]

_FLOORS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Mozilla's order: 128 bits first, since more protect nothing more and cost more.
_AEAD: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
# Both are needed for 1.0 and 1.1: a suite of their time, and the level at which their SHA-1 signatures count.
_OF_OLD: Final = "ECDHE+AES+SHA1:AES128-SHA:AES256-SHA:@SECLEVEL=0"

#: Groups, TLS 1.3 suites and signatures of Mozilla's profiles. Python 3.11 has no call for these: OpenSSL reads them
#: from the file that OPENSSL_CONF names, once, when a process starts.
OPENSSL_CONF: Final = """\
openssl_conf = keystile
[keystile]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Groups = X25519:P-256:P-384
Ciphersuites = TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
SignatureAlgorithms = ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384
Options = PrioritizeChaCha,NoRenegotiation
"""


def openssl_conf() -> str:
    """The text of a file for ``OPENSSL_CONF``; it holds for all contexts of the process, upstream ones too."""
    return OPENSSL_CONF


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain and its private key, both PEM; the key is never shown."""

    chain: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Whose certificates clients show: authorities as PEM; ``required`` refuses clients without one."""

    authorities: str
    required: bool


def server_context(
    certificate: Path, private_key: Path, minimum_version: Literal["1.2", "1.3"] = "1.2"
) -> ssl.SSLContext:
    """A context for a listener: forward secrecy and AEAD ciphers only, ALPN ``http/1.1``, no renegotiation.

    Raises ``OSError`` or ``ssl.SSLError`` when the files cannot be read or do not match.
    """
    context = _context(_FLOORS[minimum_version], _AEAD)
    context.load_cert_chain(certificate, private_key)
    return context


def profile_context(
    pairs: Sequence[Pair], profile: Profile = "intermediate", clients: ClientCertificates | None = None
) -> ssl.SSLContext:
    """A context of a named profile. ``pairs``: of several key types one each, the preferred first.

    Raises ``ssl.SSLError`` where a pair does not match or cannot be read.
    """
    return _filled(_context(_FLOORS["1.3" if profile == "modern" else "1.2"], _AEAD), pairs, clients)


def legacy_context(pairs: Sequence[Pair], clients: ClientCertificates | None = None) -> ssl.SSLContext:
    """A context that also speaks TLS 1.0 and 1.1, with weak ciphers: only for hellos that offer nothing newer.

    Its maximum stays at 1.3, otherwise a fallback (RFC 7507) could not be told from an old client.
    """
    # Naming TLSv1 raises DeprecationWarning, this does not; SSL 3.0 is off in ``ssl`` and not in OpenSSL's builds.
    return _filled(_context(ssl.TLSVersion.MINIMUM_SUPPORTED, f"{_AEAD}:{_OF_OLD}"), pairs, clients)


def _context(minimum: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.set_ciphers(ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # OpenSSL sends two, and each costs an eighth of the handshake (3.0). Who keeps connections needs none, and who goes
    # on with a session is given the next one.
    context.num_tickets = 1
    context.set_alpn_protocols(["http/1.1"])
    return context


def _filled(
    context: ssl.SSLContext, pairs: Sequence[Pair], clients: ClientCertificates | None
) -> ssl.SSLContext:
    for pair in pairs:
        load_pair(context, pair)
    if clients is not None:
        context.load_verify_locations(cadata=clients.authorities)
        context.verify_mode = ssl.CERT_REQUIRED if clients.required else ssl.CERT_OPTIONAL
    return context


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Give ``context`` a certificate that is in memory. Raises ``ssl.SSLError``.

    ``ssl`` reads files only; these two have no name and never reach a disk.
    """
    certificate, key = os.memfd_create("certificate"), os.memfd_create("key")
    try:
        for descriptor, content in ((certificate, pair.chain), (key, pair.private_key)):
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
        # An encrypted key would otherwise be asked for at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=lambda: "")
    finally:
        os.close(certificate)
        os.close(key)


def peer_subject(certificate: Mapping[str, Any] | None) -> str | None:
    """The subject of a client's certificate as ``CN=a,O=b`` (RFC 4514, as ``getpeercert()`` gives it, reversed).

    ``certificate``: what ``getpeercert()`` or the transport's ``peercert`` says; None where there is none.
    """
    if not certificate:
        return None
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in names)
        for names in certificate.get("subject", ())
    ]
    return ",".join(reversed(parts))


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's name for it, such as ``WRONG_VERSION_NUMBER``; empty where it has none.

    That is None in Python, where typeshed says ``str``: compiled code (setup.py) would end with TypeError there.
    """
    reason: str | None = getattr(error, "reason", None)
    return reason or ""


_SHORT: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4; what is not printable ASCII as bytes, since this goes into a header field."""
    return "".join(_escaped_character(each) for each in value.strip())


def _escaped_character(each: str) -> str:
    if each in ',+"\\<>;=#':
        return f"\\{each}"
    return each if " " <= each <= "~" else "".join(f"\\{byte:02X}" for byte in each.encode())
