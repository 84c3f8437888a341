"""What the handlers of the management application work with.

Law: a record of parts made elsewhere (``keystile.app``); nothing is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from keystile.config.model import Settings
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.management.access import Access
from keystile.management.catalogue import Catalogue
from keystile.management.look import GatewayView
from keystile.storage.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """The parts; ``clock`` gives Unix seconds."""

    settings: Settings
    keys: KeyService
    store: Store
    smtp: SmtpService
    access: Access
    catalogue: Catalogue
    look: GatewayView
    clock: Callable[[], float] = time.time


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """The parts, for a handler."""
    return request.config_dict[SERVICES]
