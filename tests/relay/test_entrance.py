"""What hangs on the way in: TLS versions and their day, HSTS, redirects, keys in clear. Clients of every version."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import (
    Certificate,
    ClientCertificates,
    Legacy,
    Listener,
    Needs,
    Operation,
    Rehearsal,
    Tls,
)
from keystile.wire.certificates import self_signed
from tests.e2e.running import make_certificate
from tests.relay.running import Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream
from tests.wire.websocket_attacks import FIELDS, GET, SWITCHED

DAY = 4_000_000_000.0
"""The retirement, far from the real clock: certificates and contexts are made by that."""
HTTPS = "https://api.example.com"


class Clock:
    """Unix seconds, set by hand."""

    def __init__(self, now: float = DAY - 1000) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def certificate(folder: Path, *names: str) -> Certificate:
    """A new pair of files."""
    chain, key = self_signed(list(names) or ["localhost", "127.0.0.1"], 5)
    one = Certificate(folder / f"{len(list(folder.iterdir()))}.pem", folder / f"{len(list(folder.iterdir()))}.key")
    one.certificate.write_bytes(chain)
    one.private_key.write_bytes(key)
    return one


@asynccontextmanager
async def over_tls(
    tls: Tls, clock: Clock | None = None, **more: Any
) -> AsyncIterator[tuple[Running, RecordingUpstream]]:
    """A relay whose only listener has this policy."""
    listeners = (Listener("127.0.0.1", 0, tls),)
    async with (
        RecordingUpstream() as upstream,
        running(upstream.port, listeners=listeners, wall_clock=clock or time.time, **more) as relay,
    ):
        yield relay, upstream


class OpenSsl:
    """``openssl s_client``, which speaks every version."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def connect(cls, port: int, version: str, *more: str) -> OpenSsl:
        command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", f"-{version}", *more]
        pipe = asyncio.subprocess.PIPE
        old = ["-cipher", "ALL:@SECLEVEL=0"] if version != "tls1_3" else []
        process = await asyncio.create_subprocess_exec(*command, *old, stdin=pipe, stdout=pipe, stderr=pipe)
        return cls(process)

    async def ask(self, sent: bytes, *ends: bytes) -> bytes:
        """The answer to one request; what has come, where the connection ends before. ``ends``: with what it ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(sent)
        answer = b""
        async with asyncio.timeout(20):
            while not answer.endswith(ends or (b"ok", b"}", b"}\n")):
                more = await self._process.stdout.read(65536)
                if not more:
                    break
                answer += more
        return answer

    async def ended(self) -> str:
        """Wait for its end; what it said of it."""
        assert self._process.stderr is not None
        async with asyncio.timeout(20):
            said = await self._process.stderr.read()
            await self._process.wait()
        return said.decode(errors="replace")

    def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


def old(folder: Path, *rehearsals: Rehearsal, minimum: Any = "1.0") -> Tls:
    return Tls((certificate(folder),), legacy=Legacy(minimum, DAY, rehearsals))


async def status(port: int, version: str, key: bytes) -> int:
    """Of one request over this version; 0 where no connection is made."""
    client = await OpenSsl.connect(port, version)
    answer = await client.ask(request("/any/x", key=key))
    client.close()
    return int(answer.split(b" ")[1]) if answer else 0


# -- versions and their day -------------------------------------------------------------------------------


async def test_each_version_is_served_until_its_day_and_not_from_then_on(tmp_path: Path) -> None:
    clock = Clock()
    rehearsal = Rehearsal(DAY - 500, DAY - 400)
    async with over_tls(old(tmp_path, rehearsal), clock) as (relay, _):
        key = relay.key()
        edges = [(-501, 200), (-500, 0), (-400.5, 0), (-400, 200), (-0.5, 200), (0, 0), (9, 0)]
        for seconds, served in edges:
            clock.now = DAY + seconds
            assert [await status(relay.port, version, key) for version in ("tls1", "tls1_1")] == [served] * 2
            assert [await status(relay.port, version, key) for version in ("tls1_2", "tls1_3")] == [200] * 2
        assert {line["tls"] for line in relay.lines} == {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
        counters = relay.counters
        assert counters["handshakes_refused_version"] == 8
        assert counters["handshakes"] == 20


async def test_a_kept_connection_ends_at_the_day_and_a_newer_one_does_not(tmp_path: Path) -> None:
    clock = Clock()
    async with over_tls(old(tmp_path), clock) as (relay, _):
        key = relay.key()
        ask = request("/any/x", key=key)
        aged, new = [await OpenSsl.connect(relay.port, version) for version in ("tls1", "tls1_2")]
        for client in (aged, new):
            assert b" 200 " in await client.ask(ask)
        clock.now = DAY
        await aged.ended()  # within a look
        assert b" 200 " in await new.ask(ask)
        await until(lambda: len(relay.gateway.connections) == 1)
        await until(lambda: not relay.gateway.old_ones)
        new.close()


async def test_a_clock_that_jumps_over_the_day_and_back_ends_old_connections_and_lets_new_ones_in(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with over_tls(old(tmp_path), clock) as (relay, _):
        key = relay.key()
        ask = request("/any/x", key=key)
        aged, new = [await OpenSsl.connect(relay.port, version) for version in ("tls1", "tls1_2")]
        for client in (aged, new):
            assert b" 200 " in await client.ask(ask)
        clock.now = DAY + 365 * 86400
        await aged.ended()
        assert await status(relay.port, "tls1", key) == 0
        clock.now = DAY - 1000
        back = await OpenSsl.connect(relay.port, "tls1")
        answer = await back.ask(ask)
        assert b" 200 " in answer
        assert b"\r\nSunset: " in answer
        clock.now = DAY - 365 * 86400
        assert b" 200 " in await back.ask(ask)
        assert b" 200 " in await new.ask(ask), "no time-out went by that clock"
        back.close()
        new.close()


async def test_a_rehearsal_that_is_jumped_over_is_noticed_by_nobody_and_one_that_is_jumped_into_counts(
    tmp_path: Path,
) -> None:
    clock = Clock(DAY - 600)
    async with over_tls(old(tmp_path, Rehearsal(DAY - 500, DAY - 400)), clock) as (relay, _):
        key = relay.key()
        ask = request("/any/x", key=key)
        kept = await OpenSsl.connect(relay.port, "tls1_1")
        for now in (DAY - 600, DAY - 300, DAY - 600):
            clock.now = now
            assert b" 200 " in await kept.ask(ask)
            assert await status(relay.port, "tls1", key) == 200
        clock.now = DAY - 450
        await kept.ended()
        assert await status(relay.port, "tls1", key) == 0
        clock.now = DAY - 600
        assert await status(relay.port, "tls1", key) == 200


async def test_a_request_on_its_way_is_answered_and_one_behind_it_is_not(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def slow(connection: Any, _: bytes) -> None:
        await go.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    clock = Clock()
    listeners = (Listener("127.0.0.1", 0, old(tmp_path)),)
    async with (
        RecordingUpstream(slow) as upstream,
        running(upstream.port, listeners=listeners, wall_clock=clock) as relay,
    ):
        client = await OpenSsl.connect(relay.port, "tls1")
        asked = asyncio.ensure_future(client.ask(request("/any/x", key=relay.key())))
        await until(lambda: upstream.requests)
        clock.now = DAY
        relay.gateway.looks.old_ones()
        go.set()
        answer = await asked
        assert b" 200 " in answer
        assert b"\r\nConnection: close\r\n" in answer
        await client.ended()


async def test_a_websocket_ends_at_the_day_of_its_version(tmp_path: Path) -> None:
    async def switch(connection: Any, _: bytes) -> None:
        await connection.send(SWITCHED)

    clock = Clock()
    served = Operation((), "/ws", Needs(), "api", "test", 0, websocket=True)
    listeners = (Listener("127.0.0.1", 0, old(tmp_path)),)
    async with (
        RecordingUpstream(switch) as upstream,
        running(upstream.port, listeners=listeners, wall_clock=clock, operations=(served,)) as relay,
    ):
        sent = GET.replace(b"<key>", relay.key()) + FIELDS + b"\r\n"
        aged, new = [await OpenSsl.connect(relay.port, version) for version in ("tls1_1", "tls1_2")]
        for client in (aged, new):
            assert (await client.ask(sent, b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert len(relay.gateway.tunnels) == 2
        clock.now = DAY
        await aged.ended()
        await until(lambda: len(relay.lines) == 1)
        [line] = relay.lines
        assert (line["refusal"], line["tls"], line["cut"]) == ("tls-too-old", "TLSv1.1", True)
        assert len(relay.gateway.tunnels) == relay.gateway.slots.taken() == 1
        new.close()


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_a_request_in_the_moment_between_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    async with over_tls(old(tmp_path), clock) as (relay, upstream):
        monkeypatch.setattr(relay.gateway.looks, "old_ones", lambda: None)
        ask = request("/any/x", key=relay.key())
        client = await OpenSsl.connect(relay.port, "tls1_1")
        assert b" 200 " in await client.ask(ask)
        clock.now = DAY
        answer = await client.ask(ask)
        assert b" 403 " in answer
        assert b"urn:keystile:problem:tls-too-old" in answer
        assert b"\r\nConnection: close\r\n" in answer
        assert len(upstream.requests) == 1
        client.close()


async def test_who_comes_with_an_old_version_is_told_until_when(tmp_path: Path) -> None:
    clock = Clock()
    async with over_tls(old(tmp_path), clock) as (relay, _):
        key = relay.key()
        for version, told in (("tls1", True), ("tls1_1", True), ("tls1_2", False), ("tls1_3", False)):
            client = await OpenSsl.connect(relay.port, version)
            for path in ("/any/x", "/nothing"):
                answer = await client.ask(request(path, key=key))
                assert (b"\r\nDeprecation: @4000000000\r\n" in answer) is told
                assert (b"\r\nSunset: Tue, 02 Oct 2096 07:06:40 GMT\r\n" in answer) is told
            client.close()


async def test_who_came_with_an_old_version_is_told_by_key_version_and_address(tmp_path: Path) -> None:
    async with over_tls(old(tmp_path)) as (relay, _):
        one, other = relay.key("Any"), relay.key("Any")
        for version, key in (("tls1", one), ("tls1", one), ("tls1_1", one), ("tls1_2", other), ("tls1_3", other)):
            assert await status(relay.port, version, key) == 200
        await until(lambda: relay.gateway.recorder.requests == 5)
        relay.gateway.recorder.flush(0, 0, False)
        batches = [json.loads(payload) for kind, payload in relay.channel.messages if kind == b"O"]
    seen = [each for batch in batches for each in batch]
    counts: Counter[tuple[str, str]] = Counter()
    for _, version, address, _, requests in seen:
        counts[version, address] += requests
    assert counts == {("1.0", "127.0.0.1"): 2, ("1.1", "127.0.0.1"): 1}
    assert len({key for key, *_ in seen}) == 1
    assert all(abs(at - time.time()) < 60 for *_, at, _ in seen)


async def test_a_day_in_the_past_means_never(tmp_path: Path) -> None:
    tls = Tls((certificate(tmp_path),), legacy=Legacy("1.0", 1.0))
    async with over_tls(tls) as (relay, _):
        assert [await status(relay.port, version, relay.key()) for version in ("tls1", "tls1_2")] == [0, 200]
        (sets,) = {id(each): each for each in relay.gateway._terms[tls].certificates.by_name.values()}.values()
        assert sets.legacy is None  # weak ciphers are not even loaded


async def test_refused_handshakes_are_logged_with_the_address_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(Tls((certificate(tmp_path),))) as (relay, _):
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                said = await (await OpenSsl.connect(relay.port, "tls1_1", "-servername", "a.example")).ended()
                assert "alert protocol version" in said
        lines = [record.getMessage() for record in caplog.records]
        assert lines == [
            "TLS handshake of 127.0.0.1 refused: it speaks no version that is accepted; it offers 1.1; "
            "it asks for 'a.example'"
        ]
        assert relay.counters["handshakes_refused_version"] == 3


async def test_plain_http_on_the_port_gets_a_readable_answer(tmp_path: Path) -> None:
    async with over_tls(Tls((certificate(tmp_path),))) as (relay, _):
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        assert Answer(*await client.answer()).status == 400
        client.reset()
        assert relay.counters["handshakes_refused_http"] == 1


async def test_a_handshake_that_takes_too_long_is_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(Tls((certificate(tmp_path),)), limits={"head_timeout": 0.1}) as (relay, _):
        for sent in (b"\x16\x03\x01", b""):
            client = await RawClient.connect(relay.port)
            await client.send(sent)
            await client.closed()
        await until(lambda: relay.counters["handshakes_refused_too_slow"] == 2)
        lines = [record.getMessage() for record in caplog.records]
        assert lines == ["TLS handshake of 127.0.0.1 refused: it did not end in time"]
        assert relay.counters["handshakes_abandoned"] == 0


async def test_a_client_that_leaves_in_its_handshake_is_counted(tmp_path: Path) -> None:
    async with over_tls(Tls((certificate(tmp_path),))) as (relay, _):
        client = await RawClient.connect(relay.port)
        await client.send(b"\x16\x03\x01")
        client.reset()
        await until(lambda: relay.counters["handshakes_abandoned"] == 1)
        assert relay.counters["handshakes_refused_too_slow"] == 0


# -- certificates and names ---------------------------------------------------------------------------------


async def name_of(port: int, server_name: str | None) -> bytes:
    """The certificate that is shown to who asks for this name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name or "")
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    del reader
    return shown


