"""The schema of gateway.yaml: every setting with its type, its default as one would write it, and what it does.

Law: names, types and descriptions, nothing else. What is right across several settings stands in ``rules.py``;
how a text becomes a value in ``units.py``, ``addresses.py``, ``tokens.py`` and ``templates.py``. Descriptions
go into the JSON Schema, so they are written for operators.

Defaults are written as in YAML and parsed like it; a test holds them equal to those of ``model.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_origin

from pydantic import ConfigDict, Discriminator, Tag
from pydantic.fields import FieldInfo

from keystile.config import choices, kinds
from keystile.config.database import MIRROR
from keystile.config.kinds import (
    AccessLogPlace,
    AddressField,
    AllOrAny,
    BufferSize,
    CallsPrefix,
    Cidr,
    Connections,
    Duration,
    DurationOrZero,
    FieldName,
    FilePath,
    FilePathOrNone,
    Flag,
    HeadSize,
    HostName,
    KeyField,
    LagOrNone,
    LeaseTime,
    LenderUrl,
    ListenAddress,
    LogField,
    MemoryOrNone,
    Method,
    NameOfHost,
    NoCors,
    OnlyTrue,
    Origin,
    Otlp,
    Parameter,
    Pattern,
    PlainPath,
    Prefix,
    RateOrNone,
    Redacted,
    Refuse,
    Scope,
    ScopeSource,
    ShareOrNone,
    SizeOrNone,
    SlotsPlace,
    Store,
    Template,
    Text,
    TraceChoice,
    UpstreamName,
    Variable,
    WhenUnreachable,
    WholeSeconds,
    Workers,
)
from keystile.config.listener_sections import ListenerSection, TlsSection
from keystile.config.log_fields import DEFAULT_REDACTED
from keystile.config.section import Section, named, needed, sections_in, setting
from keystile.config.upstream_sections import ServerSection, UpstreamSection, UpstreamTlsSection


class ManagementSection(Section):
    """Where page, management API, health and metrics are served."""

    address: ListenAddress = setting(
        "127.0.0.1:8081", description="IP address and port; with tls if other machines can reach it."
    )
    tls: TlsSection | None = setting(None, description="Speak TLS; needed unless the address is loopback.")
    hosts: list[HostName] = setting(
        [], description="Host names under which people open the page, besides the address itself."
    )


class KeysSection(Section):
    """How many keys an account may own and where clients present them."""

    per_account: Annotated[int, kinds.whole(1, 10_000)] = setting(15, description="How many keys an account may own.")
    headers: list[KeyField] = setting(
        ["X-Api-Key"],
        description="Fields that carry a key; each that is present counts as one. Authorization means Bearer.",
    )
    query_parameter: Parameter = setting(
        None, description="Query parameter that carries a key, such as apikey; null for none."
    )


class WaitingSection(Section):
    """How a request may wait for a slot."""

    wait_up_to: Duration = needed(description="How long a request may wait before it is refused (429).")
    waiting_per_ip: Annotated[int, kinds.whole(1, 10_000)] = setting(
        20, description="How many requests of one client address may wait on one relay."
    )


def kind_of_over_limit(value: Any) -> str:
    """A mapping, or the word for none."""
    return "<waiting>" if isinstance(value, dict) else "<refuse>"


OverLimit = Annotated[
    Annotated[WaitingSection, Tag("<waiting>")] | Annotated[Refuse, Tag("<refuse>")],
    Discriminator(kind_of_over_limit),
]


class LimitsSection(Section):
    """Every bound on what clients and servers may do."""

    concurrent_requests_per_ip: Annotated[int, kinds.whole(1, 10_000)] = setting(
        20, description="How many requests of one client address may be in flight."
    )
    ipv6_prefix_length: Annotated[int, kinds.whole(1, 128)] = setting(
        64, description="How many leading bits of an IPv6 address make one client address."
    )
    over_limit: OverLimit = setting(
        "refuse", description="What happens to a request above that: refuse (429), or wait in line for a while."
    )
    request_timeout: Duration = setting(
        "600s", description="How long a request may take, from its first byte to the last of its answer."
    )
    head_timeout: Duration = setting(
        "10s", description="Within this a request's head, and a TLS handshake, must have arrived."
    )
    idle_timeout: Duration = setting("75s", description="How long a connection may be idle between two requests.")
    connect_timeout: Duration = setting("5s", description="How long connecting to an upstream server may take.")
    max_head_size: HeadSize = setting("32KiB", description="The largest head of a request.")
    max_fields: Annotated[int, kinds.whole(1, 10_000)] = setting(
        100, description="How many fields the head of a request may have."
    )
    max_body_size: SizeOrNone = setting("none", description="The largest body of a request, such as 25MiB; or none.")
    min_body_rate: RateOrNone = setting(
        "512B/s", description="How fast a request's body must come, measured over rate_window; or none."
    )
    min_read_rate: RateOrNone = setting(
        "512B/s", description="How fast an answer must be read, measured over rate_window; or none."
    )
    rate_window: Duration = setting("10s", description="Over how long both rates are measured.")
    websocket_timeout: Duration = setting("1h", description="How long a WebSocket may be open.")
    websocket_idle_timeout: Duration = setting(
        "2m", description="How long a WebSocket may be open without a byte in either direction."
    )
    connections: Connections = setting(
        "auto",
        description="How many connections of clients each relay takes; auto is half of its file descriptors.",
    )
    connections_per_ip: Annotated[int, kinds.whole(1, 1_000_000)] = setting(
        256, description="How many connections of one client address each relay takes; trusted proxies are exempt."
    )
    max_buffered: BufferSize = setting(
        "256MiB",
        description="How many bytes each relay holds for peers that do not read or finish; above it the greediest "
        "connections are cut.",
    )
    max_lag: LagOrNone = setting(
        "50ms",
        description="How long a turn of a relay's loop may take. Where turns are longer for a while, it is overloaded: "
        "it lets in no new connections, then refuses requests (503), until it has caught up. none: never.",
    )
    max_memory: MemoryOrNone = setting(
        "none",
        description="How much memory each relay may have (resident). From 85 % on it lets in no new connections, from "
        "95 % on each address may have one request in flight; above it the greediest connections are cut.",
    )
    drain_timeout: DurationOrZero = setting(
        "30s", description="How long requests in flight may take to finish when the gateway stops."
    )
    drain_wait: DurationOrZero = setting(
        "0s",
        description="How long the gateway goes on serving after it was told to stop, while health says that it is not "
        "ready: as long as load balancers take to notice.",
    )


class MetricsSection(Section):
    """What metrics tell besides sums."""

    routes: Flag = setting(
        True, description="Requests by route, status and refusal; a route appears once it has been called."
    )
    keys: Flag = setting(False, description="Requests by key, under the key's id: as many lines as there are keys.")


class CorsSection(Section):
    """Which browser origins may call."""

    origins: list[Origin] = needed(
        min_length=1, description="Origins such as https://app.example.com, or * alone for all."
    )
    headers: list[FieldName] = setting([], description="Request fields that may be sent besides the key's.")
    max_age: WholeSeconds = setting("600s", description="How long browsers may remember the answer.")


class ScopesSection(Section):
    """Several scopes; both given means both must be met."""

    all: list[Scope] = setting([], description="The key must hold every one of these.")
    any: list[Scope] = setting([], description="The key must hold at least one of these.")


class ManagementRoutesSection(Section):
    """The service's own key calls, as its official clients make them."""

    prefix: CallsPrefix = needed(description="Put before /apikeys and /smtp, such as /v4/security.")


