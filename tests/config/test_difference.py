from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from keystile.config import difference, document, listener_sections, model, section, upstream_sections
from keystile.config.difference import PartChange, SettingChange, listener_changes, setting_changes, upstream_changes
from keystile.config.model import (
    AccessLog,
    Certificate,
    Cors,
    KeyPolicy,
    Legacy,
    Limits,
    Listener,
    Management,
    ManagementRoutes,
    Metrics,
    Rehearsal,
    Server,
    Settings,
    Telemetry,
    Tls,
    Upstream,
    UpstreamTls,
    Waiting,
)
from tests.process.stand_in import settings_for

HERE = Path("/srv/keystile")
PAIR = (Certificate(HERE / "cert.pem", HERE / "key.pem"),)
API = Upstream("api", (Server("127.0.0.1", 9000),))


def settings(**changes: object) -> Settings:
    return settings_for(HERE, **{"limits": Limits(), **changes})


def told(was: Settings, now: Settings) -> list[str]:
    return [f"{one.path}: {one.was} → {one.now}{' !' * one.restart}" for one in setting_changes(was, now)]


def test_the_same_is_no_difference() -> None:
    assert told(settings(), settings(warnings=("soon",))) == []
    assert listener_changes(settings(), settings()) == upstream_changes(settings(), settings()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limits": Limits(request_timeout=30.0)}, "limits.request_timeout: 600s → 30s"),
        ({"limits": Limits(websocket_timeout=0.25)}, "limits.websocket_timeout: 1h → 250ms"),
        ({"limits": Limits(drain_timeout=0.0)}, "limits.drain_timeout: 30s → 0s"),
        ({"limits": Limits(max_body_size=25 * 1024 * 1024)}, "limits.max_body_size: none → 25MiB"),
        ({"limits": Limits(max_head_size=1500)}, "limits.max_head_size: 32KiB → 1500B"),
        ({"limits": Limits(min_read_rate=1024.0)}, "limits.min_read_rate: 512B/s → 1KiB/s"),
        ({"limits": Limits(min_body_rate=None)}, "limits.min_body_rate: 512B/s → none"),
        ({"limits": Limits(connections=9)}, "limits.connections: auto → 9"),
        (
            {"limits": Limits(over_limit=Waiting(2.0, 20))},
            "limits.over_limit: refuse → {wait_up_to: 2s, waiting_per_ip: 20}",
        ),
        ({"keys": KeyPolicy(headers=("X-Key", "Authorization"))}, "keys.headers: [X-Api-Key] → [X-Key, Authorization]"),
        ({"keys": KeyPolicy(query_parameter="apikey")}, "keys.query_parameter: null → apikey"),
        ({"trusted_proxies": (ip_network("10.0.0.0/8"),)}, "trusted_proxies: [] → [10.0.0.0/8]"),
        ({"trust_without_store": 60.0}, "trust_without_store: 300s → 60s"),
        ({"health_path": "/healthz"}, "health_path: null → /healthz"),
        ({"access_log": AccessLog(enabled=False)}, "access_log: stdout → off"),
        ({"access_log": AccessLog(file=HERE / "log")}, "access_log: stdout → /srv/keystile/log"),
        (
            {"access_log": AccessLog(fields=("time", "query"), redact=("pin",))},
            "access_log: stdout → {to: stdout, fields: [time, query], redact: [pin]}",
        ),
        ({"telemetry": Telemetry("begin")}, "telemetry.trace: pass → begin"),
        ({"metrics": Metrics(keys=True)}, "metrics.keys: false → true"),
        ({"management_routes": ManagementRoutes("/v4")}, "management_routes: null → {prefix: /v4}"),
        ({"cors": Cors(("*",), max_age=60)}, "cors: null → {origins: [*], max_age: 60s}"),
        ({"management": Management(port=0, hosts=("a.example",))}, "management.hosts: [] → [a.example]"),
        ({"workers": 3}, "workers: 2 → 3 !"),
        ({"store": HERE / "b.db"}, "store: /srv/keystile/keystile.db → /srv/keystile/b.db !"),
        ({"management": Management("::1", 1)}, "management.address: 127.0.0.1:0 → [::1]:1 !"),
        (
            {"management": Management(port=0, tls=Tls(PAIR, hsts=86400.0))},
            f"management.tls: null → {{certificates: [{{certificate: {HERE}/cert.pem, private_key: {HERE}/key.pem}}], "
            "hsts: 1d} !",
        ),
    ],
)
def test_a_setting_is_told_as_one_would_write_it(changes: dict[str, object], said: str) -> None:
    assert told(settings(), settings(**changes)) == [said]


