"""What /metrics of a real gateway says: clean by Prometheus' own tool, over deaths, and all that deploy/ asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from keystile import __version__, build
from keystile.management.families import HELP
from tests.e2e.api import answering
from tests.e2e.running import Gateway, make_certificate, serving, settings
from tests.lacking import needs
from tests.process.running import until

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\bkeystile_\w+")
SAMPLE = re.compile(r"^(keystile_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)

#: Names that only a store in a database has samples of: ``tests/storage`` and ``tests/management`` hold what they say.
OF_A_DATABASE = {
    name
    for family in HELP
    if re.match(r"store_(connected|known_age|changes?_)|hosts", family)
    for name in (f"keystile_{family}", f"keystile_{family}_bucket")
}
# In a package that starts a server when it is installed, so not for everybody; .ci/run installs it.
needs_promtool = needs(PROMTOOL, "promtool (Debian: prometheus) is not installed")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two relays and two listeners, one with TLS; it has served a few requests, and tells of keys too."""

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    certificate, key = map(str, make_certificate(tmp_path_factory.mktemp("tls")))
    tls = {"certificate": certificate, "private_key": key}
    more: dict[str, Any] = {
        "workers": 2,
        "metrics": {"keys": True},
        "listeners": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": tls}],
    }
    routes = [{"path": "/things/{id}", "methods": ["GET", "POST"], "key_only": True}]
    with answering(fine) as port:
        written = settings(port, routes, **more)
        with serving(tmp_path_factory.mktemp("gateway"), written) as gateway:
            secret = gateway.create_key("one")
            for number in range(3):
                assert gateway.call(path=f"/things/{number}", headers={"X-Api-Key": secret})[0] == 200
            assert gateway.call(path="/things/1")[0] == 401
            until(lambda: "keystile_key_requests_total{" in gateway.look("/metrics"))
            until(lambda: value(gateway, "keystile_requests_total") == 4)
            yield gateway


def value(gateway: Gateway, name: str, labels: str = "") -> float:
    """The sum of the samples of that name that have these labels."""
    return sum(
        float(number)
        for sample, said, number in SAMPLE.findall(gateway.look("/metrics"))
        if sample == name and labels in said
    )


def promtool(*words: str, stdin: str = "") -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# -- what it says ----------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_route_status_and_refusal_and_by_key(gateway: Gateway) -> None:
    route = 'method="GET,POST",route="/things/{id}",status="200",refusal="none"'
    assert value(gateway, "keystile_route_requests_total", route) == 3
    assert value(gateway, "keystile_route_requests_total", 'status="401",refusal="no_key"') == 1
    [key] = gateway.ask("keys", "list")
    assert value(gateway, "keystile_key_requests_total", f'key="{key["id"]}",problem="none"') == 3
    assert value(gateway, "keystile_upstream_duration_seconds_count") == 3
    assert value(gateway, "keystile_own_duration_seconds_count") == 4
    assert value(gateway, "keystile_slots_limit") == 20
    assert (value(gateway, "keystile_keys"), value(gateway, "keystile_accounts")) == (1, 1)


def test_no_secret_no_account_and_no_address_is_in_it(gateway: Gateway) -> None:
    text = gateway.look("/metrics")
    for secret in gateway.secrets:
        assert secret[-5:] not in text
    assert "@" not in text
    assert set(re.findall(r'\w+="127\.0\.0\.1', text)) == {'listener="127.0.0.1', 'server="127.0.0.1'}


def test_it_says_which_version_runs_and_whether_it_is_compiled(gateway: Gateway) -> None:
    [line] = [line for line in gateway.look("/metrics").splitlines() if line.startswith("keystile_build_info")]
    assert line == f'keystile_build_info{{version="{__version__}",build="{build()}"}} 1'


@needs_promtool
def test_prometheus_own_tool_has_nothing_to_say_about_it(gateway: Gateway) -> None:
    assert promtool("check", "metrics", stdin=gateway.look("/metrics")) == ""


