"""Turns as a run brings them, without a run."""

from __future__ import annotations

from typing import Any

from bench.load import Pace, Result
from bench.processes import Cpu
from bench.turn import Turn

RUN: dict[str, Any] = {
    "date": "2026-11-28T08:00:00+00:00",
    "command": "python -m bench",
    "machine": "2 cores, some processor",
    "gateways": {"keystile": "Keystile 0.1.0", "haproxy": "HAProxy 2.6.12", "caddy": "Caddy 2.11.7"},
    "left out": {"caddy": ["SHA-256 of the secret", "the cap for each address"]},
}


def turn(gateway: str, micro: float = 20.0, *, case: str = "same", number: int = 1, start: float | None = 0.5) -> Turn:
    """1,000 requests in a second, ``micro`` µs of CPU each: three quarters of it user time."""
    seconds = micro * 1000 / 1e6
    load = Result(1000, 1.0, 1500, 3000, {}, 0.1)
    cpu = Cpu(0.75 * seconds, 0.25 * seconds, seconds)
    return Turn(number, case, gateway, cpu, [(gateway, seconds)], load, 0.01, 0.02, 10 * 2**20, start)


def paced(gateway: str, p50: float, p99: float, *, number: int = 1, rate: float = 2000.0, late: float = 30.0) -> Turn:
    """A turn at a fixed rate, latencies in microseconds."""
    pace = Pace(rate, 5.0, late, 90.0, 0)
    load = Result(1000, 1.0, p50, p99, {}, 0.1, pace)
    return Turn(number, "latency", gateway, Cpu(0.01, 0.01, 0.02), [], load, 0.01, 0.0, 2**20, None)
