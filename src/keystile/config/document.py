"""The schema of gateway.yaml: every setting with its type, its default as one would write it, and what it does.

Law: names, types and descriptions, nothing else. What is right across several settings stands in ``rules.py``;
how a text becomes a value in ``units.py``, ``addresses.py``, ``tokens.py`` and ``templates.py``. Descriptions
go into the JSON Schema, so they are written for operators.

Defaults are written as in YAML and parsed like it; a test holds them equal to those of ``model.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.fields import FieldInfo

from keystile.config import choices, kinds
from keystile.config.kinds import (
    AccessLogPlace,
    AddressField,
    AllOrAny,
    BalanceChoice,
    BufferSize,
    CallsPrefix,
    Cidr,
    Connections,
    Day,
    Duration,
    DurationOrZero,
    FieldName,
    Flag,
    HeadSize,
    HostChoice,
    HostName,
    HstsAge,
    HttpsOrigin,
    KeyField,
    LagOrNone,
    LegacyVersion,
    ListenAddress,
    LogField,
    MemoryOrNone,
    Method,
    Moment,
    MostInFlight,
    NoCors,
    OnlyTrue,
    Origin,
    Otlp,
    Parameter,
    Pattern,
    PlainHttp,
    PlainPath,
    Prefix,
    ProbePath,
    Profile,
    RateOrNone,
    Redacted,
    Refuse,
    Scope,
    ScopeSource,
    ServerName,
    ServerUrl,
    Share,
    ShareOrNone,
    SizeOrNone,
    Slots,
    Statuses,
    Store,
    Template,
    Text,
    TraceChoice,
    UpstreamName,
    Version,
    WholeSeconds,
    Workers,
)
from keystile.config.log_fields import DEFAULT_REDACTED


def _setting(default: Any, description: str, **bounds: Any) -> Any:
    """A setting with its default, written as in YAML and parsed like it."""
    return Field(default, description=description, validate_default=True, **bounds)


def _needed(description: str, **bounds: Any) -> Any:
    """A setting without a default."""
    return Field(description=description, **bounds)


class Section(BaseModel):
    """Any mapping of gateway.yaml: names that are not settings are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class CertificateSection(Section):
    """One certificate of several."""

    certificate: Text = _needed(description="PEM file with the certificate and those that sign it.")
    private_key: Text = _needed(description="PEM file with the certificate's private key, without a passphrase.")


class RehearsalSection(Section):
    """A time in which older TLS versions are refused for trial."""

    start: Moment = _needed(alias="from", description="When it begins, with its zone: 2027-03-01T09:00Z.")
    end: Moment = _needed(alias="to", description="When it ends, with its zone: 2027-03-01T09:30Z.")


class LegacySection(Section):
    """Older TLS versions until a given day."""

    minimum_version: LegacyVersion = _needed(description="The oldest TLS version until then: 1.0 or 1.1.")
    retire_on: Day = _needed(description="The first day, from 00:00 UTC, on which they are refused: 2027-03-31.")
    rehearsals: list[RehearsalSection] = _setting(
        [], description="Times before that day in which they are refused for trial."
    )


class ClientCertificatesSection(Section):
    """Certificates that clients show."""

    ca: Text = _needed(description="PEM file with the certificates that may sign those of clients.")
    required: Flag = _setting(True, description="Refuse clients without one; false to take both.")


