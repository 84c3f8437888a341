from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from keystile.config.log_fields import DEFAULT_FIELDS
from keystile.config.model import (
    AccessLog,
    Breaker,
    Certificate,
    HealthCheck,
    KeyPolicy,
    Limits,
    Listener,
    Management,
    ManagementRoutes,
    Metrics,
    Retries,
    Server,
    ServerQueue,
    Settings,
    Telemetry,
    Tls,
    Upstream,
    Waiting,
)
from tests.config import certificates

Load = Callable[[str], Settings]


def test_the_least_that_runs_has_the_defaults_of_the_model(with_settings: Load, tmp_path: Path) -> None:
    settings = with_settings("")
    assert settings.listeners == (Listener("127.0.0.1", 8080),)
    assert settings.management == Management()
    assert settings.keys == KeyPolicy()
    assert settings.limits == Limits()
    assert settings.access_log == AccessLog()
    assert settings.metrics == Metrics()
    assert settings.upstreams == (Upstream("api", (Server("127.0.0.1", 9000),)),)
    assert settings.store == tmp_path / "keystile.db"
    assert settings.file == tmp_path / "gateway.yaml"
    assert settings.telemetry == Telemetry()
    assert (settings.trust_without_store, settings.cors, settings.health_path) == (300.0, None, None)
    assert (settings.trusted_proxies, settings.documents, settings.warnings) == ((), (), ())


def test_every_setting_arrives(load_text: Load, tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path)
    (tmp_path / "logs").mkdir()
    settings = load_text(
        """\
listeners:
  - address: "[::1]:8443"
    tls: {certificate: a.cert.pem, private_key: a.key.pem, minimum_version: 1.3, legacy: null}
    proxy_protocol: true
management:
  address: 0.0.0.0:9443
  tls: {certificate: a.cert.pem, private_key: a.key.pem}
  hosts: [Keys.Example.com]
workers: 3
store: sqlite:///logs/k.db
slots: host
trust_without_store: 0s
keys: {per_account: 5, headers: [Authorization, X-Auth-Token], query_parameter: apikey}
limits:
  concurrent_requests_per_ip: 7
  over_limit: {wait_up_to: 2s, waiting_per_ip: 3}
  ipv6_prefix_length: 56
  request_timeout: 1m
  head_timeout: 2s
  idle_timeout: 3s
  connect_timeout: 250ms
  max_head_size: 16KiB
  max_fields: 50
  max_body_size: 25MiB
  drain_timeout: 0s
  drain_wait: 20s
  min_body_rate: 1KiB/s
  min_read_rate: none
  rate_window: 5s
  websocket_timeout: 2h
  websocket_idle_timeout: 1m
  connections: 5000
  connections_per_ip: 50
  max_buffered: 1GiB
  max_lag: 100ms
  max_memory: 2GiB
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
client_address_field: Forwarded
health_path: /healthz
access_log: logs/a.log
metrics: {routes: false, keys: true}
management_routes: {prefix: /v4/security/}
cors: {origins: ["*"], headers: [X-A], max_age: 60}
upstreams:
  api: {servers: ["http://a", "http://[::1]:81"], host: preserve, case_insensitive: true, ignores_extensions: true,
        undecoded_literals: true}
  pool:
    servers: [{url: "http://a", weight: 3}, unix:run/api.sock, "unix:/run/b"]
    balance: hash_key
    health_check: {path: /health?full=1, interval: 7s, timeout: 1s, healthy_after: 1, unhealthy_after: 4,
                   statuses: "200-299, 401"}
    breaker: {connect_failures: 2, errors: 10%, of_at_least: 3, within: 20s, open_for: 1s, even_the_last: true}
    slow_start: 30s
    max_in_flight: 8
    queue: {size: 5, wait_up_to: 2s}
    retries: {attempts: 2, budget: 0%}
    resolve_every: 1m
  bare: {servers: ["http://a"], breaker: null, health_check: null, max_in_flight: none}
routes:
  - {path: /x, scope: X, upstream: api}
  - {path: /y, scope: X, upstream: pool}
  - {path: /z, scope: X, upstream: bare}
"""
    )
    tls = Tls((Certificate(certificate, key),), "1.2")
    modern = Tls((Certificate(certificate, key),), "1.3")
    assert settings.listeners == (Listener("::1", 8443, modern, proxy_protocol=True),)
    assert settings.management == Management("0.0.0.0", 9443, tls, ("keys.example.com",))
    assert (settings.workers, settings.store) == (3, tmp_path / "logs/k.db")
    assert settings.keys == KeyPolicy(5, ("Authorization", "X-Auth-Token"), "apikey")
    assert settings.limits == Limits(
        7, 56, Waiting(2.0, 3), 60.0, 2.0, 3.0, 0.25, 16384, 50, 26_214_400, 0.0,
        1024.0, None, 5.0, 7200.0, 60.0, 5000, 50, 1 << 30, 20.0, 0.1, 2 << 30,
    )  # fmt: skip
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.0.2.1"))
    assert settings.client_address_field == "Forwarded"
    assert settings.health_path == "/healthz"
    assert settings.management_routes == ManagementRoutes("/v4/security")
    assert settings.access_log == AccessLog(file=tmp_path / "logs/a.log")
    assert settings.metrics == Metrics(routes=False, keys=True)
    assert settings.upstreams == (
        Upstream("api", (Server("a", 80), Server("::1", 81)), "preserve", True, True, True),
        Upstream(
            "pool",
            (
                Server("a", 80, weight=3),
                Server("localhost", 0, unix=tmp_path / "run/api.sock"),
                Server("localhost", 0, unix=Path("/run/b")),
            ),
            balance="hash_key",
            health_check=HealthCheck("/health?full=1", 7.0, 1.0, 1, 4, ((200, 299), (401, 401))),
            breaker=Breaker(2, 0.1, 3, 20.0, 1.0, even_the_last=True),
            slow_start=30.0,
            max_in_flight=8,
            queue=ServerQueue(5, 2.0),
            retries=Retries(2, 0.0),
            resolve_every=60.0,
        ),
        Upstream("bare", (Server("a", 80),), breaker=None),
    )
    assert (settings.trust_without_store, settings.warnings) == (0.0, ())


