"""The gate on both loops, with OpenSSL's own client at every version, on both sides of the date."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.wire.certificates import self_signed
from keystile.wire.tls import ClientCertificates, Pair, legacy_context, load_pair, profile_context
from keystile.wire.tls_gate import (
    ATTEMPT,
    Attempt,
    Certificates,
    CertificateSet,
    Done,
    Gate,
    GateObject,
    Reason,
    Refused,
)
from keystile.wire.tls_policy import Legacy, Policy, Rehearsal, Version
from tests.e2e.running import make_certificate
from tests.examples import examples

DAY = 1_800_000_000.0
POLICY = Policy(Version.TLS_1_2, Legacy(Version.TLS_1_0, DAY))
PAIRS = {name: Pair(*self_signed([name], 5)) for name in ("a.example", "*.b.example")}
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[Done | Refused] = []

    def started(self, peer: str) -> None:
        self.begun.append(peer)

    def done(self, handshake: Done) -> None:
        self.ends.append(handshake)

    def refused(self, refusal: Refused) -> None:
        self.ends.append(refusal)


def certificates(legacy: bool = True) -> Certificates:
    return Certificates.of(
        [
            CertificateSet((name,), profile_context([pair]), legacy_context([pair]) if legacy else None)
            for name, pair in PAIRS.items()
        ]
    )


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        stream.write(b"hello")
        stream.close()


@asynccontextmanager
async def listening(gate: Gate) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(
        Greeting, "127.0.0.1", 0, ssl=gate, ssl_handshake_timeout=5, ssl_shutdown_timeout=1
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def s_client(port: int, *arguments: str) -> str:
    """What ``openssl s_client`` says, both outputs."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(20):
        return (await process.communicate())[0].decode(errors="replace")


def on(loop: Callable[[], asyncio.AbstractEventLoop], work: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("option", "version"), [("-tls1", "1.0"), ("-tls1_1", "1.1"), ("-tls1_2", "1.2"), ("-tls1_3", "1.3")]
)
def test_each_version_on_both_sides_of_the_date(loop: Any, before: bool, option: str, version: str) -> None:
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: DAY - 1 if before else DAY)

    async def work() -> None:
        async with listening(gate) as port:
            said = await s_client(port, option, "-cipher", "ALL:@SECLEVEL=0")
        (end,) = seen.ends
        if before or version > "1.1":
            assert isinstance(end, Done)
            assert end.version is Version.of(version)
        else:
            assert isinstance(end, Refused)
            assert (end.reason, end.offered) == (Reason.VERSION, (Version.of(version),))
            assert "alert protocol version" in said

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_newer_clients_agree_on_the_same_with_and_without_legacy(loop: Any, option: str) -> None:
    async def agreed(legacy: bool) -> list[str]:
        gate = Gate(POLICY if legacy else Policy(), certificates(legacy), Seen(), lambda: DAY - 1)
        async with listening(gate) as port:
            said = await s_client(port, option, "-cipher", "ALL:@SECLEVEL=0")
        words = ("Peer signature type", "Peer signing digest", "Cipher is", "Server Temp Key")
        return [line for line in said.splitlines() if any(word in line for word in words)]

    async def work() -> None:
        with_legacy = await agreed(True)
        assert len(with_legacy) >= 4
        assert with_legacy == await agreed(False)

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
def test_plain_http_gets_an_answer_that_can_be_read_and_garbage_an_alert(loop: Any) -> None:
    seen = Seen()

    async def answer(port: int, data: bytes, size: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        async with asyncio.timeout(5):
            got = await reader.readexactly(size)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return got

    async def work() -> None:
        async with listening(Gate(POLICY, certificates(), seen)) as port:
            assert await answer(port, b"GET / HTTP/1.1\r\n\r\n", 12) == b"HTTP/1.1 400"
            assert await answer(port, b"\0\1\2\3", 7) == b"\x15\x03\x01\x00\x02\x02\x32"
        assert [each.reason for each in seen.ends if isinstance(each, Refused)] == [Reason.HTTP, Reason.GARBAGE]

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("asked", "shown"), [("A.example", "a.example"), ("x.b.example", "*.b.example"), ("other", "a.example")]
)
def test_the_certificate_is_chosen_by_name(loop: Any, asked: str, shown: str) -> None:
    async def work() -> None:
        async with listening(Gate(Policy(), certificates(False), Seen())) as port:
            assert f"CN = {shown}" in await s_client(port, "-servername", asked)

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
def test_the_owners_attempt_reaches_the_gate_from_its_task(loop: Any) -> None:
    seen = Seen()

    async def work() -> None:

        running = asyncio.get_running_loop()
        gate = Gate(Policy(), certificates(False), seen)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            client = asyncio.ensure_future(s_client(listener.getsockname()[1]))
            accepted, _ = await running.sock_accept(listener)
            attempt = Attempt("192.0.2.7")
            ATTEMPT.set(attempt)
            await running.connect_accepted_socket(Greeting, accepted, ssl=gate)
            await client
        assert attempt.ended
        assert seen.begun == ["192.0.2.7"]
        assert seen.ends[0].peer == "192.0.2.7"

    on(loop, work())


