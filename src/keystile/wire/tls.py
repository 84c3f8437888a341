"""TLS of listeners: from a certificate, a key and a floor to an ``SSLContext``.

Law: policy in, context out. Protocol floors are always set explicitly: some
builds of Python leave the floor open and rely on OpenSSL's security level alone.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

_FLOORS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(
    certificate: Path, private_key: Path, minimum_version: Literal["1.2", "1.3"] = "1.2"
) -> ssl.SSLContext:
    """A context for a listener: forward secrecy and AEAD ciphers only, ALPN ``http/1.1``, no renegotiation.

    Follows Mozilla's "intermediate" profile less its finite-field key exchange, which costs the server most.
    Raises ``OSError`` or ``ssl.SSLError`` when the files cannot be read or do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _FLOORS[minimum_version]
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, private_key)
    return context
