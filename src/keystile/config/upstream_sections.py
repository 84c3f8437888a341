"""Upstreams in gateway.yaml: servers and how they are chosen, asked and left out. Law: as for ``document.py``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from keystile.config import kinds
from keystile.config.kinds import (
    BalanceChoice,
    Duration,
    DurationOrZero,
    Flag,
    HostChoice,
    MostInFlight,
    ProbePath,
    ServerName,
    ServerUrl,
    Share,
    ShareOrNone,
    Statuses,
    Text,
    Version,
)
from keystile.config.section import Section, needed, setting


class UpstreamTlsSection(Section):
    """TLS to the servers of one upstream."""

    ca: Text | None = setting(
        None, description="PEM file of who may sign the servers' certificates; null: whom this machine trusts."
    )
    server_name: ServerName = setting(
        None, description="The host name to ask for and to verify; null for the one in the server's address."
    )
    certificate: Text | None = setting(None, description="PEM file with the certificate that the gateway shows.")
    private_key: Text | None = setting(None, description="PEM file with its private key, without a passphrase.")
    minimum_version: Version = setting("1.2", description="The oldest TLS version that is spoken: 1.2 or 1.3.")
    verify: Flag = setting(True, description="false takes any certificate: whoever is in between reads every key.")


class ServerSection(Section):
    """One server with a share of its own."""

    url: ServerUrl = needed(description="http://host:port, https://host:port, or unix: and the path of a socket.")
    weight: Annotated[int, kinds.whole(1, 100)] = setting(
        1, description="How many requests it gets where one of weight 1 gets one."
    )


def kind_of_server(value: Any) -> str:
    """A mapping, or a server alone."""
    return "<server>" if isinstance(value, dict) else "<url>"


AnyServer = Annotated[
    Annotated[ServerSection, Tag("<server>")] | Annotated[ServerUrl, Tag("<url>")], Discriminator(kind_of_server)
]


class HealthCheckSection(Section):
    """How the management process asks servers whether they are well."""

    path: ProbePath = needed(description="The path that is asked for with GET, such as /health.")
    interval: Duration = setting("5s", description="How long from one question to the next.")
    timeout: Duration = setting("2s", description="How long connecting and the answer's head may take, together.")
    healthy_after: Annotated[int, kinds.whole(1, 100)] = setting(
        2, description="How many good answers in a row bring a server back."
    )
    unhealthy_after: Annotated[int, kinds.whole(1, 100)] = setting(
        3, description="How many bad answers, or none, in a row take a server out."
    )
    statuses: Statuses = setting("200-399", description="The statuses of a good answer; redirects are not followed.")


class BreakerSection(Section):
    """When a relay stops sending to a server by what it sees itself."""

    connect_failures: Annotated[int, kinds.whole(1, 1000)] = setting(
        5, description="How many connections in a row that cannot be made take a server out."
    )
    errors: Share = setting("50%", description="The share of 5xx and broken answers that takes a server out.")
    of_at_least: Annotated[int, kinds.whole(1, 100_000)] = setting(
        20, description="How many requests there must have been for that share to mean something."
    )
    within: Duration = setting("10s", description="Over how long both are counted.")
    open_for: Duration = setting(
        "1s",
        description="How long it stays out before one request tries it; twice as long after each try that fails, "
        "up to 12 times.",
    )
    even_the_last: Flag = setting(
        False,
        description="true: errors may take out the last server too. By default only failing connections may, since "
        "one caller's errors should not shut out all.",
    )


class QueueSection(Section):
    """Requests that wait for a server with room."""

    size: Annotated[int, kinds.whole(0, 100_000)] = setting(
        100, description="How many requests may wait on each relay; more are refused (503)."
    )
    wait_up_to: Duration = setting("1s", description="How long one may wait before it is refused (503).")


class RetriesSection(Section):
    """Requests that are sent again, to another server, when the first gave no byte of an answer."""

    attempts: Annotated[int, kinds.whole(0, 10)] = setting(
        1, description="How often one idempotent request may be sent again; 0 for never."
    )
    budget: ShareOrNone = setting(
        "20%", description="How many of the last ten seconds' requests may be sent again; three always may."
    )


class UpstreamSection(Section):
    """The API behind the gateway."""

    servers: list[AnyServer] = needed(
        min_length=1,
        max_length=100,
        description="Servers: http://host:port, unix:run/api.sock, or all of them https://host:port; or {url, weight}.",
    )
    tls: UpstreamTlsSection | None = setting(
        None, description="TLS to https servers; without it they are verified against what this machine trusts."
    )
    host: HostChoice = setting(
        "upstream", description="The Host field it gets: the server's own name, or preserve the client's."
    )
    case_insensitive: Flag = setting(
        False, description="It takes /Admin for /admin, so paths that could mean both are compared so, too."
    )
    ignores_extensions: Flag = setting(
        False, description="It takes /admin.json for /admin (Rails, Spring before 5.3), so both are compared."
    )
    undecoded_literals: Flag = setting(
        False, description="It does not take /%61dmin for /admin (Express), so both readings are compared."
    )
    balance: BalanceChoice = setting(
        "round_robin",
        description="Which server is next: round_robin, least_in_flight, or by hash_key or hash_address, where the "
        "requests of one key or address go to one server as long as it is there.",
    )
    health_check: HealthCheckSection | None = setting(
        None, description="Ask the servers whether they are well; null: only what requests show counts."
    )
    breaker: BreakerSection | None = setting(
        {}, description="Leave out servers that cannot be connected to or answer with errors; null: never."
    )
    slow_start: DurationOrZero = setting(
        "0s", description="How long the share of a server that comes back grows until it is whole."
    )
    max_in_flight: MostInFlight = setting(
        "none", description="How many requests each relay has in flight at each server; or none."
    )
    queue: QueueSection = setting({}, description="Where max_in_flight is reached everywhere, requests wait here.")
    retries: RetriesSection = setting(
        {}, description="Idempotent requests are sent again, to another server, before any byte of an answer."
    )
    resolve_every: Duration = setting("30s", description="How often the names of servers are looked up again.")