# -- in memory: sessions, client certificates, changes, hellos in pieces and mutated ------------------------------


class Client:
    """A client in memory; ``version``: the only one that it speaks."""

    def __init__(self, version: str = "1.3", name: str = "a.example", certificate: Pair | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = ssl.TLSVersion[f"TLSv{version}".replace(".", "_").replace("v1_0", "v1")]
            context.minimum_version = context.maximum_version
        if certificate is not None:
            load_pair(context, certificate)
        self.context = context
        self.name = name
        self.session: ssl.SSLSession | None = None

    def meet(self, gate: Gate, piece: int = 100_000) -> ssl.SSLObject:
        """One handshake, with the session of the last one. Raises SSLError, the alert in it."""
        to_client, to_server, incoming, outgoing = (ssl.MemoryBIO() for _ in range(4))
        client = self.context.wrap_bio(to_client, to_server, server_hostname=self.name, session=self.session)
        server = GateObject(gate, incoming, outgoing)
        done = False
        for _ in range(10):
            rejected: ssl.SSLError | None = None
            if not done:
                try:
                    client.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    rejected = error  # its alert is still to reach the server
            data = to_server.read()
            for start in range(0, len(data), piece):
                incoming.write(data[start : start + piece])
                if not server.refused:
                    with suppress(ssl.SSLWantReadError):
                        server.do_handshake()
            to_client.write(outgoing.read())
            if rejected is not None:
                raise rejected
            if done:
                # Tickets of 1.3, or an alert that only comes with the client's certificate.
                with suppress(ssl.SSLWantReadError):
                    client.read(1)
        self.session = client.session
        return client


def test_a_session_is_worth_nothing_above_the_floor() -> None:
    now = [DAY - 1]
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: now[0])
    for version in ("1.0", "1.1"):
        client = Client(version)
        client.meet(gate)
        client.meet(gate)
        assert [cast(Done, end).resumed for end in seen.ends] == [False, True], "that sessions are resumed at all"
        seen.ends.clear()
        now[0] = DAY
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            client.meet(gate)
        [refused] = seen.ends
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.VERSION
        seen.ends.clear()
        now[0] = DAY - 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_outlives_the_day_where_its_version_does(version: str) -> None:
    now = [DAY - 1]
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: now[0])
    client = Client(version)
    client.meet(gate)
    now[0] = DAY
    client.meet(gate)
    assert [cast(Done, end).resumed for end in seen.ends] == [False, True]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_is_worth_nothing_under_another_name(version: str) -> None:
    seen = Seen()
    gate = Gate(Policy(), certificates(False), seen)
    client = Client(version)
    client.meet(gate)
    client.name = "x.b.example"
    client.meet(gate)
    assert [cast(Done, end).resumed for end in seen.ends] == [False, False]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_change_of_certificates_ends_sessions_and_counts_for_the_next_hello(version: str) -> None:
    seen = Seen()
    gate = Gate(Policy(), certificates(False), seen)
    client = Client(version)
    before = client.meet(gate).getpeercert(binary_form=True)
    other = Pair(*self_signed(["a.example"], 5))
    gate.replace(Certificates.of([CertificateSet(("a.example",), profile_context([other]))]))
    after = client.meet(gate).getpeercert(binary_form=True)
    assert before != after
    assert after == ssl.PEM_cert_to_DER_cert(other.chain.decode())
    assert [cast(Done, end).resumed for end in seen.ends] == [False, False]


def test_a_handshake_that_has_chosen_goes_on_through_a_change() -> None:
    seen = Seen()
    gate = Gate(Policy(), certificates(False), seen)
    to_client, to_server, incoming, outgoing = (ssl.MemoryBIO() for _ in range(4))
    client = Client().context.wrap_bio(to_client, to_server, server_hostname="a.example")
    server = GateObject(gate, incoming, outgoing)
    for end, mine, theirs in ((client, to_server, incoming), (server, outgoing, to_client)):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
        theirs.write(mine.read())
    gate.replace(Certificates.of([], default=False), Policy(Version.TLS_1_3))
    client.do_handshake()
    incoming.write(to_server.read())
    server.do_handshake()
    assert isinstance(seen.ends[0], Done)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        Client().meet(gate)


# -- client certificates ------------------------------------------------------------------------------------------

OURS, STRANGE = "ours", "strange"


@pytest.fixture(scope="module")
def clients_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Pair | None]:
    """Certificates that clients may show (``self_signed`` makes those of servers), by whose they are."""
    found: dict[str | None, Pair | None] = {None: None}
    for name in (OURS, STRANGE):
        chain, key = make_certificate(tmp_path_factory.mktemp(name))
        found[name] = Pair(chain.read_bytes(), key.read_bytes())
    return found


