from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keystile.config import load as loading
from keystile.config.fingerprint import LENGTH, canonical, print_of
from keystile.config.model import Certificate, ClientCertificates, Limits, Settings, Tls, UpstreamTls
from keystile.routing.conflicts import check_conflicts
from keystile.routing.openapi import read_operations

DOCUMENT = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\npaths: {/b: {get: {x-scope: B, responses: {}}}}\n"
TEXT = """
listeners: [{address: 192.0.2.1:8080}]
workers: 2
access_log: logs/access.log
trusted_proxies: [10.0.0.0/8]
upstreams: {api: {servers: ['http://127.0.0.1:9000']}}
routes:
  - {path: /a, scopes: {any: [B, A]}, upstream: api}
  - {openapi: api.yaml, scope_from: x-scope, upstream: api}
"""
KEY = b"k" * 32


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Settings]:
    """A host's settings: its folder, what differs in gateway.yaml, and its document."""

    def load(name: str, *changes: tuple[str, str], document: str = DOCUMENT) -> Settings:
        folder = tmp_path / name
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        text = TEXT
        for was, now in changes:
            assert was in text
            text = text.replace(was, now)
        (folder / "gateway.yaml").write_text(text, "utf-8")
        (folder / "api.yaml").write_text(document, "utf-8")
        return loading.load(
            folder / "gateway.yaml", read_document=read_operations, check_operations=check_conflicts
        )

    return load


def printed(settings: Settings, key: bytes = KEY) -> str:
    return print_of(settings, Path.read_bytes, key)


def test_what_a_host_has_of_its_own_makes_no_other_print(host: Callable[..., Settings]) -> None:
    ours = printed(host("one"))
    assert len(ours) == LENGTH
    assert ours == printed(host("two", ("192.0.2.1", "192.0.2.2"), ("workers: 2", "workers: 8 # more here")))
    assert ours == printed(host("three", ("workers: 2", "limits: {request_timeout: 600s}")))
    stored = dataclasses.replace(host("four"), store=Path("/elsewhere/keystile.db"), warnings=("mind",))
    assert ours == printed(stored)


@pytest.mark.parametrize(
    "change",
    [
        ("192.0.2.1:8080", "192.0.2.1:8081"),
        ("workers: 2", "limits: {request_timeout: 601s}"),
        ("logs/access.log", "stdout"),
        ("10.0.0.0/8", "10.0.0.0/9"),
        ("any: [B, A]", "all: [B, A]"),
        ("127.0.0.1:9000", "127.0.0.1:9001"),
    ],
)
def test_whatever_else_differs_makes_another(host: Callable[..., Settings], change: tuple[str, str]) -> None:
    assert printed(host("one")) != printed(host("two", change))


def test_documents_count_by_what_stands_in_them(host: Callable[..., Settings]) -> None:
    ours = printed(host("one"))
    assert ours != printed(host("two", document=DOCUMENT.replace("title: t", "title: u")))
    assert ours != printed(host("three", document=DOCUMENT.replace("x-scope: B", "x-scope: A")))


def test_authorities_count_by_what_stands_in_them_and_certificates_and_keys_not_at_all(tmp_path: Path) -> None:
    from tests.relay.running import settings

    tls = _tls(tmp_path)
    listener = dataclasses.replace(settings(9).listeners[0], tls=tls)
    made = dataclasses.replace(settings(9, file=tmp_path / "gateway.yaml"), listeners=(listener,))
    read: list[Path] = []

    def contents(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    ours = print_of(made, contents, KEY)
    assert [path.name for path in read] == ["ca.pem"]
    elsewhere = (Certificate(Path("/etc/ssl/two.pem"), Path("/etc/ssl/two.key")),)
    moved = dataclasses.replace(listener, tls=dataclasses.replace(tls, certificates=elsewhere))
    assert print_of(dataclasses.replace(made, listeners=(moved,)), contents, KEY) == ours
    (tmp_path / "ca.pem").write_text("another")
    assert print_of(made, contents, KEY) != ours


def test_of_a_certificate_for_upstreams_it_counts_only_whether_there_is_one() -> None:
    from tests.relay.running import settings

    made = settings(9)

    def told(name: str | None) -> str:
        own = None if name is None else Path(name)
        upstream = dataclasses.replace(made.upstreams[0], tls=UpstreamTls(certificate=own, private_key=own))
        return print_of(dataclasses.replace(made, upstreams=(upstream,)), Path.read_bytes, KEY)

    assert told("/etc/ssl/one.pem") == told("/etc/ssl/two.pem") != told(None)


def _tls(folder: Path) -> Any:
    (folder / "ca.pem").write_text("one")
    clients = ClientCertificates(folder / "ca.pem")
    return Tls((Certificate(folder / "c.pem", folder / "k.pem"),), client_certificates=clients)


def test_a_print_tells_nothing_to_who_has_not_the_key_of_the_hosts(host: Callable[..., Settings]) -> None:
    settings = host("one")
    assert printed(settings, b"a" * 32) != printed(settings, b"b" * 32)


def test_a_setting_that_a_later_version_adds_changes_no_print_before_it_is_used(host: Callable[..., Settings]) -> None:
    later = dataclasses.make_dataclass(
        "Limits", [("added", int, dataclasses.field(default=7))], bases=(Limits,), frozen=True
    )
    now = host("one")
    same, used = (dataclasses.replace(now, limits=later(**more)) for more in ({}, {"added": 8}))
    assert printed(now) == printed(same) != printed(used)


def test_what_prints_are_made_of_is_the_same_text_in_every_version() -> None:
    """Another text would make hosts of two versions seem to differ, all the while they are upgraded."""
    from tests.relay.running import settings

    made = settings(9, file=Path("/etc/keystile/gateway.yaml"), store=Path("/var/lib/keystile.db"))
    said = json.loads(canonical(made, Path.read_bytes))
    assert said["files"] == []
    assert said["settings"].keys() == {"listeners", "management", "keys", "limits", "trusted_proxies", "health_path",
        "access_log", "upstreams", "operations"}  # fmt: skip
    assert said["settings"]["upstreams"][0] == {"name": "api", "servers": [{"host": "127.0.0.1", "port": 9}]}


def test_a_type_that_no_setting_has_had_is_an_error_and_no_print() -> None:
    from tests.relay.running import settings

    with pytest.raises(TypeError, match="of the type bytes"):
        printed(dataclasses.replace(settings(9), health_path=b"x"))  # type: ignore[arg-type]
