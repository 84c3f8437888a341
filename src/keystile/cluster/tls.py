"""TLS to the servers that lend slots: whom is believed, and who we are.

Law: files of PEM in, contexts out. Verified unless the settings say otherwise; a context is made anew when one of its
files is another.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from keystile.config.model import UpstreamTls

_FLOORS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Contexts:
    """The context of one setting, as its files are now. Making one takes some 30 ms."""

    def __init__(self, tls: UpstreamTls) -> None:
        self._tls = tls
        self._files = [path for path in (tls.ca, tls.certificate, tls.private_key) if path is not None]
        self._made: ssl.SSLContext | None = None
        self._seen: list[tuple[int, int, int]] = []

    def get(self) -> ssl.SSLContext:
        """Raises OSError (``ssl.SSLError`` among them) where a file cannot be read or does not fit."""
        seen = [_state(path) for path in self._files]
        if self._made is None or seen != self._seen:
            self._made, self._seen = _context(self._tls), seen
        return self._made


def _state(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _context(tls: UpstreamTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _FLOORS[tls.minimum_version]
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca is not None:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.private_key, password="")  # else OpenSSL asks at the terminal
    return context
