"""Requests by route and by key, for metrics: sums that relays hand over, added up as long as this process lives.

Law: bounded, whatever is called: from ``MOST`` lines on, what is new is counted in one line for all others. They begin
at nought with a new management process, as counters of Prometheus may; what relays count themselves does not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from keystile.config.model import Metrics
from keystile.management.metrics import Sample, labels

log = logging.getLogger(__name__)

MOST: Final = 10_000
"""Lines by route, and lines by key, that metrics have."""
NONE: Final = "none"
"""The label's value where there was no route, no answer, no refusal."""
OTHER: Final = "other"


class _Lines:
    """Counts under labels: what ``texts`` makes of a place, once for each."""

    def __init__(self, family: str, texts: Callable[..., dict[str, str]]) -> None:
        self._family = family
        self._texts = texts
        self._labels: dict[tuple[Any, ...], str] = {}
        self._counts: dict[str, int] = {}

    def add(self, place: tuple[Any, ...], requests: int) -> None:
        text = self._labels.get(place)
        if text is None:
            text = labels(**self._texts(*place))
            if len(self._labels) < MOST:
                self._labels[place] = text
            else:
                text = labels(**dict.fromkeys(self._texts(*place), OTHER))
        self._counts[text] = self._counts.get(text, 0) + requests

    def samples(self) -> list[Sample]:
        return [(self._family, text, requests) for text, requests in self._counts.items()]


class RequestCounts:
    """``add_routes`` and ``add_usage`` take what relays send; ``samples`` is what the settings ask for of it."""

    def __init__(self) -> None:
        self._routes = _Lines("route_requests_total", _route)
        self._keys = _Lines("key_requests_total", _key)

    def add_routes(self, payload: bytes) -> None:
        """JSON ``[[methods, template, status, refusal, requests], …]``; what is none is logged and left out."""
        self._add(self._routes, payload, lambda row: (str(row[0]), str(row[1]), int(row[2]), str(row[3])))

    def add_usage(self, payload: bytes) -> None:
        """JSON as ``UsageWriter`` has it: ``[[key id, hour, problem, requests], …]``."""
        self._add(self._keys, payload, lambda row: (str(row[0]), str(row[2])))

    def _add(self, lines: _Lines, payload: bytes, place: Callable[[Any], tuple[Any, ...]]) -> None:
        try:
            rows = [(place(row), int(row[-1])) for row in json.loads(payload)]
        except (ValueError, TypeError, IndexError) as error:
            log.warning("sums of requests from a relay cannot be read: %s", error)
            return
        for each, requests in rows:
            lines.add(each, requests)

    def samples(self, wanted: Metrics) -> Iterable[Sample]:
        """Those by route, those by key, or neither."""
        if wanted.routes:
            yield from self._routes.samples()
        if wanted.keys:
            yield from self._keys.samples()


def _route(methods: str, template: str, status: int, refusal: str) -> dict[str, str]:
    return {
        "method": methods or NONE,
        "route": template or NONE,
        "status": str(status) if status else NONE,
        "refusal": refusal or NONE,
    }


def _key(key_id: str, problem: str) -> dict[str, str]:
    return {"key": key_id, "problem": problem or NONE}
