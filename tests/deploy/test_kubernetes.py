"""deploy/kubernetes: Kubernetes' own schemas, and that probes, times, memory and names fit each other.

Nothing of it has been applied by the tests: that takes a cluster.
"""

from __future__ import annotations

import copy
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from keystile.cli.main import build_parser
from keystile.config.model import Settings
from tests.deploy.checking import STORE, TLS, settled
from tests.deploy.reading import DEPLOY, PAGE, ROOT, program

FOLDER = DEPLOY / "kubernetes"
VERSIONS = ["1.30", "1.34", "1.37"]
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [
    document for name in KUSTOMIZATION["resources"] for document in yaml.safe_load_all((FOLDER / name).read_text())
]
UNITS = {"Mi": 2**20, "Gi": 2**30}


def found(kind: str, name: str = "keystile") -> dict[str, Any]:
    """The one object of this kind and name."""
    (one,) = [each for each in OBJECTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return one


POD: dict[str, Any] = found("StatefulSet")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def size(text: str) -> int:
    """Bytes of a quantity such as 512Mi."""
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settled(found("ConfigMap")["data"]["gateway.yaml"], tmp_path, "tls.crt", "tls.key")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_its_kind_says(version: str) -> None:
    for each in OBJECTS:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_find_what_is_wrong() -> None:
    worse = copy.deepcopy(found("StatefulSet"))
    worse["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = CONTAINER["readinessProbe"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(worse, VERSIONS[-1], strict=True)


def test_kustomize_puts_all_of_it_together() -> None:
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {file.name for file in FOLDER.iterdir()}
    tool = program("kubectl", "apt-get install kubernetes-client, or from kubernetes.io", in_ci=False)
    done = subprocess.run([tool, "kustomize", str(FOLDER)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {each["kind"] for each in made} == {each["kind"] for each in OBJECTS}
    [image] = re.findall(r"image: (\S+)", done.stdout)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert image.endswith(f"/keystile:{version}")


def test_the_pod_may_only_run_its_program() -> None:
    """The restricted profile of Kubernetes' Pod Security Standards, which the namespace demands, and more."""
    assert found("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    whole, one = POD["securityContext"], CONTAINER["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False
    assert not POD.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert f"USER {whole['runAsUser']}:{whole['runAsGroup']}\n" in (DEPLOY / "Dockerfile").read_text()


def test_a_stop_has_time_for_preStop_wait_and_drain(settings: Settings) -> None:
    [program_name, seconds] = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert program_name == "sleep"
    needed = float(seconds) + settings.limits.drain_wait + settings.limits.drain_timeout
    assert POD["terminationGracePeriodSeconds"] >= needed + 5
    # Not ready is seen before accepting ends.
    ready = CONTAINER["readinessProbe"]
    assert float(seconds) + settings.limits.drain_wait >= ready["periodSeconds"] * ready["failureThreshold"]


def test_probes_ask_what_the_settings_answer(settings: Settings) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    [listener] = settings.listeners
    assert ports == {"https": listener.port, "management": settings.management.port}
    for name in ("startupProbe", "readinessProbe"):
        assert CONTAINER[name]["httpGet"] == {"path": settings.health_path, "port": "https", "scheme": "HTTPS"}
    name, *words = CONTAINER["livenessProbe"]["exec"]["command"]
    assert name == "keystile"
    assert build_parser().parse_args(words).file == Path("/etc/keystile/gateway.yaml")


def test_relays_shed_before_the_kernel_ends_them(settings: Settings) -> None:
    limits = CONTAINER["resources"]["limits"]
    assert settings.workers == int(limits["cpu"])
    assert settings.limits.max_memory is not None
    others = size("256Mi")  # supervisor and management
    assert settings.workers * settings.limits.max_memory + others <= size(limits["memory"])


def test_what_is_mounted_is_where_the_settings_look() -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert not [mount for mount in CONTAINER["volumeMounts"] if "subPath" in mount], "such a file never changes"
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    [claim] = found("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert mounts.keys() == volumes.keys() | {claim["metadata"]["name"]}
    assert (mounts["certificate"], mounts["store"], mounts["settings"]) == (TLS, STORE, "/etc/keystile")
    assert volumes["settings"]["configMap"]["name"] == found("ConfigMap")["metadata"]["name"]
    assert f"create secret tls {volumes['certificate']['secret']['secretName']} " in PAGE.read_text(encoding="utf-8")


def test_one_pod_has_the_store_and_is_taken_away_on_purpose_only() -> None:
    whole = found("StatefulSet")
    assert whole["spec"]["replicas"] == 1
    assert whole["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert found("PodDisruptionBudget")["spec"]["maxUnavailable"] == 0


def test_every_selector_finds_the_pod_and_every_port_has_its_name() -> None:
    labels = found("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    services = [found("Service"), found("Service", "keystile-management")]
    assert all(service["spec"]["selector"] == labels for service in services)
    assert found("StatefulSet")["spec"]["selector"]["matchLabels"] == labels
    assert found("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert found("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    names = {port["name"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for service in services for port in service["spec"]["ports"]} == names
    let_in = [port["port"] for rule in found("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert set(let_in) == names


def test_callers_keep_their_addresses() -> None:
    assert found("Service")["spec"]["externalTrafficPolicy"] == "Local"


def test_the_policy_lets_out_to_the_api_that_the_settings_name(settings: Settings) -> None:
    [upstream] = settings.upstreams
    [server] = upstream.servers
    rules = found("NetworkPolicy")["spec"]["egress"]
    assert server.port in [port["port"] for rule in rules for port in rule["ports"]]
