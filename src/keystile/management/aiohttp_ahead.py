"""aiohttp, imported without the system's certificates, which its client would read for itself at once.

Law: to be imported before whatever imports aiohttp. Its client makes two TLS contexts the moment it is imported, which
is a tenth of the start of management; who asks the servers (``probing.py``) has a context of the upstream's instead.
The two that are made here trust nobody: a connection that used one by mistake would fail, and never pass.
Source: aiohttp/connector.py, ``_make_ssl_context``.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _nothing(*_: Any) -> None:
    """Read no certificates."""


@contextmanager
def without_certificates() -> Iterator[None]:
    """No context that is made while the block lasts reads the system's certificates."""
    context: Any = ssl.SSLContext
    names = ("load_default_certs", "set_default_verify_paths")
    before = {name: vars(context)[name] for name in names if name in vars(context)}
    for name in names:
        setattr(context, name, _nothing)
    try:
        yield
    finally:
        for name in names:
            delattr(context, name)  # to what is its parent's
        for name, method in before.items():
            setattr(context, name, method)


with without_certificates():
    import aiohttp as aiohttp