class TlsSection(Section):
    """TLS of one address: certificate and private_key, or certificates."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["certificate", "private_key"]}, {"required": ["certificates"]}]}
    )

    certificate: Text | None = _setting(None, description="PEM file with the certificate and those that sign it.")
    private_key: Text | None = _setting(
        None, description="PEM file with the certificate's private key, without a passphrase."
    )
    certificates: list[CertificateSection] | None = _setting(
        None,
        min_length=1,
        description="Several, instead of certificate: chosen by the names in them, the first where no name fits.",
    )
    profile: Profile = _setting(
        "intermediate", description="Ciphers and curves after Mozilla's profile of this name; modern is TLS 1.3 only."
    )
    minimum_version: Version = _setting("1.2", description="The oldest TLS version that is accepted: 1.2 or 1.3.")
    legacy: LegacySection | None = _setting(None, description="Older TLS versions, until a given day.")
    client_certificates: ClientCertificatesSection | None = _setting(
        None, description="Certificates that clients show; none are asked for without it."
    )
    hsts: HstsAge = _setting(
        None, description="How long browsers shall use https only (Strict-Transport-Security), such as 730d."
    )


class ListenerSection(Section):
    """One address that clients connect to."""

    address: ListenAddress = _needed(description='IP address and port; an IPv6 address needs quotes: "[::]:8080".')
    tls: TlsSection | None = _setting(None, description="Speak TLS on this address; plain HTTP without it.")
    proxy_protocol: Flag = _setting(
        False,
        description="Every connection begins with a PROXY protocol header (version 1 or 2), before TLS, and comes from "
        "one of trusted_proxies; all others are closed.",
    )
    redirect: HttpsOrigin = _setting(
        None, description="Without tls only: answer every request with 308 to this origin, https://api.example.com."
    )
    plain_http: PlainHttp = _setting(
        "allow",
        description="Without tls only: allow keys that come in clear, or refuse_keys, and report them as exposed.",
    )


class ManagementSection(Section):
    """Where page, management API, health and metrics are served."""

    address: ListenAddress = _setting(
        "127.0.0.1:8081", description="IP address and port; with tls if other machines can reach it."
    )
    tls: TlsSection | None = _setting(None, description="Speak TLS; needed unless the address is loopback.")
    hosts: list[HostName] = _setting(
        [], description="Host names under which people open the page, besides the address itself."
    )


class KeysSection(Section):
    """How many keys an account may own and where clients present them."""

    per_account: Annotated[int, kinds.whole(1, 10_000)] = _setting(15, description="How many keys an account may own.")
    headers: list[KeyField] = _setting(
        ["X-Api-Key"],
        description="Fields that carry a key; each that is present counts as one. Authorization means Bearer.",
    )
    query_parameter: Parameter = _setting(
        None, description="Query parameter that carries a key, such as apikey; null for none."
    )


class WaitingSection(Section):
    """How a request may wait for a slot."""

    wait_up_to: Duration = _needed(description="How long a request may wait before it is refused (429).")
    waiting_per_ip: Annotated[int, kinds.whole(1, 10_000)] = _setting(
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

    concurrent_requests_per_ip: Annotated[int, kinds.whole(1, 10_000)] = _setting(
        20, description="How many requests of one client address may be in flight."
    )
    ipv6_prefix_length: Annotated[int, kinds.whole(1, 128)] = _setting(
        64, description="How many leading bits of an IPv6 address make one client address."
    )
    over_limit: OverLimit = _setting(
        "refuse", description="What happens to a request above that: refuse (429), or wait in line for a while."
    )
    request_timeout: Duration = _setting(
        "600s", description="How long a request may take, from its first byte to the last of its answer."
    )
    head_timeout: Duration = _setting(
        "10s", description="Within this a request's head, and a TLS handshake, must have arrived."
    )
    idle_timeout: Duration = _setting("75s", description="How long a connection may be idle between two requests.")
    connect_timeout: Duration = _setting("5s", description="How long connecting to an upstream server may take.")
    max_head_size: HeadSize = _setting("32KiB", description="The largest head of a request.")
    max_fields: Annotated[int, kinds.whole(1, 10_000)] = _setting(
        100, description="How many fields the head of a request may have."
    )
    max_body_size: SizeOrNone = _setting("none", description="The largest body of a request, such as 25MiB; or none.")
    min_body_rate: RateOrNone = _setting(
        "512B/s", description="How fast a request's body must come, measured over rate_window; or none."
    )
    min_read_rate: RateOrNone = _setting(
        "512B/s", description="How fast an answer must be read, measured over rate_window; or none."
    )
    rate_window: Duration = _setting("10s", description="Over how long both rates are measured.")
    websocket_timeout: Duration = _setting("1h", description="How long a WebSocket may be open.")
    websocket_idle_timeout: Duration = _setting(
        "2m", description="How long a WebSocket may be open without a byte in either direction."
    )
    connections: Connections = _setting(
        "auto",
        description="How many connections of clients each relay takes; auto is half of its file descriptors.",
    )
    connections_per_ip: Annotated[int, kinds.whole(1, 1_000_000)] = _setting(
        256, description="How many connections of one client address each relay takes; trusted proxies are exempt."
    )
    max_buffered: BufferSize = _setting(
        "256MiB",
        description="How many bytes each relay holds for peers that do not read or finish; above it the greediest "
        "connections are cut.",
    )
    max_lag: LagOrNone = _setting(
        "50ms",
        description="How long a turn of a relay's loop may take. Where turns are longer for a while, it is overloaded: "
        "it lets in no new connections, then refuses requests (503), until it has caught up. none: never.",
    )
    max_memory: MemoryOrNone = _setting(
        "none",
        description="How much memory each relay may have (resident). From 85 % on it lets in no new connections, from "
        "95 % on each address may have one request in flight; above it the greediest connections are cut.",
    )
    drain_timeout: DurationOrZero = _setting(
        "30s", description="How long requests in flight may take to finish when the gateway stops."
    )
    drain_wait: DurationOrZero = _setting(
        "0s",
        description="How long the gateway goes on serving after it was told to stop, while health says that it is not "
        "ready: as long as load balancers take to notice.",
    )


class MetricsSection(Section):
    """What metrics tell besides sums."""

    routes: Flag = _setting(
        True, description="Requests by route, status and refusal; a route appears once it has been called."
    )
    keys: Flag = _setting(False, description="Requests by key, under the key's id: as many lines as there are keys.")


class CorsSection(Section):
    """Which browser origins may call."""

    origins: list[Origin] = _needed(
        min_length=1, description="Origins such as https://app.example.com, or * alone for all."
    )
    headers: list[FieldName] = _setting([], description="Request fields that may be sent besides the key's.")
    max_age: WholeSeconds = _setting("600s", description="How long browsers may remember the answer.")


class UpstreamTlsSection(Section):
    """TLS to the servers of one upstream."""

    ca: Text | None = _setting(
        None, description="PEM file of who may sign the servers' certificates; null: whom this machine trusts."
    )
    server_name: ServerName = _setting(
        None, description="The host name to ask for and to verify; null for the one in the server's address."
    )
    certificate: Text | None = _setting(None, description="PEM file with the certificate that the gateway shows.")
    private_key: Text | None = _setting(None, description="PEM file with its private key, without a passphrase.")
    minimum_version: Version = _setting("1.2", description="The oldest TLS version that is spoken: 1.2 or 1.3.")
    verify: Flag = _setting(True, description="false takes any certificate: whoever is in between reads every key.")


class ServerSection(Section):
    """One server with a share of its own."""

    url: ServerUrl = _needed(description="http://host:port, https://host:port, or unix: and the path of a socket.")
    weight: Annotated[int, kinds.whole(1, 100)] = _setting(
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

    path: ProbePath = _needed(description="The path that is asked for with GET, such as /health.")
    interval: Duration = _setting("5s", description="How long from one question to the next.")
    timeout: Duration = _setting("2s", description="How long connecting and the answer's head may take, together.")
    healthy_after: Annotated[int, kinds.whole(1, 100)] = _setting(
        2, description="How many good answers in a row bring a server back."
    )
    unhealthy_after: Annotated[int, kinds.whole(1, 100)] = _setting(
        3, description="How many bad answers, or none, in a row take a server out."
    )
    statuses: Statuses = _setting("200-399", description="The statuses of a good answer; redirects are not followed.")


class BreakerSection(Section):
    """When a relay stops sending to a server by what it sees itself."""

    connect_failures: Annotated[int, kinds.whole(1, 1000)] = _setting(
        5, description="How many connections in a row that cannot be made take a server out."
    )
    errors: Share = _setting("50%", description="The share of 5xx and broken answers that takes a server out.")
    of_at_least: Annotated[int, kinds.whole(1, 100_000)] = _setting(
        20, description="How many requests there must have been for that share to mean something."
    )
    within: Duration = _setting("10s", description="Over how long both are counted.")
    open_for: Duration = _setting(
        "1s",
        description="How long it stays out before one request tries it; twice as long after each try that fails, "
        "up to 12 times.",
    )
    even_the_last: Flag = _setting(
        False,
        description="true: errors may take out the last server too. By default only failing connections may, since "
        "one caller's errors should not shut out all.",
    )


class QueueSection(Section):
    """Requests that wait for a server with room."""

    size: Annotated[int, kinds.whole(0, 100_000)] = _setting(
        100, description="How many requests may wait on each relay; more are refused (503)."
    )
    wait_up_to: Duration = _setting("1s", description="How long one may wait before it is refused (503).")


class RetriesSection(Section):
    """Requests that are sent again, to another server, when the first gave no byte of an answer."""

    attempts: Annotated[int, kinds.whole(0, 10)] = _setting(
        1, description="How often one idempotent request may be sent again; 0 for never."
    )
    budget: ShareOrNone = _setting(
        "20%", description="How many of the last ten seconds' requests may be sent again; three always may."
    )


class UpstreamSection(Section):
    """The API behind the gateway."""

    servers: list[AnyServer] = _needed(
        min_length=1,
        max_length=100,
        description="Servers: http://host:port, unix:run/api.sock, or all of them https://host:port; or {url, weight}.",
    )
    tls: UpstreamTlsSection | None = _setting(
        None, description="TLS to https servers; without it they are verified against what this machine trusts."
    )
    host: HostChoice = _setting(
        "upstream", description="The Host field it gets: the server's own name, or preserve the client's."
    )
    case_insensitive: Flag = _setting(
        False, description="It takes /Admin for /admin, so paths that could mean both are compared so, too."
    )
    ignores_extensions: Flag = _setting(
        False, description="It takes /admin.json for /admin (Rails, Spring before 5.3), so both are compared."
    )
    undecoded_literals: Flag = _setting(
        False, description="It does not take /%61dmin for /admin (Express), so both readings are compared."
    )
    balance: BalanceChoice = _setting(
        "round_robin",
        description="Which server is next: round_robin, least_in_flight, or by hash_key or hash_address, where the "
        "requests of one key or address go to one server as long as it is there.",
    )
    health_check: HealthCheckSection | None = _setting(
        None, description="Ask the servers whether they are well; null: only what requests show counts."
    )
    breaker: BreakerSection | None = _setting(
        {}, description="Leave out servers that cannot be connected to or answer with errors; null: never."
    )
    slow_start: DurationOrZero = _setting(
        "0s", description="How long the share of a server that comes back grows until it is whole."
    )
    max_in_flight: MostInFlight = _setting(
        "none", description="How many requests each relay has in flight at each server; or none."
    )
    queue: QueueSection = _setting({}, description="Where max_in_flight is reached everywhere, requests wait here.")
    retries: RetriesSection = _setting(
        {}, description="Idempotent requests are sent again, to another server, before any byte of an answer."
    )
    resolve_every: Duration = _setting("30s", description="How often the names of servers are looked up again.")


class ScopesSection(Section):
    """Several scopes; both given means both must be met."""

    all: list[Scope] = _setting([], description="The key must hold every one of these.")
    any: list[Scope] = _setting([], description="The key must hold at least one of these.")


class ManagementRoutesSection(Section):
    """The service's own key calls, as its official clients make them."""

    prefix: CallsPrefix = _needed(description="Put before /apikeys and /smtp, such as /v4/security.")


