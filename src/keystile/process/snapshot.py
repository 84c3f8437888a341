"""The accepted configuration: a numbered snapshot that the supervisor holds and children start from.

Law: settings and the bytes of the files they name, sealed. Children read only this and never gateway.yaml
or a certificate on disk, so nothing that is done to those can keep a relay from coming back. It holds
private keys: it lives in memory only (a memfd), and never shows them in its ``repr``.
"""

from __future__ import annotations

import dataclasses
import fcntl
import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keystile.config.model import Settings, Tls, UpstreamTls

_ALL_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One accepted configuration; ``files`` maps the path of each named file to its contents."""

    number: int
    settings: Settings
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    def contents(self, path: Path) -> bytes:
        """The accepted contents of ``path``. Raises KeyError for a file not named."""
        return self.files[str(path)]

    @contextmanager
    def file(self, path: Path) -> Iterator[Path]:
        """A path under which the accepted contents of ``path`` can be read while the block lasts.

        For libraries that read files by name only (OpenSSL). Raises KeyError for a file not named.
        """
        fd = memory_file("keystile-file", self.files[str(path)])
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)


def take(number: int, settings: Settings) -> Snapshot:
    """The snapshot of these settings with the files they name. Raises OSError when one cannot be read."""
    return Snapshot(number, settings, {str(path): path.read_bytes() for path in files_of(settings)})


def files_of(settings: Settings) -> list[Path]:
    """The files that they name, whose contents belong to the configuration."""
    policies = [*(listener.tls for listener in settings.listeners), settings.management.tls]
    paths = [path for tls in policies if tls for path in _files_of(tls)]
    paths += [path for upstream in settings.upstreams if upstream.tls for path in _files_to(upstream.tls)]
    return list(dict.fromkeys([*paths, *settings.documents]))


def _files_of(tls: Tls) -> list[Path]:
    pairs = [path for one in tls.certificates for path in (one.certificate, one.private_key)]
    return [*pairs, tls.client_certificates.ca] if tls.client_certificates else pairs


def _files_to(tls: UpstreamTls) -> list[Path]:
    return [path for path in (tls.ca, tls.certificate, tls.private_key) if path is not None]


def seal(snapshot: Snapshot) -> int:
    """Put it into a sealed memfd, whose inheritable descriptor is returned."""
    written = io.BytesIO()
    _ByName(written, pickle.HIGHEST_PROTOCOL).dump(snapshot)
    fd = memory_file("keystile-configuration", written.getvalue())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _ALL_SEALS)
    return fd


class _ByName(pickle.Pickler):
    """Writes dataclasses by the names of their fields, not in their order.

    Another version of the program may read them (``upgrade.py``). A setting that it alone knows has its default there,
    and one that it does not know is an error.
    """

    def reducer_override(self, obj: Any) -> Any:
        if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
            return made, (type(obj), {each.name: getattr(obj, each.name) for each in dataclasses.fields(obj)})
        return NotImplemented


def made(kind: type[Any], values: dict[str, Any]) -> Any:
    """A dataclass from its fields, as a snapshot has them. Raises TypeError for one that it does not have."""
    return kind(**values)


def read(fd: int) -> Snapshot:
    """The snapshot behind an inherited descriptor. Raises ValueError when it is not sealed (not ours)."""
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) != _ALL_SEALS:
        raise ValueError("the configuration handed over is not sealed")
    # Not read(): the file position is shared by all who inherited the descriptor.
    snapshot = pickle.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    if not isinstance(snapshot, Snapshot):
        raise ValueError("no configuration was handed over")
    return snapshot


def memory_file(name: str, contents: bytes) -> int:
    """A file in memory with these contents; the descriptor is not inheritable."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(contents)
    return fd