def der(one: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(one.certificate.read_text())


async def test_certificates_are_chosen_by_name_and_the_first_is_for_others(tmp_path: Path) -> None:
    first, second = certificate(tmp_path, "a.example"), certificate(tmp_path, "*.b.example")
    async with over_tls(Tls((first, second))) as (relay, _):
        for name, one in (("a.example", first), ("x.b.example", second), ("c.example", first), (None, first)):
            assert await name_of(relay.port, name) == der(one)


async def test_changed_certificates_count_for_the_next_handshake_and_connections_stay(tmp_path: Path) -> None:
    one = certificate(tmp_path, "a.example")
    async with over_tls(Tls((one,))) as (relay, _):
        kept = await OpenSsl.connect(relay.port, "tls1_2")
        ask = request("/any/x", key=relay.key())
        assert b" 200 " in await kept.ask(ask)
        before = await name_of(relay.port, "a.example")
        chain, key = self_signed(["a.example"], 5)
        one.certificate.write_bytes(chain)
        one.private_key.write_bytes(key)
        relay.gateway.take(relay.gateway.settings)
        assert await name_of(relay.port, "a.example") == der(one) != before
        assert b" 200 " in await kept.ask(ask)
        kept.close()


async def test_a_pair_that_does_not_match_changes_nothing(tmp_path: Path) -> None:
    one = certificate(tmp_path, "a.example")
    async with over_tls(Tls((one,))) as (relay, _):
        before = await name_of(relay.port, "a.example")
        one.certificate.write_bytes(self_signed(["a.example"], 5)[0])
        with pytest.raises(OSError, match=str(one.certificate)):
            relay.gateway.take(relay.gateway.settings)
        assert await name_of(relay.port, "a.example") == before


async def test_the_subject_of_a_clients_certificate_is_passed_on_and_cannot_be_claimed(tmp_path: Path) -> None:
    server, client = certificate(tmp_path), Certificate(*make_certificate(tmp_path))
    tls = Tls((server,), client_certificates=ClientCertificates(client.certificate, required=False))
    async with over_tls(tls) as (relay, upstream):
        key = relay.key()
        sent = request("/any/x", b"X-Keystile-Client-Subject: CN=admin", key=key)
        shown = await OpenSsl.connect(
            relay.port, "tls1_3", "-cert", str(client.certificate), "-key", str(client.private_key)
        )
        assert b" 200 " in await shown.ask(sent)
        assert upstream.requests[-1].count(b"X-Keystile-Client-Subject: CN=localhost\r\n") == 1
        assert b"admin" not in upstream.requests[-1]
        without = await OpenSsl.connect(relay.port, "tls1_3")
        assert b" 200 " in await without.ask(sent)
        assert b"X-Keystile-Client-Subject" not in upstream.requests[-1]
        shown.close()
        without.close()


# -- HSTS, redirects, keys in clear ---------------------------------------------------------------------------


async def test_hsts_stands_on_every_answer_over_tls(tmp_path: Path) -> None:
    line = b"\r\nStrict-Transport-Security: max-age=63072000\r\n"
    async with over_tls(Tls((certificate(tmp_path),), hsts=63072000.0), health_path="/healthz") as (relay, _):
        client = await OpenSsl.connect(relay.port, "tls1_3")
        for path in ("/any/x", "/nothing", "/healthz"):
            assert (await client.ask(request(path, key=relay.key()))).count(line) == 1
        client.close()


async def test_an_upstreams_own_hsts_is_left_out_where_the_listener_has_one(tmp_path: Path) -> None:
    theirs = b"sTrict-transport-Security: max-age=0\r\n"
    said = b"HTTP/1.1 200 OK\r\nA: b\r\n" + theirs + b"Content-Length: 2\r\nC: d\r\n\r\nok"
    for ours, kept in ((63072000.0, False), (None, True)):
        async with over_tls(Tls((certificate(tmp_path),), hsts=ours)) as (relay, upstream):
            upstream.answer = said
            client = await OpenSsl.connect(relay.port, "tls1_3")
            answer = await client.ask(request("/any/x", key=relay.key()))
            assert (theirs in answer) is kept
            assert answer.lower().count(b"strict-transport-security") == 1
            assert b"A: b\r\n" in answer
            assert b"C: d\r\n" in answer
            client.close()


@asynccontextmanager
async def plain(**how: Any) -> AsyncIterator[tuple[Running, RecordingUpstream]]:
    """A relay whose only listener is a plain one."""
    listener = Listener("127.0.0.1", 0, redirect=how.pop("redirect", None), plain_http=how.pop("plain_http", "allow"))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,), **how) as relay:
        yield relay, upstream


