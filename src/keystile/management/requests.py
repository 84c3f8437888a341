"""Requests by route and by key, for metrics: sums that relays hand over, added up.

Law: bounded, whatever is called: from ``MOST`` lines on, what is new is counted in one line for all others. Where they
are kept over the end of a process is the caller's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
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

    def __init__(self, family: str, texts: Callable[..., dict[str, str]], *names: str) -> None:
        self._family = family
        self._texts = texts
        self._others = labels(**dict.fromkeys(names, OTHER))
        self._labels: dict[tuple[Any, ...], str] = {}
        self._counts: dict[str, int] = {}

    def add(self, place: tuple[Any, ...], requests: int) -> None:
        text = self._labels.get(place)
        if text is None:
            if place and len(self._labels) < MOST:
                text = self._labels[place] = labels(**self._texts(*place))
            else:
                text = self._others
        self._counts[text] = self._counts.get(text, 0) + requests

    def kept(self) -> list[list[Any]]:
        """``[[*place, requests], …]``; that of all others has no place."""
        known = [[*place, self._counts[text]] for place, text in self._labels.items()]
        others = sum(self._counts.values()) - sum(row[-1] for row in known)
        return [*known, [others]] if others else known

    def restore(self, rows: Iterable[list[Any]]) -> None:
        self._labels.clear()
        self._counts.clear()
        for *place, requests in rows:
            self.add(tuple(place), requests)

    def samples(self) -> list[Sample]:
        return [(self._family, text, requests) for text, requests in self._counts.items()]


class RequestCounts:
    """``add_routes`` and ``add_usage`` take what relays send; ``samples`` is what the settings ask for of it.

    ``fresh``: something was added; whoever has kept it sets it back.
    """

    def __init__(self) -> None:
        self._routes = _Lines("route_requests_total", _route, "method", "route", "status", "refusal")
        self._keys = _Lines("key_requests_total", _key, "key", "problem")
        self.fresh = False

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
        self.fresh = True
        for each, requests in rows:
            lines.add(each, requests)

    def kept(self) -> dict[str, list[list[Any]]]:
        """All of it, for JSON; ``restore`` goes on from there."""
        return {"routes": self._routes.kept(), "keys": self._keys.kept()}

    def restore(self, kept: Mapping[str, list[list[Any]]]) -> None:
        """Go on from what was ``kept``, instead of what is here."""
        self._routes.restore(kept["routes"])
        self._keys.restore(kept["keys"])

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
