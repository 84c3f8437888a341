"""An API that serves a whole OpenAPI document: every operation answers with a value of its schema.

Law: it asks for no key, as an API behind a gateway does, and keeps every request that came, so that a test
can say what an upstream saw. It runs in a thread of its own, since the official client blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from tests.e2e.api import Handler, in_thread, served
from tests.e2e.examples import Described, Document


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the API got it. ``path`` as it was sent, with its query; ``fields`` in order."""

    operation: str
    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str:
        """The value of the one field of this name."""
        (value,) = [value for given, value in self.fields if given.lower() == name.lower()]
        return value

    @property
    def all(self) -> str:
        """All of it as text: to look for what must not be there."""
        return f"{self.path}\n{self.fields}\n{self.body.decode('latin-1')}"


class Backend:
    """The document's operations below ``prefix``; all other paths answer 404."""

    def __init__(self, document: Document, prefix: str) -> None:
        self.received: list[Received] = []
        self.port = 0
        self._document = document
        # Two path items may have one shape, with other parameter names; aiohttp takes the first that has the method.
        self._routes = [
            web.route(each.method, prefix + each.path, self._answering(each)) for each in document.operations()
        ]

    def _answering(self, operation: Described) -> Handler:
        status, media_type, schema = operation.answer

        async def answer(request: web.Request) -> web.Response:
            body = await request.read()
            fields = tuple(request.headers.items())
            self.received.append(Received(operation.name, request.method, request.raw_path, fields, body))
            if schema is None:
                return web.Response(status=status)
            value = self._document.example(schema)
            if media_type == "application/json":
                return web.json_response(value, status=status)
            return web.Response(status=status, body=value.encode(), content_type="application/octet-stream")

        return answer

    def last(self) -> Received:
        return self.received[-1]

    @contextmanager
    def running(self) -> Iterator[Backend]:
        """Serve on a free port while the block lasts."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(self._routes)
        with in_thread(served(app)) as self.port:
            yield self