class AccessLogSection(Section):
    """Where access log lines go, and what stands in them."""

    to: AccessLogPlace = setting("stdout", description="Where lines go: stdout, off, or a file.")
    fields: list[LogField] = setting(
        [choices.DEFAULT],
        min_length=1,
        description="The members of a line, in their order: default for the usual ones, and others such as query.",
    )
    redact: list[Redacted] = setting(
        [*DEFAULT_REDACTED],
        description="Query parameters whose values are never shown, with * at an end for any text. Those that carry "
        "keys are redacted in any case.",
    )


def kind_of_access_log(value: Any) -> str:
    """A mapping, or a place alone."""
    return "<log>" if isinstance(value, dict) else "<place>"


AccessLogChoice = Annotated[
    Annotated[AccessLogSection, Tag("<log>")] | Annotated[AccessLogPlace, Tag("<place>")],
    Discriminator(kind_of_access_log),
]


class SlotsSection(Section):
    """Slots counted over many hosts, by a Valkey or Redis server."""

    url: LenderUrl = needed(
        description="The server: valkey://[user@]host[:port][/database], valkeys:// for TLS, several with commas; or "
        "valkey+sentinel://host:26379,host:26379/NAME. redis:// and rediss:// are the same.",
    )
    tls: UpstreamTlsSection | None = setting(None, description="How TLS to a valkeys:// server is verified.")
    min_replicas: Annotated[int, kinds.whole(0, 10)] = setting(
        0,
        description="Lend only while so many replicas confirm that they follow this server; the same on every host. "
        "1 with three servers: also a split network never lends a slot twice.",
    )
    when_unreachable: WhenUnreachable = setting(
        "per_host",
        description="Where the server does not answer: count on each host alone, or refuse, and cut what is in flight "
        "before others may have its slots.",
    )
    lease_time: LeaseTime = setting(
        "1s",
        description="After so long without a sign of life what a host held is free; the same on every host.",
    )
    password_file: Text | None = setting(None, description="A file with the password and nothing else.")
    password_env: Variable | None = setting(None, description="An environment variable with the password.")


