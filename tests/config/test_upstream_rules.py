from __future__ import annotations

from collections.abc import Callable

import pytest

from keystile.config.model import Settings
from keystile.config.upstream_rules import MOST_SERVERS
from keystile.limits.servers import MOST_SERVERS as PLACES

Lines = Callable[[str], list[str]]
Load = Callable[[str], Settings]


def upstream(text: str) -> str:
    return f"upstreams: {{api: {{{text}}}}}\nroutes: [{{path: /x, scope: X, upstream: api}}]"


TWO = 'servers: ["http://a", "http://b"]'


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ('servers: ["http://a", {url: "http://a"}]', "servers[1].url", "stands twice in this list"),
        ('servers: ["http://a", {url: "http://b", weight: 0}]', "servers[1].weight", "is not a whole number from 1"),
        ('servers: ["http://a", {weight: 2}]', "servers[1].url", "is missing"),
        ('servers: [{url: "https://a"}, "unix:run/b"]', "servers[1]", "write all servers of an upstream as https"),
        (f"{TWO}, balance: random", "balance", "is not known here; write round_robin or least_in_flight"),
        (f"{TWO}, queue: {{size: 1}}", "queue", "has no meaning without max_in_flight"),
        (f"{TWO}, max_in_flight: 0", "max_in_flight", "write none, or a whole number from 1"),
        (f"{TWO}, health_check: {{interval: 1s}}", "health_check.path", "is missing"),
        (f"{TWO}, health_check: {{path: /h, interval: 1s, timeout: 2s}}", "health_check.timeout", "is longer than"),
        (f"{TWO}, health_check: {{path: /h, interval: 1s}}", "health_check.interval", "is shorter than the timeout"),
        (f"{TWO}, health_check: {{path: 'h'}}", "health_check.path", "write a path such as /health"),
        (f"{TWO}, health_check: {{path: /h, statuses: 399-200}}", "health_check.statuses", "is no range of statuses"),
        (f"{TWO}, breaker: {{errors: 0%}}", "breaker.errors", "is not a share; write a whole number with %"),
        (f"{TWO}, breaker: {{error: 5%}}", "breaker.error", "did you mean errors?"),
        (f"{TWO}, retries: {{budget: 0.2}}", "retries.budget", "is not a share"),
        (f"{TWO}, slow_start: 5", "slow_start", "is not a duration"),
    ],
)
def test_each_fault_is_told_with_its_place_and_what_to_write(lines_of: Lines, text: str, path: str, said: str) -> None:
    lines = lines_of(upstream(text))
    assert [one for one in lines if one.startswith(f"gateway.yaml:1: upstreams.api.{path}: ") and said in one], lines


def test_there_are_as_many_servers_as_there_are_places_for(lines_of: Lines) -> None:
    assert MOST_SERVERS <= PLACES
    hundred = ", ".join(f"http://s{number}" for number in range(100))
    some = ", ".join(f"u{at}: {{servers: [{hundred}]}}" for at in range(41))
    text = f"upstreams: {{{some}}}\nroutes: [{{path: /x, scope: X, upstream: u0}}]"
    [line] = lines_of(text)
    assert "upstreams.u40.servers: brings the servers of all upstreams to 4100" in line


def test_what_does_nothing_with_one_server_is_a_remark_and_no_fault(load_text: Load) -> None:
    warnings = load_text(upstream('servers: ["http://a"], slow_start: 5s, retries: {attempts: 0}')).warnings
    assert [warning.partition("gateway.yaml:1: ")[2] for warning in warnings] == [
        "upstreams.api.retries: does nothing as long as there is one server",
        "upstreams.api.slow_start: does nothing as long as there is one server",
    ]