class AccessLogSection(Section):
    """Where access log lines go, and what stands in them."""

    to: AccessLogPlace = _setting("stdout", description="Where lines go: stdout, off, or a file.")
    fields: list[LogField] = _setting(
        [choices.DEFAULT],
        min_length=1,
        description="The members of a line, in their order: default for the usual ones, and others such as query.",
    )
    redact: list[Redacted] = _setting(
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


class TelemetrySection(Section):
    """Distributed tracing: W3C Trace Context, and OpenTelemetry."""

    trace: TraceChoice = _setting(
        "pass",
        description="What is done with traceparent and tracestate: pass on what is valid, begin (take part, and begin "
        "a trace where none came), or off: they are not looked at.",
    )
    sample: ShareOrNone = _setting(
        "100%", description="With trace: begin, which share of the traces begun here are marked as recorded."
    )
    otlp: Otlp = _setting(
        None,
        description="Where spans of recorded exchanges are sent (OTLP over HTTP), such as "
        "http://127.0.0.1:4318/v1/traces; needs trace: begin, and keystile[otel].",
    )


def kind_of_cors(value: Any) -> str:
    """A mapping, or the word for none."""
    return "<cors>" if isinstance(value, dict) else "<off>"


RowCors = Annotated[
    Annotated[CorsSection, Tag("<cors>")] | Annotated[NoCors, Tag("<off>")], Discriminator(kind_of_cors)
]


class Row(Section):
    """What both kinds of rows have."""

    upstream: UpstreamName = _needed(description="The upstream that serves it, by its name in upstreams.")
    override: Flag = _setting(False, description="This row may give an operation other scopes than a later row does.")
    cors: RowCors = _setting(
        None, description="Browser origins that may call this; false for none, whatever cors says for all."
    )


class PathRow(Row):
    """A row that gives one path: exactly one of scope, scopes, key_only and public says what a call needs."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("scope", "scopes", "key_only", "public")]}
    )

    path: Template = _needed(description="Such as /v4/files/{name} (one segment), or /v2/* (everything below /v2/).")
    methods: list[Method] | None = _setting(
        None, min_length=1, description="Such as [GET, POST]; GET admits HEAD. All methods without it."
    )
    scope: Scope | None = _setting(None, description="The one scope that a key needs.")
    scopes: ScopesSection | None = _setting(None, description="Several scopes: {all: [...]}, {any: [...]} or both.")
    key_only: OnlyTrue | None = _setting(None, description="true: any valid key will do.")
    public: OnlyTrue | None = _setting(None, description="true: no key is needed.")
    websocket: Flag = _setting(
        False, description="true: GET requests here may become a WebSocket, which holds its slot as long as it is open."
    )


class OpenApiRow(Row):
    """A row that stands for every operation of an OpenAPI 3.0 or 3.1 document."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["scope_from_description"]}, {"required": ["scope_from"]}]}
    )

    openapi: Text = _needed(description="The document: a YAML or JSON file.")
    prefix: Prefix = _setting("", description="Put before every path of the document, such as /v4.")
    scope_from_description: Pattern = _setting(
        None,
        description="A regular expression whose one group finds the scopes in an operation's description.",
    )
    scope_from: ScopeSource = _setting(
        None, description="security, or the document's own field that names scopes: x-required-scopes."
    )
    scopes: AllOrAny = _setting(
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

    listeners: list[ListenerSection] = _setting(
        [{"address": "127.0.0.1:8080"}], min_length=1, description="The addresses that clients connect to."
    )
    management: ManagementSection = _setting(
        {},
        description="The page where people manage their keys, the management API, health and metrics.",
    )
    workers: Workers = _setting("auto", description="How many relay processes: auto (one for each core) or 1 to 64.")
    store: Store = _setting(
        "sqlite:///keystile.db", description="Where keys are kept; four slashes for an absolute path."
    )
    slots: Slots = _setting("host", description="Where requests in flight are counted: host, in this machine's memory.")
    trust_without_store: DurationOrZero = _setting(
        "5m", description="How long to go on with the keys in memory when the store cannot be read."
    )
    keys: KeysSection = _setting({}, description="How many keys an account may own and where clients present them.")
    limits: LimitsSection = _setting({}, description="Every bound on what clients and servers may do.")
    trusted_proxies: list[Cidr] = _setting(
        [],
        description="Networks of proxies in front of the gateway, who are believed about their clients: in "
        "client_address_field, and in the PROXY protocol.",
    )
    client_address_field: AddressField = _setting(
        "X-Forwarded-For",
        description="The field in which trusted proxies say who calls: X-Forwarded-For or Forwarded. The other one is "
        "never read, since a proxy that writes one passes on what clients write into the other.",
    )
    health_path: PlainPath = _setting(
        None, description="A path such as /healthz that the relays answer themselves, without a key."
    )
    access_log: AccessLogChoice = _setting(
        "stdout", description="Where access log lines go: stdout, off, or a file; or {to, fields, redact}."
    )
    telemetry: TelemetrySection = _setting({}, description="Distributed tracing: W3C Trace Context, and OpenTelemetry.")
    metrics: MetricsSection = _setting({}, description="What metrics tell besides sums.")
    management_routes: ManagementRoutesSection | None = _setting(
        None,
        description="The service's own key calls (API keys and SMTP credentials) on the public listeners. They win "
        "over the same operations of a document.",
    )
    cors: CorsSection | None = _setting(None, description="Browser origins that may call every route without its own.")
    upstreams: dict[UpstreamName, UpstreamSection] = _needed(
        min_length=1, description="The APIs behind the gateway, by name."
    )
    routes: list[AnyRow] = _needed(
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
    "<place>": None,
}


_STEPS = {str(list): "[]", str(dict): ".*"}


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a setting of this type holds."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def named(section: type[Section]) -> dict[str, FieldInfo]:
    """The settings of a section by the names that people write (``from`` can be none in Python)."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def settings(section: type[Section] = Document, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting, outer before inner: ``limits.request_timeout``, ``listeners[].tls``, ``upstreams.*.host``."""
    for name, info in named(section).items():
        yield path + name, info
        step = _STEPS.get(str(get_origin(info.annotation)), "")
        for inner in sections_in(info.annotation):
            yield from settings(inner, f"{path}{name}{step}.")
