"""The load: wrk as fast as answers come, or an open loop at a fixed rate; requests as real clients send them.

Law: knows HTTP requests and both programs; gateways are a port to it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.cases import CONNECTIONS as CONNECTIONS
from bench.cases import Case
from bench.keyset import KeySet

VARIED_REQUESTS = 50_000
HOST = "api.example.com"
SAME_TARGET = "/v4/contacts?limit=100&offset=0"
FIELDS = {
    "Host": HOST,
    "User-Agent": "OpenAPI-Generator/4.4.0/python",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
}
SCRIPT = Path(__file__).with_name("load.lua")
OPEN_LOOP = Path(__file__).with_name("open_loop.py")
RATE = 2000.0
"""Requests a second of a paced case: what the slowest of the gateways carries as well."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How an open loop kept its schedule: requests a second, and in microseconds how late it sent them.

    ``waited``: how many found no connection free, which their latency counts and the lateness does not.
    """

    rate: float
    late_p50: float
    late_p99: float
    late_most: float
    waited: int


@dataclass(frozen=True, slots=True)
class Result:
    """What the load saw: complete answers, seconds, latency in microseconds, and its own CPU seconds.

    ``pace``: of a paced case, whose latency counts from the scheduled moment.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    faults: dict[str, int]
    cpu: float
    pace: Pace | None = None


class Load:
    """The requests of one bench: made once, sent to whichever port."""

    def __init__(self, keys: KeySet, directory: Path, core: int, rate: float = RATE) -> None:
        self.core = core
        self.rate = rate
        self.secrets = secrets_of(keys)
        self.varied = directory / "varied.requests"
        with self.varied.open("wb") as file:
            for request in varied_requests(keys):
                file.write(b"%d\n%b" % (len(request), request))
        self.same = directory / "same.request"
        self.same.write_bytes(rendered(SAME_TARGET, {**FIELDS, "X-Api-Key": self.secrets["any"]}))

    def run(self, case: Case, port: int, seconds: float, first: int = 0) -> Result:
        """Load 127.0.0.1:``port`` for about ``seconds``; raises RuntimeError when the program that does it fails.

        ``first``: the client to begin with, where a case has many addresses.
        """
        environment = dict(os.environ)
        if case.load == "varied":
            environment["BENCH_REQUESTS"] = str(self.varied)
        environment["BENCH_BODY"] = str(case.body)
        environment["BENCH_ADDRESSES"] = str(case.addresses)
        environment["BENCH_FIRST"] = str(first)
        before = _children_cpu()
        done = subprocess.run(
            self.command(case, port, seconds), env=environment, capture_output=True, text=True, timeout=seconds + 30
        )
        return _result(done, _children_cpu() - before, case.refused)

    def command(self, case: Case, port: int, seconds: float) -> list[str]:
        """wrk, or the open loop where ``case`` is paced, on the core of the load."""
        if case.paced:
            return [
                *("taskset", "-c", str(self.core), sys.executable, "-I", str(OPEN_LOOP), "--port", str(port)),
                *("--rate", f"{self.rate:g}", "--seconds", f"{seconds:g}", "--request", str(self.same)),
                *("--connections", str(case.connections)),
            ]
        fields = {**FIELDS, "X-Api-Key": self.secrets[case.secret]}
        if case.anew:
            fields["Connection"] = "close"
        return [
            *("taskset", "-c", str(self.core), "wrk", "-t", "1", "-c", str(case.connections)),
            *("-d", f"{max(1, round(seconds))}s", "-s", str(SCRIPT)),
            *(part for name, value in fields.items() for part in ("-H", f"{name}: {value}")),
            f"{'https' if case.tls else 'http'}://127.0.0.1:{port}{case.target or SAME_TARGET}",
        ]


def secrets_of(keys: KeySet) -> dict[str, str]:
    """The secret by which a case asks, by what the case calls it."""
    return {
        "any": keys.keys[0].secret,
        "modifies": next((key.secret for key in keys.keys if "ModifyContacts" in key.scopes), ""),
        "narrow": keys.narrow.secret,
        "unknown": keys.unknown,
    }


def varied_requests(keys: KeySet) -> list[bytes]:
    """Requests that differ from one another in target, key and traceparent; the same list at every call."""
    dice = random.Random(600)
    targets = [TARGETS[number % len(TARGETS)](dice) for number in range(VARIED_REQUESTS)]
    return [_request(target, dice.choice(keys.keys).secret, dice) for target in targets]


# Five calls of the real API that every key of the load may make; clients write @ as %40 in a path.
TARGETS: tuple[Callable[[random.Random], str], ...] = (
    lambda dice: f"/v4/contacts?limit={dice.randint(1, 1000)}&offset={dice.randint(0, 10**6)}",
    lambda dice: f"/v4/contacts/person{dice.randint(0, 10**9)}%40example.com",
    lambda dice: f"/v4/campaigns/spring-{dice.randint(0, 10**6)}",
    lambda dice: f"/v4/lists/list{dice.randint(0, 10**5)}/contacts?limit={dice.randint(1, 1000)}",
    lambda dice: f"/v4/emails/{dice.randbytes(16).hex()}/status?showFailed=true",
)


def _request(target: str, secret: str, dice: random.Random) -> bytes:
    fields = {
        **FIELDS,
        "X-Api-Key": secret,
        "traceparent": f"00-{dice.randbytes(16).hex()}-{dice.randbytes(8).hex()}-01",
    }
    return rendered(target, fields)


def rendered(target: str, fields: dict[str, str]) -> bytes:
    """A GET as it goes over the wire."""
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def _result(done: subprocess.CompletedProcess[str], cpu: float, refused: int) -> Result:
    """``refused``: the status of every answer, which wrk then counts as a fault."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("BENCH ")]
    if done.returncode or not lines:
        raise RuntimeError(f"the load failed ({done.returncode}): {done.stderr or done.stdout}")
    said = json.loads(lines[0].removeprefix("BENCH "))
    faults = {name: count for name, count in said["faults"].items() if count}
    if refused and (counted := faults.pop("status", 0)) != said["requests"]:
        faults["let in"] = said["requests"] - counted
    pace = Pace(**said["pace"]) if "pace" in said else None
    return Result(said["requests"], said["microseconds"] / 1e6, said["p50"], said["p99"], faults, cpu, pace)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
