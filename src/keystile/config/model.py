"""The settings of one gateway: frozen, with real types, nothing left to parse.

Law: this file knows what may be set and nothing of how it is written down
(``load.py``) or used. It imports nothing heavier than the standard library,
because every relay unpickles these objects at its start.

Units: every duration is a ``float`` of seconds, every size an ``int`` of bytes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from keystile.config.log_fields import DEFAULT_FIELDS, DEFAULT_REDACTED

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate (with those that sign it) and its key: absolute paths of PEM files."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A time in which older versions are refused for trial: Unix seconds, ``start`` inclusive, ``end`` exclusive."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Legacy:
    """Older versions until a day. ``retire_at``: Unix seconds of 00:00 UTC of it; ``rehearsals`` by their start."""

    minimum_version: Literal["1.0", "1.1"]
    retire_at: float
    rehearsals: tuple[Rehearsal, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Certificates that clients show, signed by one in the PEM file ``ca``; ``required``: none without."""

    ca: Path
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS policy of one listener. ``certificates``: at least one; the first answers where no name fits.

    ``minimum_version`` is 1.3 with the profile ``modern``. ``hsts``: whole seconds, None for no field.
    """

    certificates: tuple[Certificate, ...]
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    profile: Literal["intermediate", "modern"] = "intermediate"
    legacy: Legacy | None = None
    client_certificates: ClientCertificates | None = None
    hsts: float | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that clients connect to. ``host`` is an IP address without brackets; port 0 means any free one.

    ``proxy_protocol``: every connection begins with a PROXY protocol header, and comes from a trusted proxy.
    ``redirect`` (without ``tls`` only): the https origin to which every request is sent (308).
    ``plain_http`` (without ``tls`` only): whether keys that came in clear are taken.
    """

    host: str
    port: int
    tls: Tls | None = None
    proxy_protocol: bool = False
    redirect: str | None = None
    plain_http: Literal["allow", "refuse_keys"] = "allow"


@dataclass(frozen=True, slots=True)
class Management:
    """Where page, management API, health and metrics are served."""

    host: str = "127.0.0.1"
    port: int = 8081
    tls: Tls | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How many keys an account may own and where clients present them."""

    per_account: int = 15
    headers: tuple[str, ...] = ("X-Api-Key",)
    query_parameter: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """``over_limit`` when a request may wait for a slot instead of being refused at once."""

    wait_up_to: float
    waiting_per_ip: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound; durations in seconds, sizes in bytes, rates in bytes a second.

    ``connections`` (of clients, on each relay): None is as many as there are descriptors for. ``max_lag`` and
    ``max_memory`` (of each relay): None is no bound.
    """

    concurrent_requests_per_ip: int = 20
    ipv6_prefix_length: int = 64
    over_limit: Waiting | None = None
    request_timeout: float = 600.0
    head_timeout: float = 10.0
    idle_timeout: float = 75.0
    connect_timeout: float = 5.0
    max_head_size: int = 32 * 1024
    max_fields: int = 100
    max_body_size: int | None = None
    drain_timeout: float = 30.0
    min_body_rate: float | None = 512.0
    min_read_rate: float | None = 512.0
    rate_window: float = 10.0
    websocket_timeout: float = 3600.0
    websocket_idle_timeout: float = 120.0
    connections: int | None = None
    connections_per_ip: int = 256
    max_buffered: int = 256 * 1024 * 1024
    drain_wait: float = 0.0
    max_lag: float | None = 0.05
    max_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One server of an upstream: a host name or IP address (without brackets), a port, and whether it speaks TLS.

    ``unix``: the absolute path of the Unix socket that it listens on instead; ``host`` is ``localhost`` then, and
    ``port`` 0. ``weight``: its share beside those of the others.
    """

    host: str
    port: int
    tls: bool = False
    weight: int = 1
    unix: Path | None = None

    @property
    def address(self) -> str:
        """``host:port`` (an IPv6 address in brackets), or ``unix:`` and the path."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How management asks a server whether it is well: a GET of ``path``, every ``interval`` seconds.

    ``statuses``: ranges (first and last) that say so. So many answers in a row make it well or unwell.
    """

    path: str
    interval: float = 5.0
    timeout: float = 2.0
    healthy_after: int = 2
    unhealthy_after: int = 3
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a relay stops sending to a server by what it sees itself, and for how long.

    ``errors``: a share (0 to 1) of at least ``of_at_least`` requests within ``within`` seconds. ``even_the_last``:
    errors may also take out the only server that is left; connections that cannot be made always may.
    """

    connect_failures: int = 5
    errors: float = 0.5
    of_at_least: int = 20
    within: float = 10.0
    open_for: float = 1.0
    even_the_last: bool = False


@dataclass(frozen=True, slots=True)
class ServerQueue:
    """How many requests may wait for a server with room, on each relay, and for how long (seconds)."""

    size: int = 100
    wait_up_to: float = 1.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often one request may be sent again, to another server; ``budget``: share of the recent requests."""

    attempts: int = 1
    budget: float = 0.2


Balance = Literal["round_robin", "least_in_flight", "hash_key", "hash_address"]


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How servers over TLS are reached; paths are absolute, of PEM files.

    ``ca``: who may sign their certificates, None for those this machine trusts. ``server_name``: the name asked for
    and verified, None for the server's own. ``certificate`` and ``private_key``: ours, both or neither.
    """

    ca: Path | None = None
    server_name: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Upstream:
    """The API behind the gateway. ``host_field``: send the server's own name as Host, or the client's.

    ``tls``: only where the servers are https, which are so with or without it. ``breaker`` None: servers are never
    left out by what a relay sees. ``slow_start`` and ``resolve_every`` are in seconds; ``max_in_flight`` is for each
    server and relay, None for no bound.
    """

    name: str
    servers: tuple[Server, ...]
    host_field: Literal["upstream", "preserve"] = "upstream"
    case_insensitive: bool = False
    ignores_extensions: bool = False
    undecoded_literals: bool = False
    tls: UpstreamTls | None = None
    balance: Balance = "round_robin"
    health_check: HealthCheck | None = None
    breaker: Breaker | None = Breaker()
    slow_start: float = 0.0
    max_in_flight: int | None = None
    queue: ServerQueue = ServerQueue()
    retries: Retries = Retries()
    resolve_every: float = 30.0