def kind_of_slots(value: Any) -> str:
    """What slots are meant as."""
    return "<lender>" if isinstance(value, dict) else "<place>"


SlotsChoice = Annotated[
    Annotated[SlotsSection, Tag("<lender>")] | Annotated[SlotsPlace, Tag("<place>")],
    Discriminator(kind_of_slots),
]


class TelemetrySection(Section):
    """Distributed tracing: W3C Trace Context, and OpenTelemetry."""

    trace: TraceChoice = setting(
        "pass",
        description="What is done with traceparent and tracestate: pass on what is valid, begin (take part, and begin "
        "a trace where none came), or off: they are not looked at.",
    )
    sample: ShareOrNone = setting(
        "100%", description="With trace: begin, which share of the traces begun here are marked as recorded."
    )
    otlp: Otlp = setting(
        None,
        description="Where spans of recorded exchanges are sent (OTLP over HTTP), such as "
        "http://127.0.0.1:4318/v1/traces; needs trace: begin, and keystile[otel].",
    )


class DatabaseSection(Section):
    """What a URL of a database is no place for."""

    password_file: FilePathOrNone = setting(
        None,
        description="A file that holds the password, read at every connection. Without it libpq's own ways count: "
        "PGPASSWORD in the environment, ~/.pgpass.",
    )
    mirror: FilePath = setting(
        MIRROR,
        description="What this host keeps of the keys, so that relays never wait for a network; beside it lie the "
        "gateway's other files. Each host has its own.",
    )
    host_name: NameOfHost = setting(
        None, description="How this host is called on the operators' page; null: as the machine is called."
    )


def kind_of_cors(value: Any) -> str:
    """A mapping, or the word for none."""
    return "<cors>" if isinstance(value, dict) else "<off>"


RowCors = Annotated[
    Annotated[CorsSection, Tag("<cors>")] | Annotated[NoCors, Tag("<off>")], Discriminator(kind_of_cors)
]


class Row(Section):
    """What both kinds of rows have."""

    upstream: UpstreamName = needed(description="The upstream that serves it, by its name in upstreams.")
    override: Flag = setting(False, description="This row may give an operation other scopes than a later row does.")
    cors: RowCors = setting(
        None, description="Browser origins that may call this; false for none, whatever cors says for all."
    )


class PathRow(Row):
    """A row that gives one path: exactly one of scope, scopes, key_only and public says what a call needs."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("scope", "scopes", "key_only", "public")]}
    )

    path: Template = needed(description="Such as /v4/files/{name} (one segment), or /v2/* (everything below /v2/).")
    methods: list[Method] | None = setting(
        None, min_length=1, description="Such as [GET, POST]; GET admits HEAD. All methods without it."
    )
    scope: Scope | None = setting(None, description="The one scope that a key needs.")
    scopes: ScopesSection | None = setting(None, description="Several scopes: {all: [...]}, {any: [...]} or both.")
    key_only: OnlyTrue | None = setting(None, description="true: any valid key will do.")
    public: OnlyTrue | None = setting(None, description="true: no key is needed.")
    websocket: Flag = setting(
        False, description="true: GET requests here may become a WebSocket, which holds its slot as long as it is open."
    )


class OpenApiRow(Row):
    """A row that stands for every operation of an OpenAPI 3.0 or 3.1 document."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["scope_from_description"]}, {"required": ["scope_from"]}]}
    )

    openapi: Text = needed(description="The document: a YAML or JSON file.")
    prefix: Prefix = setting("", description="Put before every path of the document, such as /v4.")
    scope_from_description: Pattern = setting(
        None,
        description="A regular expression whose one group finds the scopes in an operation's description.",
    )
    scope_from: ScopeSource = setting(
        None, description="security, or the document's own field that names scopes: x-required-scopes."
    )
    scopes: AllOrAny = setting(
        "all", description="Where an operation names several scopes: a key needs all of them, or any."
    )


