"""The fields of a key on a page, for making one and for editing one.

Law: this file hands templates what they show; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from keystile.management.context import services
from keystile.management.identity import client_address
from keystile.management.pages.key_forms import Faults, Typed, first_day
from keystile.management.pages.layout import render


async def form_page(
    request: web.Request,
    template: str,
    form: Typed,
    faults: Faults,
    *,
    status: int = 200,
    remarks: Mapping[str, str] | None = None,
    **more: object,
) -> web.Response:
    """Show the form with these fields, faults beside them, and remarks on what was saved meanwhile."""
    parts = services(request)
    await parts.catalogue.read()
    address = client_address(request)
    known = frozenset(parts.catalogue.full)
    common: dict[str, object] = {
        "form": form,
        "faults": faults,
        "remarks": remarks or {},
        "areas": parts.catalogue.areas,
        # Those of an imported key, or of routes that are gone: unticking them has to be somebody's own doing.
        "unknown": sorted(form.chosen - known),
        "first_day": first_day(parts.clock()),
        "address": "" if address == "unknown" else address,
    }
    return render(request, template, status=status, **(common | more))
