"""The running gateway, for operators.

Law: translation only; looking is done by ``management/look.py``. No client address and no key is shown.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from keystile.management import look
from keystile.management.api.answers import Answer, Moment, respond
from keystile.management.api.moments import written
from keystile.management.api.operation import Call, Caller, Operation, Success
from keystile.storage.hosts import HostState


class Configuration(Answer):
    """The accepted configuration."""

    version: int
    file: str
    store: str
    warnings: list[str]
    fault: Annotated[str | None, Field(description="Why the file as it is now was not taken.")]


class Health(Answer):
    """Why the gateway does not do its work, and what is wrong while it does."""

    status: Literal["ok", "degraded", "failing"]
    reasons: list[str]
    warnings: list[str]


class Process(Answer):
    """One process."""

    role: Literal["management", "relay"]
    pid: int
    state: Literal["up", "stuck"]


class Slots(Answer):
    """Slots taken by all client addresses, by the one that has most, and how many one address may take."""

    taken: int
    highest: int
    cap: int


class Traffic(Answer):
    """Counts since the gateway's start."""

    requests: int
    in_flight: int
    connections: int
    answers: dict[str, int]
    refused: dict[str, int]
    tls: dict[str, int]


class Server(Answer):
    """A server of an upstream."""

    address: str
    reachable: bool
    trouble: str
    left_out: Annotated[str, Field(description="Why relays send it nothing; empty where all do.")]


class Upstream(Answer):
    """An upstream and its servers."""

    name: str
    servers: list[Server]


class CertificateEnd(Answer):
    """A certificate that listeners show to clients, or this gateway to upstreams."""

    place: Annotated[str, Field(description="Who shows it.")]
    file: str
    names: list[str]
    ends: Moment


class Host(Answer):
    """A gateway that shares the store, as it says of itself every few seconds."""

    id: str
    name: str
    here: Annotated[bool, Field(description="It is the one that answers.")]
    heard: Annotated[bool, Field(description="It was heard of within the last 15 seconds.")]
    last_heard: Moment
    running_since: Moment
    version: str
    build: str
    schema_known: Annotated[int, Field(description="The newest schema of the store that its program knows.")]
    configuration: Annotated[int, Field(description="The number that its log lines and metrics carry.")]
    settings: Annotated[str, Field(description="The same on hosts that run by the same settings, and only there.")]
    slots: Annotated[str, Field(description="Where it counts them.")]
    health: Literal["ok", "degraded", "failing"]
    troubles: list[str]


class Status(Answer):
    """The running gateway."""

    configuration: Configuration
    health: Health
    processes: list[Process]
    restarts: int
    slots: Slots
    traffic: Traffic
    dropped: dict[str, int]
    upstreams: list[Upstream]
    certificates: list[CertificateEnd]
    hosts: Annotated[list[Host], Field(description="Those that share the store; none where it is a file.")]
    host_differences: Annotated[list[str], Field(description="In what heard hosts differ; that this one is cut off.")]


async def get_status(call: Call[None]) -> web.Response:
    """Answer with the gateway as it is now."""
    status = await call.parts.look.status()
    return respond(_said(status, await call.parts.look.upstreams()))


def _said(status: look.Status, upstreams: tuple[look.UpstreamState, ...]) -> Status:
    made, health, slots, traffic = status.configuration, status.health, status.slots, status.traffic
    return Status(
        configuration=Configuration(
            version=made.version,
            file=made.file,
            store=made.store,
            warnings=list(made.warnings),
            fault=made.fault or None,
        ),
        health=Health.model_validate(
            {"status": health.status, "reasons": list(health.reasons), "warnings": list(health.warnings)}
        ),
        processes=[Process(role=each.role, pid=each.pid, state=each.state) for each in status.processes],
        restarts=status.restarts,
        slots=Slots(taken=slots.taken, highest=slots.highest, cap=slots.cap),
        traffic=Traffic(
            requests=traffic.requests,
            in_flight=traffic.in_flight,
            connections=traffic.connections,
            answers=dict(traffic.answers),
            refused=dict(traffic.refused),
            tls=dict(traffic.tls),
        ),
        dropped=dict(status.dropped),
        upstreams=[_upstream(each) for each in upstreams],
        certificates=[
            CertificateEnd(place=each.place, file=each.file, names=list(each.names), ends=written(each.ends))
            for each in status.certificates
        ],
        hosts=[_host(each) for each in status.hosts],
        host_differences=list(status.host_differences),
    )


def _host(state: HostState) -> Host:
    says = state.says
    return Host.model_validate(
        {
            "id": says.id,
            "name": says.name,
            "here": state.here,
            "heard": state.is_heard,
            "last_heard": written(state.heard),
            "running_since": written(state.since),
            "version": says.program,
            "build": says.build,
            "schema_known": state.knows,
            "configuration": says.configuration,
            "settings": says.settings,
            "slots": says.slots,
            "health": says.health,
            "troubles": list(says.troubles),
        }
    )


def _upstream(state: look.UpstreamState) -> Upstream:
    servers = [
        Server(address=each.address, reachable=each.reachable, trouble=each.trouble, left_out=each.left_out)
        for each in state.servers
    ]
    return Upstream(name=state.name, servers=servers)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/status",
        "getStatus",
        "The running gateway: processes, slots, traffic, upstreams, configuration and faults",
        get_status,
        {200: Success(Status, "The gateway as it is now.")},
        caller=Caller.OPERATOR,
    ),
)
"""The row of this file."""