def test_no_access_log_is_disabled(with_settings: Load) -> None:
    for word in ("off", "false", "'off'", "False"):
        assert with_settings(f"access_log: {word}").access_log == AccessLog(enabled=False)


def test_a_place_alone_is_an_access_log_with_all_else_as_usual(with_settings: Load, tmp_path: Path) -> None:
    for written in ("access_log: a.log", "access_log: {to: a.log}", "access_log: {to: a.log, fields: [default]}"):
        assert with_settings(written).access_log == AccessLog(file=tmp_path / "a.log")
    assert with_settings("access_log: {to: off}").access_log == AccessLog(enabled=False)
    assert with_settings("access_log: {}").access_log == AccessLog()


def test_fields_of_the_access_log_stand_in_the_order_of_the_list(with_settings: Load) -> None:
    log = with_settings("access_log: {fields: [status, time, query], redact: [session, '*pin']}").access_log
    assert log == AccessLog(fields=("status", "time", "query"), redact=("session", "*pin"))
    log = with_settings("access_log: {fields: [trace_id, default, query, status]}").access_log
    assert log.fields == ("trace_id", *DEFAULT_FIELDS, "query")


def test_telemetry_arrives(with_settings: Load) -> None:
    said = "telemetry: {trace: begin, sample: 10%, otlp: 'http://127.0.0.1:4318/v1/traces'}"
    assert with_settings(said).telemetry == Telemetry("begin", 0.1, "http://127.0.0.1:4318/v1/traces")
    assert with_settings("telemetry: {trace: off}").telemetry == Telemetry("off")