#: The upstream's name of operations that the management process answers; no upstream of gateway.yaml may have it.
MANAGEMENT_UPSTREAM: Final = "management"


@dataclass(frozen=True, slots=True)
class ManagementRoutes:
    """The service's own key calls on the public listeners, below ``prefix`` (such as ``/v4/security``, or empty)."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Cors:
    """Which browser origins may call, with which extra request fields, and for how long (seconds) they may remember."""

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()
    max_age: int = 600


@dataclass(frozen=True, slots=True)
class Needs:
    """What a call must show: nothing (``public``), any valid key (both sets empty), or scopes.

    A key satisfies scopes when it holds every one of ``all_of`` and, where ``any_of`` is not empty, one of those.
    """

    public: bool = False
    all_of: frozenset[str] = frozenset()
    any_of: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the route table, whatever it was read from.

    ``methods``: empty means every method. ``path``: a template such as ``/v4/files/{name}`` or ``/v2/*``.
    ``source``: file and line it stands in, for people. ``row``: index of its row in gateway.yaml, whose order decides;
    -1 for those of ``management_routes``, which come first.
    """

    methods: tuple[str, ...]
    path: str
    needs: Needs
    upstream: str
    source: str
    row: int
    override: bool = False
    cors: Cors | None = None
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where access log lines go: standard output (``file`` is None) or a file; ``enabled`` False for none.

    ``fields``: the members of a line, in their order. ``redact``: query parameters (names, or with ``*`` at an end)
    whose values are not shown; those that carry keys never are.
    """

    enabled: bool = True
    file: Path | None = None
    fields: tuple[str, ...] = DEFAULT_FIELDS
    redact: tuple[str, ...] = DEFAULT_REDACTED


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Distributed tracing (W3C Trace Context).

    ``trace``: ``pass`` hands on what is valid, ``begin`` takes part and begins a trace where none came, ``off`` reads
    nothing. ``sample``: which share (0 to 1) of the traces begun here are marked as recorded. ``otlp``: the URL that
    spans of recorded exchanges are sent to.
    """

    trace: Literal["pass", "begin", "off"] = "pass"
    sample: float = 1.0
    otlp: str | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """What metrics tell besides sums: requests by ``routes``, which had any; and by ``keys``, under the keys' ids."""

    routes: bool = True
    keys: bool = False


@dataclass(frozen=True, slots=True)
class Database:
    """A store in PostgreSQL. ``options``: libpq's parameters; the password is only in its file.

    ``host_name``: how this host is called among those that share it; None: as the machine is called.
    """

    url: str
    options: tuple[tuple[str, str], ...]
    password_file: Path | None = None
    host_name: str | None = None


@dataclass(frozen=True, slots=True)
class SharedSlots:
    """Slots that are counted over many hosts, by a Valkey (or Redis) server.

    ``host`` and ``port``, and ``more`` of them: servers of which one is the primary; or, where ``sentinel`` names a
    primary, Sentinels who know it. ``tls`` None: in clear. ``min_replicas``: so many replicas have to confirm that the
    server they follow is the primary still, or nothing is lent.

    The password is in ``password_file`` or in the environment variable ``password_env``, or there is none. ``user``:
    None for the server's default. ``lease_time`` (seconds): after that long without a sign of life what a host held is
    free. ``when_unreachable``: count on each host alone, or refuse.
    """

    host: str
    port: int = 6379
    database: int = 0
    user: str | None = None
    password_file: Path | None = None
    password_env: str | None = None
    when_unreachable: Literal["per_host", "refuse"] = "per_host"
    lease_time: float = 1.0
    more: tuple[tuple[str, int], ...] = ()
    sentinel: str | None = None
    tls: UpstreamTls | None = None
    min_replicas: int = 0

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """All of them, in the order in which they are written."""
        return ((self.host, self.port), *self.more)

    @property
    def address(self) -> str:
        """``valkey://host:port/database``, without who we are."""
        scheme = ("valkeys" if self.tls else "valkey") + ("+sentinel" if self.sentinel else "")
        places = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers)
        return f"{scheme}://{places}/{f'{self.sentinel}/' if self.sentinel else ''}{self.database}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that gateway.yaml says, with defaults filled in and every path absolute."""

    file: Path
    listeners: tuple[Listener, ...]
    management: Management
    workers: int
    store: Path
    keys: KeyPolicy
    limits: Limits
    trusted_proxies: tuple[Network, ...]
    health_path: str | None
    access_log: AccessLog
    upstreams: tuple[Upstream, ...]
    operations: tuple[Operation, ...]
    trust_without_store: float = 300.0
    database: Database | None = None
    cors: Cors | None = None
    documents: tuple[Path, ...] = ()
    management_routes: ManagementRoutes | None = None
    client_address_field: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    telemetry: Telemetry = Telemetry()
    metrics: Metrics = Metrics()
    slots: SharedSlots | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def store_name(self) -> str:
        """The store for people: its file, or its database."""
        return str(self.store) if self.database is None else self.database.url


