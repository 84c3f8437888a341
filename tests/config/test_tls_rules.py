from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config import certificates

Lines = Callable[[str], list[str]]
PAIR = "certificate: a.cert.pem, private_key: a.key.pem"
TLS = "listeners: [{{address: 127.0.0.1:0, tls: {{{}}}}}]"
OLD = "legacy: {{minimum_version: '1.0', retire_on: 2099-03-31, rehearsals: [{}]}}"
SOME = "{from: 2099-03-01T09:00Z, to: 2099-03-01T10:00Z}"


def listener(text: str) -> str:
    return f"listeners: [{{address: 127.0.0.1:0, {text}}}]"


def rehearsal(*texts: str) -> str:
    return TLS.format(f"{PAIR}, " + OLD.format(", ".join(texts)))


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (TLS.format("minimum_version: '1.2'"), "listeners[0].tls", "names no certificate"),
        (TLS.format("certificate: a.cert.pem"), "listeners[0].tls.private_key", "is missing"),
        (TLS.format("private_key: a.key.pem"), "listeners[0].tls.certificate", "is missing"),
        (TLS.format(f"{PAIR}, certificates: [{{{PAIR}}}]"), "listeners[0].tls.certificate", "stands beside"),
        (TLS.format(f"{PAIR}, profile: modern, minimum_version: '1.2'"), "tls.minimum_version", "contradicts"),
        (TLS.format(f"{PAIR}, profile: modern, {OLD.format('')}"), "tls.legacy", "contradicts profile"),
        (TLS.format(f"{PAIR}, minimum_version: '1.3', {OLD.format('')}"), "tls.legacy", "refuses even 1.2"),
        (listener(f"redirect: 'https://a.example', tls: {{{PAIR}}}"), "redirect", "has no meaning with tls"),
        (listener(f"plain_http: refuse_keys, tls: {{{PAIR}}}"), "plain_http", "has no meaning with tls"),
        (listener("redirect: 'http://a.example'"), "listeners[0].redirect", "is not an https origin"),
        (listener("redirect: 'https://a.example/x'"), "listeners[0].redirect", "is not an https origin"),
        (rehearsal("{from: 2099-03-01T09:00Z, to: 2099-03-01T09:00Z}"), "rehearsals[0].to", "is not after from"),
        (rehearsal("{from: 2099-04-01T09:00Z, to: 2099-04-01T10:00Z}"), "rehearsals[0].from", "is not before"),
        (rehearsal("{from: 2099-03-30T23:00Z, to: 2099-03-31T00:01Z}"), "rehearsals[0].to", "is after retire_on"),
        (rehearsal("{from: 2099-03-01T09:00, to: 2099-03-01T10:00Z}"), "rehearsals[0].from", "lacks its zone"),
        (rehearsal(SOME, "{from: 2099-03-01T09:59Z, to: 2099-03-02T09:00Z}"), "rehearsals[1]", "overlaps"),
        (f"management: {{address: 127.0.0.1:0, tls: {{{PAIR}, hsts: 1d}}}}", "tls.hsts", "for listeners only"),
    ],
)
def test_each_contradiction_is_told_with_its_place(
    lines_with: Lines, tmp_path: Path, text: str, path: str, said: str
) -> None:
    certificates.make(tmp_path)
    assert [line for line in lines_with(text) if f"{path}: " in line and said in line], lines_with(text)


def upstream(text: str) -> str:
    return f"upstreams: {{api: {{{text}}}}}\nroutes: [{{path: /x, scope: X, upstream: api}}]"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (upstream('servers: ["https://a", "http://b"]'), "upstreams.api.servers[1]", "differs from"),
        (upstream('servers: ["http://a"], tls: {verify: true}'), "upstreams.api.tls", "has no meaning without https"),
        (upstream('servers: ["https://a"], tls: {certificate: a.cert.pem}'), "tls.private_key", "missing"),
        (upstream('servers: ["https://a"], tls: {server_name: "a b"}'), "upstreams.api.tls.server_name", "host name"),
    ],
)
def test_upstreams_have_rules_too(lines_of: Lines, tmp_path: Path, text: str, path: str, said: str) -> None:
    certificates.make(tmp_path)
    assert [line for line in lines_of(text) if f"{path}: " in line and said in line], lines_of(text)


def test_what_is_right_is_taken(with_settings: Callable[[str], object], tmp_path: Path) -> None:
    certificates.make(tmp_path)
    other = "{from: 2099-03-01T10:00Z, to: 2099-03-01T11:00Z}"  # from the very end of the one before
    assert with_settings(rehearsal(SOME, other))