async def test_a_plain_listener_may_send_everybody_to_https(caplog: pytest.LogCaptureFixture) -> None:
    async with plain(redirect=HTTPS, health_path="/healthz") as (relay, upstream):
        key = relay.key()
        for path in ("/any/x?a=b&c=%20", "/nothing"):
            answer = await relay.ask(path, key=key)
            assert (answer.status, answer.field(b"Location")) == (308, HTTPS.encode() + path.encode())
        assert (await relay.ask("/healthz")).status == 200
        assert upstream.requests == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_key_that_came_in_clear_is_refused_and_its_owner_can_see_it(known: bool) -> None:
    async with plain(plain_http="refuse_keys", keys={"query_parameter": "apikey"}) as (relay, upstream):
        key = relay.key() if known else b"A" * 96
        for answer in (
            await relay.ask("/any/x", key=key),
            await relay.ask(f"/any/x?apikey={key.decode()}"),
            await relay.ask("/open", key=key),
        ):
            assert answer.status == 403
            assert b"urn:keystile:problem:key-in-clear" in answer.body
        assert upstream.requests == []
        assert (await relay.ask("/open")).status == 200
        assert (await relay.ask("/any/x")).status == 401
        assert (await relay.ask("/any/x", b"Authorization: Basic abc")).status == 401  # no key of ours
        relay.hand_over()
        told = [line["key"] for line in relay.lines if line["refusal"] == "key-in-clear"]
        assert told == [("key1" if known else None)] * 3


async def test_what_a_trusted_proxy_took_over_tls_has_not_come_in_clear() -> None:
    local = (ip_network("127.0.0.0/8"),)
    async with plain(plain_http="refuse_keys", trusted_proxies=local) as (relay, _):
        key = relay.key()
        assert (await relay.ask("/any/x", b"X-Forwarded-Proto: https", key=key)).status == 200
        assert (await relay.ask("/any/x", b"X-Forwarded-Proto: http", key=key)).status == 403
        relay.gateway.take(dataclasses.replace(relay.gateway.settings, trusted_proxies=()))
        assert (await relay.ask("/any/x", b"X-Forwarded-Proto: https", key=key)).status == 403
