"""What is known of upstreams' servers, from the health checks and from all relays: for people, health and metrics.

Law: bytes and settings in, values out. Where the bytes come from is the caller's; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from keystile.config.model import Settings
from keystile.limits.servers import DOWN, UNKNOWN, UP
from keystile.management.metrics import Sample, labels


@dataclass(frozen=True, slots=True)
class SeenServer:
    """A server; ``checked``: what the health checks say, empty where nothing asks or nothing is known yet.

    ``left_out``: how many of ``relays`` send it nothing, by what they have seen of it themselves.
    """

    upstream: str
    address: str
    checked: Literal["up", "down", ""]
    left_out: int
    relays: int

    @property
    def used(self) -> bool:
        """Whether any relay sends it requests."""
        return self.checked != "down" and (self.left_out < self.relays or not self.relays)

    @property
    def trouble(self) -> str:
        """Why not all do, in words; empty where all do."""
        said = ["the health checks find it down"] if self.checked == "down" else []
        if self.left_out:
            said.append(f"left out by {self.left_out} of {self.relays} relays")
        return ", ".join(said)


def seen(settings: Settings, checks: bytes, relays: Sequence[bytes]) -> tuple[SeenServer, ...]:
    """Every server, in the order of the settings. ``checks`` and each of ``relays``: a byte for each, or fewer."""
    found: list[SeenServer] = []
    for upstream in settings.upstreams:
        for server in upstream.servers:
            at = len(found)
            asked = upstream.health_check is not None and at < len(checks)
            state = checks[at] if asked else UNKNOWN
            left_out = sum(at < len(one) and one[at] not in (UNKNOWN, UP) for one in relays)
            checked: Literal["up", "down", ""] = "up" if state == UP else "down" if state == DOWN else ""
            found.append(SeenServer(upstream.name, server.address, checked, left_out, len(relays)))
    return tuple(found)


def trouble(servers: Sequence[SeenServer]) -> str | None:
    """For health: which upstreams lack servers. No address is told: health is for everybody who can reach it."""
    said = list(_lacking(servers))
    return ", ".join(said) or None


def _lacking(servers: Sequence[SeenServer]) -> Iterator[str]:
    for name, group in groupby(servers, key=lambda one: one.upstream):
        members = list(group)
        lost = sum(not one.used for one in members)
        if lost == len(members):
            yield f"{name} has none that is used"
        elif lost:
            yield f"{name} lacks {lost} of {len(members)}"


def samples(servers: Sequence[SeenServer]) -> list[Sample]:
    """For metrics: whether each is used, and how many relays leave it out."""
    found: list[Sample] = []
    for one in servers:
        said = labels(upstream=one.upstream, server=one.address)
        found.append(("upstream_server_up", said, int(one.used)))
        found.append(("upstream_breaker_open", said, one.left_out))
    return found
