"""Upstreams over https, through a relay: reached, verified, and reached anew when what they are trusted by changes."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path

import pytest

from keystile.config.model import Server, Upstream, UpstreamTls
from keystile.relay.groups import group_of
from keystile.relay.reaching import Reaching
from tests.e2e.running import make_certificate
from tests.relay.running import request, running
from tests.wire.peers import RawClient, RecordingUpstream


class SecureUpstream(RecordingUpstream):
    """The recording server over TLS."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


def api(port: int, host: str = "127.0.0.1", **tls: object) -> tuple[Upstream, ...]:
    return (Upstream("api", (Server(host, port, tls=True),), tls=UpstreamTls(**tls)),)  # type: ignore[arg-type]


async def test_a_request_goes_through_and_its_host_is_the_servers(files: tuple[Path, Path]) -> None:
    async with SecureUpstream(*files) as upstream, running(0, upstreams=api(upstream.port, ca=files[0])) as relay:
        client = await RawClient.connect(relay.port)
        for _ in range(3):
            await client.send(request("/open"))
            assert (await client.answer())[0] == 200
        assert len(upstream.connections) == 1
        assert b"\r\nHost: 127.0.0.1:%d\r\n" % upstream.port in upstream.requests[0]


async def test_who_is_not_trusted_is_not_spoken_to(
    files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    stranger = make_certificate(tmp_path / "other")[0]
    async with SecureUpstream(*files) as upstream:
        for tls in ({}, {"ca": stranger}, {"ca": files[0], "server_name": "api.example"}):
            async with running(0, upstreams=api(upstream.port, **tls)) as relay:
                answer = await relay.ask("/open")
                assert answer.status == 502
                assert b"certificate" not in answer.body  # that is the operator's affair
        assert upstream.requests == []
    assert "its certificate" in caplog.text
    async with SecureUpstream(*files) as upstream, running(0, upstreams=api(upstream.port, verify=False)) as relay:
        assert (await relay.ask("/open")).status == 200


async def test_other_authorities_mean_other_connections(files: tuple[Path, Path], tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(files[0].read_bytes())
    async with SecureUpstream(*files) as upstream, running(0, upstreams=api(upstream.port, ca=trusted)) as relay:
        assert (await relay.ask("/open")).status == 200
        relay.gateway.take(dataclasses.replace(relay.gateway.settings, health_path="/healthz"))
        assert (await relay.ask("/open")).status == 200
        assert len(upstream.connections) == 1  # nothing of it has changed
        (tmp_path / "other").mkdir()
        trusted.write_bytes(make_certificate(tmp_path / "other")[0].read_bytes())
        relay.gateway.take(relay.gateway.settings)
        assert (await relay.ask("/open")).status == 502


@pytest.mark.parametrize(("port", "field"), [(443, b"api.internal"), (80, b"api.internal:80"), (9, b"api.internal:9")])
async def test_https_has_a_port_of_its_own(port: int, field: bytes) -> None:
    from keystile.wire.client_context import client_context

    upstream = Upstream("api", (Server("api.internal", port, tls=True),))
    group = group_of(upstream, 1.0, Reaching((), client_context))
    assert group.host_field == field
