"""TLS of listeners, with real handshakes."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from keystile.config.model import Certificate, Listener, Tls
from keystile.wire.tls import reason_of, server_context
from tests.config.certificates import make
from tests.relay.running import running
from tests.wire.judge import judge_request
from tests.wire.peers import RawClient, RecordingUpstream


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make(tmp_path_factory.mktemp("tls"))


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a handshake in memory. Raises ``ssl.SSLError`` where either refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends


def test_a_client_is_given_one_ticket_and_with_it_the_next(files: tuple[Path, Path]) -> None:
    context, client = server_context(*files), client_context()
    session = None
    for resumed in (False, True, True):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
        serving = context.wrap_bio(to_server, to_client, server_side=True)
        for end in (asking, serving, asking):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        assert not to_client.pending
        serving.do_handshake()
        ticket = to_client.read()
        assert len(ticket) == 5 + int.from_bytes(ticket[3:5], "big"), "one record (RFC 8446 section 5.1)"
        to_client.write(ticket)
        with suppress(ssl.SSLWantReadError):
            asking.read()
        session = asking.session
        assert session is not None
        assert session.has_ticket
        assert serving.session_reused is resumed


@pytest.mark.parametrize(("floor", "best"), [("1.2", "TLSv1.3"), ("1.3", "TLSv1.3")])
def test_the_best_common_version_is_spoken(files: tuple[Path, Path], floor: str, best: str) -> None:
    client, server = handshake(server_context(*files, floor), client_context())  # type: ignore[arg-type]
    assert client.version() == server.version() == best


def test_tls_1_2_is_served_where_it_is_the_floor_and_not_above(files: tuple[Path, Path]) -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(server_context(*files, "1.2"), client)[0].version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        handshake(server_context(*files, "1.3"), client)


def test_the_floor_is_set_and_not_left_to_the_build(files: tuple[Path, Path]) -> None:
    assert server_context(*files).minimum_version is ssl.TLSVersion.TLSv1_2
    assert server_context(*files, "1.3").minimum_version is ssl.TLSVersion.TLSv1_3


def test_old_ciphers_are_refused(files: tuple[Path, Path]) -> None:
    for ciphers in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
        client = client_context()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(ciphers)
        with pytest.raises(ssl.SSLError):
            handshake(server_context(*files), client)
    names = {cipher["name"] for cipher in server_context(*files).get_ciphers()}
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_http_1_1_is_agreed_on_and_http_2_is_not(files: tuple[Path, Path]) -> None:
    client = client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert handshake(server_context(*files), client)[0].selected_alpn_protocol() == "http/1.1"
    client.set_alpn_protocols(["h2"])
    assert handshake(server_context(*files), client)[0].selected_alpn_protocol() is None


def test_files_that_are_missing_or_do_not_match_are_errors(files: tuple[Path, Path], tmp_path: Path) -> None:
    _, another_key = make(tmp_path, "b")
    with pytest.raises(OSError, match="No such file"):
        server_context(tmp_path / "none.pem", files[1])
    with pytest.raises(ssl.SSLError):
        server_context(files[0], another_key)


async def test_a_request_over_tls_says_so_to_the_upstream(files: tuple[Path, Path]) -> None:
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*files),)))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,)) as relay:
        client = await RawClient.connect(relay.port, tls=client_context())
        for _ in range(2):
            await client.send(b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % relay.key())
            assert (await client.answer())[0] == 200
        assert all(b"\r\nX-Forwarded-Proto: https\r\n" in request for request in upstream.requests)
        judge_request(upstream.requests[0], proto=b"https")


async def test_a_refusal_over_tls_can_be_read_before_the_end(files: tuple[Path, Path]) -> None:
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*files),)))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,)) as relay:
        client = await RawClient.connect(relay.port, tls=client_context())
        await client.send(b"POST /any/a HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nhello")
        assert (await client.answer())[0] == 401
        with suppress(ConnectionError):  # this client ends as soon as it is told of our end
            await client.send(b"x" * 1000)
        assert await client.closed() == b""
        assert upstream.connections == []


async def test_the_first_request_over_tls_gets_its_own_answer_where_it_is_refused_too(files: tuple[Path, Path]) -> None:
    """The handshake's last bytes (session tickets) are still leaving when the refusal is written."""
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*files),)))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,)) as relay:
        client = await RawClient.connect(relay.port, tls=client_context())
        await client.send(b"GET /any/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer())[0] == 401
        await client.send(b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n" % relay.key())
        assert (await client.answer())[0] == 200


async def test_plain_http_on_a_tls_listener_is_told_so_and_goes_no_further(files: tuple[Path, Path]) -> None:
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*files),)))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,)) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
        status, _, body = await client.answer()
        assert (status, b"This port speaks HTTPS" in body) == (400, True)
        client.reset()
        assert upstream.connections == []


async def test_many_requests_with_bodies_on_one_tls_connection_are_all_answered(files: tuple[Path, Path]) -> None:
    """uvloop's TLS with a write limit of zero pauses and resumes by turns, with nothing to write."""
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*files),)))
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,)) as relay:
        key = relay.key()
        client = await RawClient.connect(relay.port, tls=client_context())
        for _ in range(10):
            await client.send(b"POST /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nContent-Length: 5\r\n\r\n" % key)
            await asyncio.sleep(0.01)
            await client.send(b"hello")
            assert (await client.answer())[0] == 200
        assert len(upstream.requests) == 10


def test_an_error_that_openssl_has_no_name_for_is_one_still() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ssl.SSLError) as unnamed:
        context.load_cert_chain("/dev/null")
    assert getattr(unnamed.value, "reason", "") is None
    assert reason_of(unnamed.value) == reason_of(ssl.SSLError("odd")) == ""
    assert reason_of(ssl.SSLError(1, "[SSL: HTTP_REQUEST] http request")) == ""