def asking(authority: Pair | None, required: bool, seen: Seen) -> Gate:
    assert authority is not None
    clients = ClientCertificates(authority.chain.decode(), required)
    pair = PAIRS["a.example"]
    made = CertificateSet(("a.example",), profile_context([pair], clients=clients), legacy_context([pair], clients))
    return Gate(POLICY, Certificates.of([made]), seen, lambda: DAY - 1)


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.3"])
@pytest.mark.parametrize(
    ("required", "shown", "end"),
    [
        (True, OURS, None),
        (True, None, Reason.NO_CERTIFICATE),
        (True, STRANGE, Reason.BAD_CERTIFICATE),
        (False, OURS, None),
        (False, None, None),
        (False, STRANGE, Reason.BAD_CERTIFICATE),
    ],
)
def test_client_certificates_at_each_version(
    version: str, required: bool, shown: str | None, end: Reason | None, clients_of: dict[str | None, Pair | None]
) -> None:
    seen = Seen()
    client = Client(version, certificate=clients_of[shown])
    gate = asking(clients_of[OURS], required, seen)
    if end is None:
        client.meet(gate)
        assert isinstance(seen.ends[0], Done)
    else:
        with pytest.raises(ssl.SSLError, match="ALERT"):
            client.meet(gate)
        assert cast(Refused, seen.ends[0]).reason is end


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_made_without_a_certificate_does_not_pass_for_one(version: str) -> None:
    """Sessions of a name that asks for none are not those of one that does: contexts have keys of their own."""
    seen = Seen()
    clients = ClientCertificates(PAIRS["a.example"].chain.decode(), True)
    sets = [
        CertificateSet(("a.example",), profile_context([PAIRS["a.example"]])),
        CertificateSet(("b.example",), profile_context([PAIRS["*.b.example"]], clients=clients)),
    ]
    gate = Gate(Policy(), Certificates.of(sets), seen)
    client = Client(version)
    client.meet(gate)
    client.name = "b.example"
    with pytest.raises(ssl.SSLError, match="ALERT"):
        client.meet(gate)
    assert cast(Refused, seen.ends[1]).reason is Reason.NO_CERTIFICATE


# -- reasons ------------------------------------------------------------------------------------------------------


def test_each_reason_has_its_alert() -> None:
    seen = Seen()
    gate = Gate(Policy(), certificates(False), seen)
    weak = Client("1.2")
    weak.context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        weak.meet(gate)
    picky = Client()
    picky.context.verify_mode = ssl.CERT_REQUIRED  # trusts nobody
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        picky.meet(gate)
    named = Gate(Policy(), Certificates.of(list(gate.terms.certificates.by_name.values()), default=False), seen)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        Client(name="nobody.example").meet(named)
    reasons = [cast(Refused, end).reason for end in seen.ends]
    assert reasons == [Reason.CIPHER, Reason.REJECTED, Reason.NAME]


def test_modern_means_1_3() -> None:
    made = Certificates.of([CertificateSet(("a.example",), profile_context([PAIRS["a.example"]], "modern"))])
    gate = Gate(Policy(Version.TLS_1_3), made, Seen())
    assert Client().meet(gate).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        Client("1.2").meet(gate)


@pytest.mark.parametrize(("at", "served"), [(-11, True), (-10, False), (-6, False), (-5, True), (-1, True), (0, False)])
def test_rehearsals_and_the_day_have_sharp_edges(at: float, served: bool) -> None:
    policy = Policy(Version.TLS_1_2, Legacy(Version.TLS_1_0, DAY, (Rehearsal(DAY - 10, DAY - 5),)))
    for moment in (DAY + at, DAY + at + 0.999):
        gate = Gate(policy, certificates(), Seen(), lambda moment=moment: moment)  # type: ignore[misc]
        Client("1.2").meet(gate)
        if served:
            assert Client("1.0").meet(gate).version() == "TLSv1"
        else:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                Client("1.0").meet(gate)


# -- hellos -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.3"])
@pytest.mark.parametrize("piece", [1, 7])
def test_a_hello_in_pieces_is_one(version: str, piece: int) -> None:
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: DAY - 1)
    assert Client(version).meet(gate, piece).version() is not None
    [done] = seen.ends
    assert cast(Done, done).server_name == "a.example"


def hello(version: str) -> bytes:
    to_server = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        Client(version).context.wrap_bio(ssl.MemoryBIO(), to_server, server_hostname="a.example").do_handshake()
    return to_server.read()


@settings(max_examples=examples(1500), deadline=None)
@given(
    st.sampled_from(["1.0", "1.2", "1.3"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_a_mutated_hello_is_refused_or_answered_and_never_below_the_floor(
    version: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """Whatever a stranger sends: an alert, an answer, or waiting for more; and nothing else is ever raised."""
    seen = Seen()
    gate = Gate(POLICY, certificates(), seen, lambda: DAY)
    data = bytearray(hello(version))
    for place, change in changes:
        data[place % len(data)] ^= change
    if cut:
        del data[len(data) * cut // 4 :]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = GateObject(gate, incoming, outgoing)
    incoming.write(data)
    with suppress(ssl.SSLWantReadError):
        server.do_handshake()
    answer = outgoing.read()
    assert server.refused == bool(seen.ends)
    if server.refused:
        assert answer[:1] == b"\x15" or answer.startswith(b"HTTP/1.1 400 ") or not answer
    if answer[:1] == b"\x16":  # a ServerHello: its version, or the one in supported_versions
        assert answer[9:11] == b"\x03\x03"
