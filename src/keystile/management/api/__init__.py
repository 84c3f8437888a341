"""The management API below ``/api``.

Law: the routes, as the application takes them; the story of a call begins in ``operation.py``.
"""

from __future__ import annotations

from aiohttp import web


def routes() -> list[web.RouteDef]:
    """The routes of all operations."""
    # Here and not above: whoever refuses a call outside of an operation imports ``problems`` from this package.
    from keystile.management.api.openapi import operations

    return [operation.route() for operation in operations()]
