from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config import certificates

Lines = Callable[[str], list[str]]
SEVERAL = "listeners: [{{address: 127.0.0.1:0, tls: {{certificates: [{}]}}}}]"
PAIR = "{{certificate: {}, private_key: {}}}"


def test_each_of_several_certificates_is_judged(lines_with: Lines, tmp_path: Path) -> None:
    first, second = certificates.make(tmp_path), certificates.make(tmp_path, "b")
    mixed = SEVERAL.format(f"{PAIR.format(*first)}, {PAIR.format(second[0], first[1])}")
    (line,) = lines_with(mixed)
    assert line.startswith("gateway.yaml:1: listeners[0].tls.certificates[1].private_key: ")
    assert "is not the private key of the certificate" in line


def test_a_certificate_is_for_somebody(lines_with: Lines, tmp_path: Path) -> None:
    nobody, somebody = certificates.make(tmp_path, common_name=None), certificates.make(tmp_path, "b")
    (line,) = lines_with(SEVERAL.format(f"{PAIR.format(*somebody)}, {PAIR.format(*nobody)}"))
    assert line.startswith("gateway.yaml:1: listeners[0].tls.certificates[1].certificate: ")
    assert "is for no name" in line


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            "listeners: [{address: 127.0.0.1:0, tls: {certificate: a.cert.pem, private_key: a.key.pem, "
            "client_certificates: {ca: %s}}}]",
            "listeners[0].tls.client_certificates.ca",
        ),
        ('upstreams: {api: {servers: ["https://a"], tls: {ca: %s}}}\nroutes: [{path: /x, scope: X, upstream: api}]',
         "upstreams.api.tls.ca"),
    ],
)  # fmt: skip
def test_who_signs_must_be_certificates(lines_of: Lines, tmp_path: Path, text: str, place: str) -> None:
    certificates.make(tmp_path)
    for name, said in (("a.key.pem", "holds no certificate in PEM form"), ("none.pem", "cannot be read")):
        lines = lines_of(text % name if "upstreams" in text else f"{text % name}\n{LEAST}")
        assert [line for line in lines if f" {place}: " in line and said in line], lines


LEAST = """upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}
routes: [{path: /x, scope: X, upstream: api}]
"""
