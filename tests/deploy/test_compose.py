"""deploy/compose.yaml: the schema of the compose specification, and that what it names is there.

It has not been run by the tests: that takes a Docker daemon and a registry of images.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystile.cli import demo_api
from tests.deploy.checking import STORE, TLS, settled
from tests.deploy.reading import DEPLOY, program

FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GATEWAY = SERVICES["gateway"]
SETTINGS = DEPLOY / "compose" / "gateway.yaml"


def check(file: Path) -> subprocess.CompletedProcess[str]:
    tool = program("check-jsonschema", "pip install check-jsonschema")
    command = [tool, "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_what_the_compose_specification_says() -> None:
    said = check(FILE)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_schema_finds_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE.read_text().replace("cap_drop: [ALL]", "cap_dorp: [ALL]"))
    assert check(file).returncode == 1


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_only_run_its_program(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"}
    assert service["healthcheck"]


def test_everything_a_service_names_is_there() -> None:
    for service in SERVICES.values():
        if service.get("network_mode") is None:
            assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
        assert set(service.get("depends_on", [])) <= SERVICES.keys()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert volume.endswith(":ro"), f"{volume}: nothing here is written by a container"
            else:
                assert source in COMPOSE["volumes"]


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [DEPLOY / source for source in mounted if source.startswith("./")]
    assert len(files) == 4
    assert all(file.exists() for file in files), files


def test_images_of_others_are_pinned_and_ours_is_built_here() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_only_this_machine_reaches_what_is_published() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_gateways_settings_are_good_and_fit(tmp_path: Path) -> None:
    settings = settled(SETTINGS.read_text(encoding="utf-8"), tmp_path)
    assert not [each for each in settings.warnings if "in clear" in each]
    ports = {port.rpartition(":")[2] for port in GATEWAY["ports"]}
    assert ports == {str(port) for port in (*(each.port for each in settings.listeners), settings.management.port)}
    stop = settings.limits.drain_wait + settings.limits.drain_timeout
    assert float(GATEWAY["stop_grace_period"].removesuffix("s")) >= stop + 5
    assert settings.health_path is not None
    assert settings.health_path in GATEWAY["healthcheck"]["test"][-1]
    assert {f"store:{STORE}", f"certificate:{TLS}:ro", "./compose:/etc/keystile:ro"} == set(GATEWAY["volumes"])


def test_its_upstream_is_the_api_of_this_file_and_knows_its_routes(tmp_path: Path) -> None:
    settings = settled(SETTINGS.read_text(encoding="utf-8"), tmp_path)
    api = SERVICES["api"]
    assert api["entrypoint"] == ["python", "-m", demo_api.__name__]
    [flag, listen] = api["command"]
    _, port = demo_api.endpoint(listen)
    assert flag == "--listen"
    assert f"http://api:{port}" in SETTINGS.read_text()
    resources = [resource.canonical for resource in demo_api.build().router.resources()]
    assert {operation.path for operation in settings.operations} <= set(resources)
