"""What a key can be given: the permissions that routes use, and texts checked as networks.

Law: translation only; permissions come from ``management/catalogue.py``, networks are read by ``keys/networks.py``.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from keystile.keys.networks import Networks
from keystile.management import catalogue as known
from keystile.management.api.answers import Answer, respond
from keystile.management.api.operation import Call, Operation, Success
from keystile.management.api.shapes import CheckNetworks
from keystile.management.identity import client_address


class CheckedNetwork(Answer):
    """What one text says."""

    given: str
    network: Annotated[str | None, Field(description="As it would be kept; null when it is no network.")]
    trouble: Annotated[str | None, Field(description="Why it is none.")]


class CheckedNetworks(Answer):
    """What the texts say, and whether this call's own address would be allowed."""

    networks: list[CheckedNetwork]
    your_address: str
    allows_your_address: Annotated[bool | None, Field(description="null where a text is no network.")]


class OperationThatNeeds(Answer):
    """An operation of the API that needs a permission."""

    method: str
    path: str
    title: str


class Scope(Answer):
    """A permission."""

    name: str
    verb: str
    explanation: str
    operations: list[OperationThatNeeds]


class Area(Answer):
    """Permissions that belong together."""

    name: str
    scopes: list[Scope]


class Presets(Answer):
    """Permissions that are chosen together."""

    full: list[str]
    view: list[str]


class Scopes(Answer):
    """All permissions that routes use."""

    areas: list[Area]
    presets: Presets


async def get_scopes(call: Call[None]) -> web.Response:
    """Answer with all permissions that routes use."""
    catalogue = call.parts.catalogue
    await catalogue.read()
    presets = Presets(full=list(catalogue.full), view=list(catalogue.view_only))
    return respond(Scopes(areas=[_area(area) for area in catalogue.areas], presets=presets))


async def check_networks(call: Call[CheckNetworks]) -> web.Response:
    """Answer with what each text means, and whether this call's address would be allowed."""
    checked = [_checked(text) for text in call.body.allowed_networks]
    kept = [each.network for each in checked if each.network is not None]
    address = client_address(call.request)
    allows = _allows(Networks.parse(kept), address) if len(kept) == len(checked) else None
    return respond(CheckedNetworks(networks=checked, your_address=address, allows_your_address=allows))


def _allows(networks: Networks, address: str) -> bool | None:
    try:
        return networks.allows(ip_address(address))
    except ValueError:  # "unknown", where the caller has no address
        return None


def _checked(text: str) -> CheckedNetwork:
    try:
        network: str | None = Networks.parse([text]).text
        trouble = None
    except ValueError as fault:
        network, trouble = None, str(fault)
    return CheckedNetwork(given=text, network=network, trouble=trouble)


def _area(area: known.Area) -> Area:
    scopes = [
        Scope(
            name=scope.name,
            verb=scope.verb,
            explanation=scope.explanation,
            operations=[
                OperationThatNeeds(method=note.method, path=note.path, title=note.title)
                for note in scope.operations
            ],
        )
        for scope in area.scopes
    ]
    return Area(name=area.name, scopes=scopes)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/scopes",
        "getScopes",
        "The permissions that routes use, by area, and presets",
        get_scopes,
        {200: Success(Scopes, "All permissions.")},
    ),
    Operation(
        "POST",
        "/api/networks/check",
        "checkNetworks",
        "What texts mean as allowed networks; nothing is kept",
        check_networks,
        {200: Success(CheckedNetworks, "What each of them means.")},
        body=CheckNetworks,
    ),
)
"""The rows of this file."""