def test_listeners_are_known_by_their_address() -> None:
    legacy = Legacy("1.0", 1806451200.0, (Rehearsal(1803891600.0, 1803893400.0),))
    old, tls = Listener("127.0.0.1", 8080), Listener("::1", 8443, Tls(PAIR))
    newer = replace(tls, tls=Tls(PAIR, "1.3"))
    assert listener_changes(settings(listeners=(old, tls)), settings(listeners=(newer,))) == [
        PartChange("127.0.0.1:8080", "removed"),
        PartChange("[::1]:8443", "changed", (SettingChange("tls.minimum_version", "1.2", "1.3"),)),
    ]
    [changed] = listener_changes(
        settings(listeners=(tls,)), settings(listeners=(replace(tls, tls=Tls(PAIR, legacy=legacy)),))
    )
    assert changed.settings == (
        SettingChange(
            "tls.legacy",
            "null",
            "{minimum_version: 1.0, retire_on: 2027-03-31, "
            "rehearsals: [{from: 2027-03-01T09:00Z, to: 2027-03-01T09:30Z}]}",
        ),
    )
    any_port = (Listener("127.0.0.1", 0),) * 2
    assert listener_changes(settings(), settings(listeners=any_port)) == [PartChange("127.0.0.1:0 (2)", "added")]


def test_upstreams_are_known_by_their_name() -> None:
    was = settings(upstreams=(API, replace(API, name="old")))
    servers = (Server("127.0.0.1", 9000), Server("api.example", 443, tls=True))
    now = settings(upstreams=(replace(API, servers=servers, host_field="preserve"), replace(API, name="new")))
    gone, come, changed = upstream_changes(was, now)
    assert (gone, come) == (PartChange("old", "removed"), PartChange("new", "added"))
    assert changed.settings == (
        SettingChange("servers", "[http://127.0.0.1:9000]", "[http://127.0.0.1:9000, https://api.example:443]"),
        SettingChange("host", "upstream", "preserve"),
    )


def test_what_looks_like_a_secret_is_not_shown() -> None:
    [change] = setting_changes(settings(), settings(health_path=f"/{'AB12' * 24}"))
    assert change.now == "/[hidden]"


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (Limits, document.LimitsSection),
        (KeyPolicy, document.KeysSection),
        (Tls, listener_sections.TlsSection),
        (Legacy, listener_sections.LegacySection),
        (Rehearsal, listener_sections.RehearsalSection),
        (model.ClientCertificates, listener_sections.ClientCertificatesSection),
        (Listener, listener_sections.ListenerSection),
        (Upstream, upstream_sections.UpstreamSection),
        (UpstreamTls, upstream_sections.UpstreamTlsSection),
        (Cors, document.CorsSection),
        (ManagementRoutes, document.ManagementRoutesSection),
    ],
)
def test_every_member_is_called_as_in_the_file(kind: type, kept: type[section.Section]) -> None:
    shown = [each.name for each in fields(kind) if (kind, each.name) not in difference._HIDDEN]
    names = {difference._NAMES.get((kind, name), name) for name in shown}
    assert names <= set(section.named(kept))