def kind_of_row(row: Any) -> str:
    """What a row is meant as."""
    return "<openapi>" if isinstance(row, dict) and "openapi" in row else "<path>"


AnyRow = Annotated[
    Annotated[PathRow, Tag("<path>")] | Annotated[OpenApiRow, Tag("<openapi>")], Discriminator(kind_of_row)
]


class Document(Section):
    """gateway.yaml of Keystile."""

    listeners: list[ListenerSection] = setting(
        [{"address": "127.0.0.1:8080"}], min_length=1, description="The addresses that clients connect to."
    )
    management: ManagementSection = setting(
        {},
        description="The page where people manage their keys, the management API, health and metrics.",
    )
    workers: Workers = setting("auto", description="How many relay processes: auto (one for each core) or 1 to 64.")
    store: Store = setting(
        choices.DEFAULT_STORE,
        description="Where keys are kept: a file (four slashes for an absolute path), or a PostgreSQL database, such "
        "as postgresql://keystile@db.example.com/keystile; that needs keystile[postgresql].",
    )
    database: DatabaseSection = setting({}, description="More of a store in a database.")
    slots: SlotsChoice = setting(
        "host",
        description="Where requests in flight are counted: host, in this machine's memory; or over many hosts, by a "
        "Valkey or Redis server: valkey://host:port, valkeys:// for TLS, or {url, when_unreachable, ...}.",
    )
    trust_without_store: DurationOrZero = setting(
        "5m", description="How long to go on with the keys in memory when the store cannot be read."
    )
    keys: KeysSection = setting({}, description="How many keys an account may own and where clients present them.")
    limits: LimitsSection = setting({}, description="Every bound on what clients and servers may do.")
    trusted_proxies: list[Cidr] = setting(
        [],
        description="Networks of proxies in front of the gateway, who are believed about their clients: in "
        "client_address_field, and in the PROXY protocol.",
    )
    client_address_field: AddressField = setting(
        "X-Forwarded-For",
        description="The field in which trusted proxies say who calls: X-Forwarded-For or Forwarded. The other one is "
        "never read, since a proxy that writes one passes on what clients write into the other.",
    )
    health_path: PlainPath = setting(
        None, description="A path such as /healthz that the relays answer themselves, without a key."
    )
    access_log: AccessLogChoice = setting(
        "stdout", description="Where access log lines go: stdout, off, or a file; or {to, fields, redact}."
    )
    telemetry: TelemetrySection = setting({}, description="Distributed tracing: W3C Trace Context, and OpenTelemetry.")
    metrics: MetricsSection = setting({}, description="What metrics tell besides sums.")
    management_routes: ManagementRoutesSection | None = setting(
        None,
        description="The service's own key calls (API keys and SMTP credentials) on the public listeners. They win "
        "over the same operations of a document.",
    )
    cors: CorsSection | None = setting(None, description="Browser origins that may call every route without its own.")
    upstreams: dict[UpstreamName, UpstreamSection] = needed(
        min_length=1, description="The APIs behind the gateway, by name."
    )
    routes: list[AnyRow] = needed(
        min_length=1,
        description="What each call needs and where it goes. An earlier row wins over a later one of the same "
        "method and path; if they need something else, the earlier one says override: true.",
    )


# What pydantic adds to a place to say which of several types it tried.
TAGS: dict[str, type[Section] | None] = {
    "<path>": PathRow,
    "<openapi>": OpenApiRow,
    "<cors>": CorsSection,
    "<waiting>": WaitingSection,
    "<server>": ServerSection,
    "<url>": None,
    "<refuse>": None,
    "<off>": None,
    "<log>": AccessLogSection,
    "<lender>": SlotsSection,
    "<place>": None,
}


_STEPS = {str(list): "[]", str(dict): ".*"}


def settings(section: type[Section] = Document, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting, outer before inner: ``limits.request_timeout``, ``listeners[].tls``, ``upstreams.*.host``."""
    for name, info in named(section).items():
        yield path + name, info
        step = _STEPS.get(str(get_origin(info.annotation)), "")
        for inner in sections_in(info.annotation):
            yield from settings(inner, f"{path}{name}{step}.")