def test_open_metrics_name_every_family_once_before_its_samples(gateway: Gateway) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    wanted = urllib.request.Request(f"http://127.0.0.1:{gateway.management}/metrics", headers=accept)
    with urllib.request.urlopen(wanted, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    assert lines[-1] == "# EOF"
    kinds: dict[str, str] = {}
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split()
            assert family not in kinds
            kinds[family] = kind
        elif line[0] != "#":
            [family] = [one for one in kinds if re.match(_sample_of(one, kinds[one]), line)]
            assert family == list(kinds)[-1], line
        elif line.startswith("# UNIT "):
            assert line.split()[2].endswith(f"_{line.split()[3]}")
    assert set(kinds.values()) == {"counter", "gauge", "histogram"}


def _sample_of(family: str, kind: str) -> str:
    """What a sample of a family begins with (OpenMetrics 1.0.0)."""
    ends = {"counter": "_total", "gauge": "", "histogram": "(_bucket|_sum|_count)"}
    return rf"{family}{ends[kind]}[{{ ]"


# -- what deploy/ asks for -------------------------------------------------------------------------------------------


def asked_by(file: Path) -> set[str]:
    """The metrics that a dashboard's or rules' expressions name."""
    if file.suffix == ".json":
        board = json.loads(file.read_text(encoding="utf-8"))
        texts = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        texts += [variable.get("definition", "") for variable in board["templating"]["list"]]
    else:
        groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        texts = [rule["expr"] for group in groups for rule in group["rules"]]
    return set(NAME.findall(" ".join(texts)))


@pytest.mark.parametrize("file", ["grafana/dashboard.json", "prometheus/alerts.yml"])
def test_every_metric_that_deploy_names_is_there(gateway: Gateway, file: str) -> None:
    asked, there = asked_by(DEPLOY / file), {name for name, _, _ in SAMPLE.findall(gateway.look("/metrics"))}
    assert len(asked) > 15
    assert asked - there <= OF_A_DATABASE


def test_every_label_that_deploy_asks_by_is_there(gateway: Gateway) -> None:
    labels = set(re.findall(r'(\w+)="', gateway.look("/metrics"))) | {"job", "instance"}
    for file in ("grafana/dashboard.json", "prometheus/alerts.yml"):
        text = (DEPLOY / file).read_text(encoding="utf-8")
        for names in re.findall(r"\bby \(([^)]*)\)", text):
            assert set(re.split(r", *", names)) <= labels, names


def test_the_dashboard_can_be_loaded_into_any_grafana() -> None:
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["templating"]["list"][0]["type"] == "datasource"
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        sources = [panel, *panel.get("targets", [])] if panel["type"] != "row" else []
        assert all(one["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for one in sources)


def test_what_grafana_is_given_fits_together() -> None:
    given = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((given / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml.safe_load((given / "dashboards" / "keystile.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


@needs_promtool
def test_the_configuration_and_the_rules_are_right_and_the_rules_tell_what_they_should(tmp_path: Path) -> None:
    for file in (DEPLOY / "prometheus").iterdir():
        # The tool looks whether files are there that only the containers have.
        text = file.read_text(encoding="utf-8").replace("/etc/keystile-tls/cert.pem", str(tmp_path / "cert.pem"))
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    make_certificate(tmp_path)[0].rename(tmp_path / "cert.pem")
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    promtool("check", "rules", str(tmp_path / "alerts.yml"))
    promtool("test", "rules", str(tmp_path / "alerts_test.yml"))


def test_every_alert_is_told_by_the_tests_of_the_rules_and_says_what_is_wrong() -> None:
    [group] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    tests = (DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8")
    for rule in group["rules"]:
        assert rule["alert"] in tests
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


# -- over deaths; last, since it kills -------------------------------------------------------------------------------


def test_what_was_counted_outlives_a_relay(gateway: Gateway) -> None:
    names = ("keystile_requests_total", "keystile_route_requests_total", "keystile_own_duration_seconds_count")
    before = {name: value(gateway, name) for name in names}
    assert all(before.values())
    for pid in gateway.pids("relay"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: value(gateway, "keystile_restarts_total") == 2 and value(gateway, "keystile_relays_up") == 2)
    assert {name: value(gateway, name) for name in names} == before
