from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from keystile.config.model import (
    Certificate,
    ClientCertificates,
    Listener,
    Needs,
    Operation,
    Server,
    Settings,
    Tls,
    Upstream,
    UpstreamTls,
)
from keystile.process.difference import compare
from keystile.process.snapshot import Snapshot
from keystile.wire.certificates import self_signed
from tests.process.stand_in import settings_for

HERE = Path("/srv/keystile")
CERT, KEY, CA, API = (HERE / name for name in ("cert.pem", "key.pem", "ca.pem", "api.yaml"))
FIRST, SECOND = self_signed(["a.example"], 5), self_signed(["a.example", "b.example"], 9)


def settings(*operations: Operation, **changes: object) -> Settings:
    tls = Tls((Certificate(CERT, KEY),), client_certificates=ClientCertificates(CA))
    listener = Listener("127.0.0.1", 8443, tls)
    fields = {"listeners": (listener,), "documents": (API,), "upstreams": (Upstream("api", (Server("::1", 1),)),)}
    return settings_for(HERE, operations=operations, **{**fields, **changes})


def row(path: str, *scopes: str, line: int = 1) -> Operation:
    needs = Needs(all_of=frozenset(scopes)) if scopes else Needs(public=True)
    return Operation(("GET",), path, needs, "api", f"gateway.yaml:{line}", line)


FILES = {str(CERT): FIRST[0], str(KEY): FIRST[1], str(CA): FIRST[0], str(API): b"openapi: 3.0.0"}
IN_FORCE = Snapshot(1, settings(row("/a", "A")), FILES)


def test_the_same_in_another_way_is_no_difference() -> None:
    other_lines = replace(IN_FORCE.settings, operations=(row("/a", "A", line=7),), file=HERE / "new.yaml")
    found = compare(IN_FORCE, Snapshot(2, other_lines, dict(FILES)))
    assert found == {
        "differs": False,
        "restart": [],
        "settings": [],
        "listeners": [],
        "upstreams": [],
        "routes": [],
        "files": [],
    }


def test_settings_and_routes_are_told_with_what_they_need() -> None:
    found = compare(IN_FORCE, Snapshot(2, settings(row("/a"), health_path="/up", workers=9), FILES))
    assert (found["differs"], found["restart"]) == (True, ["workers"])
    assert [one["path"] for one in found["settings"]] == ["workers", "health_path"]
    [route] = found["routes"]
    assert (route["method"], route["path"], route["what"], route["opening"]) == ("GET", "/a", "changed", "public")
    assert (route["was"]["scopes"], route["now"]["scopes"]) == (["A"], None)


def test_files_are_told_by_what_they_are_and_keys_by_nothing() -> None:
    files = {str(CERT): SECOND[0], str(KEY): SECOND[1], str(CA): b"none", str(API): b"openapi: 3.1.0"}
    found = compare(IN_FORCE, Snapshot(2, IN_FORCE.settings, files))
    by_kind = {one["kind"]: one for one in found["files"]}
    assert by_kind["certificate"]["was"]["names"] == ["a.example"]
    assert by_kind["certificate"]["now"]["names"] == ["a.example", "b.example"]
    assert by_kind["certificate"]["was"]["ends"] < by_kind["certificate"]["now"]["ends"]
    assert by_kind["authority"]["now"] is None
    for kind, path in (("private key", KEY), ("document", API)):
        told = {"file": str(path), "kind": kind, "what": "changed", "was": None, "now": None}
        assert by_kind[kind] == told
    said = json.dumps(found)
    assert "PRIVATE KEY" not in said
    for line in (FIRST[1] + SECOND[1]).decode().splitlines():
        assert line not in said


def test_files_come_and_go_with_what_names_them() -> None:
    to = UpstreamTls(ca=HERE / "u-ca.pem", certificate=HERE / "u.pem", private_key=HERE / "u.key")
    wanted = settings(row("/a", "A"), documents=(), upstreams=(Upstream("api", (Server("::1", 1, True),), tls=to),))
    more = {str(to.ca): FIRST[0], str(to.certificate): FIRST[0], str(to.private_key): FIRST[1]}
    files = {**{name: content for name, content in FILES.items() if name != str(API)}, **more}
    found = compare(IN_FORCE, Snapshot(2, wanted, files))
    assert [(one["kind"], one["what"]) for one in found["files"]] == [
        ("document", "removed"),
        ("authority", "added"),
        ("certificate", "added"),
        ("private key", "added"),
    ]
    assert [one["what"] for one in found["upstreams"]] == ["changed"]
