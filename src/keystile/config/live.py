"""What a running gateway can change without a restart, and what not.

Law: two settings in, names out. Everything may change but what the processes are laid out by: it was made before
any of them, and they hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keystile.config.model import Settings

_FIXED: Final[dict[str, Callable[[Settings], object]]] = {
    "slots": lambda settings: settings.slots,
    "store": lambda settings: settings.store,
    "database": lambda settings: settings.database,
    "workers": lambda settings: settings.workers,
    "management.address": lambda settings: (settings.management.host, settings.management.port),
    "management.tls": lambda settings: settings.management.tls is None,
}


def needs_restart(running: Settings, wanted: Settings) -> list[str]:
    """The settings that differ and cannot change while the gateway runs, as gateway.yaml names them."""
    return [name for name, of in _FIXED.items() if of(running) != of(wanted)]
