"""Forms that do their work once, however often they are sent.

Law: a form that leads to a secret carries a number of its own, made with the page. The first sending takes it; a
second one (a reload, a double click, the browser's "send again") is told so and does nothing. Where nothing was done,
because something typed was wrong, the number is given back.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from types import TracebackType
from typing import Final

from aiohttp import web

from keystile.management.context import services
from keystile.management.entry import Identity
from keystile.storage.errors import StoreError

log = logging.getLogger(__name__)
_NUMBER: Final = re.compile(r"[0-9a-f]{32}")


def new_form() -> str:
    """Return a number for a form."""
    return secrets.token_hex(16)


class Turn:
    """The turn of one sending: ``async with Turn(…) as turn``; ``turn.first`` says whether it is the first.

    Only one of two sendings at once is. ``done`` keeps the number taken; leaving without it gives the number back.
    A form without a number of ours was not made by a page, and has nothing to be repeated.
    """

    def __init__(self, request: web.Request, identity: Identity, number: str) -> None:
        self._access = services(request).access
        self._account = identity.account.id
        self.number = number if _NUMBER.fullmatch(number) else new_form()
        self._request = hashlib.sha256(request.path.encode()).digest()
        self.first = False
        self._done = False

    async def __aenter__(self) -> Turn:
        self.first = await self._access.claim(self._account, self._key, self._request) is None
        return self

    async def done(self, reference: str, status: int = 200) -> None:
        """Keep that the work is done; ``reference`` names what was made."""
        self._done = True
        try:
            await self._access.remember(self._account, self._key, self._request, status, reference)
        except StoreError:
            # The number stays taken either way, and the secret in hand can be shown only now.
            log.warning("what a form has done could not be noted", exc_info=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.first and not self._done:
            await self._access.forget(self._account, self._key)

    @property
    def _key(self) -> str:
        # Apart from the API's own Idempotency-Keys, which callers choose.
        return f"form {self.number}"
