"""How an upstream's https servers are reached: from the settings and the files they name to a client's context.

Law: settings and contents in, a context out. A context takes some 30 ms to make, so it is made only where one is
wanted that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from keystile.config.model import Settings, Upstream, UpstreamTls
from keystile.wire.client_context import ClientContext, client_context

File = Callable[[Path], AbstractContextManager[Path]]
Contents = Callable[[Path], bytes]


@dataclass(frozen=True, slots=True)
class Reaching:
    """``files``: the contents that it goes by; ``make`` raises OSError (``ssl.SSLError`` is one)."""

    files: tuple[bytes, ...]
    make: Callable[[], ClientContext]


def reaching_of(settings: Settings, file: File, contents: Contents) -> Mapping[str, Reaching]:
    """How each upstream with https servers is reached, by name. ``file`` gives paths of accepted contents."""
    return {each.name: _reaching(each, file, contents) for each in settings.upstreams if each.servers[0].tls}


def _reaching(upstream: Upstream, file: File, contents: Contents) -> Reaching:
    tls = upstream.tls or UpstreamTls()
    named = [path for path in (tls.ca, tls.certificate, tls.private_key) if path is not None]

    def make() -> ClientContext:
        with ExitStack() as open_ones:
            def here(path: Path | None) -> Path | None:
                return None if path is None else open_ones.enter_context(file(path))

            return client_context(
                ca=here(tls.ca),
                certificate=here(tls.certificate),
                private_key=here(tls.private_key),
                minimum_version=tls.minimum_version,
                verify=tls.verify,
            )

    return Reaching(tuple(contents(path) for path in named), make)
