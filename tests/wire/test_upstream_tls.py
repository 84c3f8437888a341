"""TLS to servers, with real ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keystile.wire.client_context import TlsFailed, client_context
from keystile.wire.tls import server_context
from keystile.wire.upstream_tls import TlsPool
from tests.relay.running import running
from tests.wire.transports import KeptAnswer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A certificate for ``api.internal`` and 127.0.0.1 that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.internal")])
    names = x509.SubjectAlternativeName([x509.DNSName("api.internal"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    signed = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1)).add_extension(names, False)
    pem = serialization.Encoding.PEM
    (folder / "c.pem").write_bytes(signed.sign(key, hashes.SHA256()).public_bytes(pem))
    kept = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "k.pem").write_bytes(kept)
    return folder / "c.pem", folder / "k.pem"


class Seen:
    port = 0

    def __init__(self) -> None:
        self.objects: list[ssl.SSLObject] = []
        self.names: list[str | None] = []


@asynccontextmanager
async def server(files: Files, answer: bytes = OK, top: str = "1.3", **how: bool) -> AsyncIterator[Seen]:
    """``cut``: end without close_notify after the answer; ``end``: with it; ``mtls``: ask for a certificate."""
    seen, context = Seen(), server_context(*files)
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if top == "1.3" else ssl.TLSVersion.TLSv1_2
    context.sni_callback = lambda made, name, _: seen.names.append(name)
    if how.get("mtls"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files[0])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.objects.append(writer.get_extra_info("ssl_object"))
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                if how.get("cut"):
                    writer.transport.abort()
                if how.get("end"):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    seen.port = listening.sockets[0].getsockname()[1]
    yield seen
    listening.close()
    await asyncio.sleep(0.05)


async def ask(pool: TlsPool) -> KeptAnswer:
    connection = pool.take() or await pool.connect()
    connection.carried = answer = KeptAnswer(connection)
    connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(5):
        while answer.outcome == "open":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return answer


@pytest.mark.parametrize("top", ["1.2", "1.3"])
async def test_the_second_connection_resumes_the_first_ones_session(files: Files, top: str) -> None:
    async with server(files, top=top) as seen:
        pool = TlsPool("127.0.0.1", seen.port, 5, client_context(ca=files[0]), "api.internal")
        for _ in range(2):
            assert (await ask(pool)).received == b"ok"
            pool.close()
            pool.closed = False
        assert [each.session_reused for each in seen.objects] == [False, True]
        assert seen.names[0] == "api.internal"


async def test_an_address_in_the_certificate_is_a_name(files: Files) -> None:
    async with server(files) as seen:
        pool = TlsPool("127.0.0.1", seen.port, 5, client_context(ca=files[0]))
        assert (await ask(pool)).received == (await ask(pool)).received == b"ok"
        assert len(seen.objects) == 1
        pool.close()


async def test_another_name_and_an_unknown_authority_are_refused_and_named(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(files) as seen:
        for context, name, said in (
            (client_context(ca=files[0]), "other.internal", "not for other.internal"),
            (client_context(), "api.internal", "cannot be trusted"),
        ):
            with pytest.raises(TlsFailed, match=said):
                await TlsPool("127.0.0.1", seen.port, 5, context, name).connect()
            assert said in caplog.text
            assert f"127.0.0.1:{seen.port}" in caplog.text


async def test_plain_servers_and_silent_ones_are_told_apart() -> None:
    for answer, kind, said in ((OK, TlsFailed, "does not speak TLS"), (b"", TimeoutError, "handshake was not")):

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes = answer) -> None:
            writer.write(answer)
            await asyncio.sleep(0.3)
            writer.close()

        plain = await asyncio.start_server(serve, "127.0.0.1", 0)
        with pytest.raises(kind, match=said):
            await TlsPool("127.0.0.1", plain.sockets[0].getsockname()[1], 0.2, client_context()).connect()
        plain.close()
        await asyncio.sleep(0.4)


async def test_a_floor_above_the_server_is_refused(files: Files) -> None:
    async with server(files, top="1.2") as seen:
        context = client_context(ca=files[0], minimum_version="1.3")
        with pytest.raises(TlsFailed):
            await TlsPool("127.0.0.1", seen.port, 5, context).connect()


async def test_our_certificate_is_sent_where_it_is_asked_for(files: Files) -> None:
    async with server(files, mtls=True) as seen:
        context = client_context(ca=files[0], certificate=files[0], private_key=files[1])
        pool = TlsPool("127.0.0.1", seen.port, 5, context)
        assert (await ask(pool)).received == b"ok"
        assert seen.objects[0].getpeercert()
        pool.close()  # uvloop's close() never ends while a connection over TLS is open


@pytest.mark.parametrize("head", [b"", b"Content-Length: 9\r\n"])
async def test_an_end_without_close_notify_is_a_cut(files: Files, head: bytes) -> None:
    async with server(files, b"HTTP/1.1 200 OK\r\n" + head + b"\r\nhello", cut=True) as seen:
        pool = TlsPool("127.0.0.1", seen.port, 5, client_context(ca=files[0]))
        assert (await ask(pool)).outcome == "broken"


async def test_an_end_with_close_notify_ends_a_body_and_empties_the_pool(files: Files) -> None:
    for answer in (b"HTTP/1.1 200 OK\r\n\r\nok", OK):
        async with server(files, answer, end=True) as seen:
            pool = TlsPool("127.0.0.1", seen.port, 5, client_context(ca=files[0]))
            assert (await ask(pool)).received == b"ok"
            await asyncio.sleep(0.05)
            assert pool.take() is None


async def test_a_request_goes_through_the_relay_to_an_https_server(files: Files) -> None:
    async with server(files) as seen, running(9) as relay:
        pool = TlsPool("127.0.0.1", seen.port, 5, client_context(ca=files[0]))
        [member], refresh = relay.gateway.upstreams["api"].members, relay.gateway.upstreams["api"].refresh
        member.pool = pool
        refresh()
        assert [(await relay.ask("/open")).body for _ in range(3)] == [b"ok"] * 3
        assert len(seen.objects) == 1
        member.pool = TlsPool("127.0.0.1", seen.port, 5, client_context())
        refresh()
        refused = await relay.ask("/open")
        assert refused.slug == "upstream-unreachable"
        assert b"certificate" not in refused.body
        pool.close()
