"""What a connection asks of what stands above it is there, in the relay and in what tests put in its place."""

from __future__ import annotations

import pytest

from keystile.relay.exchange import Exchange
from keystile.relay.gateway import Gateway
from keystile.relay.tunnel import Tunnel as RelayTunnel
from keystile.wire import application
from tests.relay.running import running
from tests.wire.peers import RecordingUpstream


def asked_of(shape: type) -> set[str]:
    """Every method and attribute that the shape names."""
    methods = {name for name in vars(shape) if not name.startswith("_")}
    return methods | {name for name in vars(shape).get("__annotations__", {}) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("shape", "maker"),
    [
        (application.ServedRequest, Exchange),
        (application.ServedRequest, RelayTunnel),
        (application.Tunnel, RelayTunnel),
    ],
)
def test_whoever_is_served_has_all_that_a_connection_tells_it(shape: type, maker: type) -> None:
    assert asked_of(shape)
    assert not [name for name in asked_of(shape) if not hasattr(maker, name) and name not in _annotated(maker)]


async def test_a_gateway_has_all_that_a_connection_asks_for_at_every_request() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        gateway = relay.gateway
        assert isinstance(gateway, Gateway)
        assert not [name for name in asked_of(application.Application) if not hasattr(gateway, name)]


def _annotated(maker: type) -> set[str]:
    return {name for parent in maker.__mro__ for name in vars(parent).get("__annotations__", {})}
