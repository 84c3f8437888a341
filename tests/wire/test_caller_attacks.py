"""Who is calling: nobody is believed who may not be, and a request counts for exactly one address."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_network

import pytest

from keystile.config.model import Listener
from tests.relay.running import running, until
from tests.wire import judge
from tests.wire.caller_attacks import CALLERS, Caller
from tests.wire.peers import RawClient, RecordingUpstream

LOCAL = (ip_network("127.0.0.0/8"),)


def _name(row: Caller) -> str:
    return f"{row.family}: {row.name}"


@pytest.mark.parametrize("row", CALLERS, ids=_name)
async def test_a_request_counts_for_whom_it_is(row: Caller) -> None:
    listener = Listener("127.0.0.1", 0, proxy_protocol=row.announced)
    async with (
        RecordingUpstream() as upstream,
        running(
            upstream.port,
            listeners=(listener,),
            trusted_proxies=LOCAL if row.trusted else (),
            client_address_field=row.by,
            limits={"head_timeout": 0.3},
        ) as relay,
    ):
        key = relay.key()
        client = await RawClient.connect(relay.port)
        with suppress(ConnectionError):
            await client.send(row.sent.replace(b"<key>", key))
            if row.cut:
                client.writer.write_eof()
        if row.address is None:
            await asyncio.wait_for(client.closed(), judge.WAIT)
            assert upstream.requests == []
        else:
            assert (await asyncio.wait_for(client.answer(), judge.WAIT))[0] == 200
            (line,) = relay.lines
            assert (line["address"], line["socket"]) == (row.address, "127.0.0.1")
            assert b"6.6.6.6" not in upstream.received or row.family != "PROXY"
            client.reset()
        await until(lambda: not relay.gateway.in_flight and not relay.gateway.crowd.present)
        assert relay.gateway.slots.taken() == 0
        assert not relay.gateway.newcomers
