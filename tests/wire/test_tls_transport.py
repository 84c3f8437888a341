"""TLS between the loop's transport and a protocol: the same bytes both ways however they are cut, and every end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.wire import tls_transport
from keystile.wire.certificates import self_signed
from keystile.wire.tls import Pair, profile_context
from keystile.wire.tls_gate import Certificates, CertificateSet, Done, Gate, Reason, Refused
from keystile.wire.tls_policy import Policy
from keystile.wire.tls_transport import SLICE_IN, SLICE_OUT, UNREAD, Securing, TlsConnection
from tests.wire.key_updates import key_updates

CHAIN, KEY = self_signed(["localhost"], 5)
CERTIFICATES = Certificates.of([CertificateSet(("localhost",), profile_context([Pair(CHAIN, KEY)]))])


class Watching:
    """Counts handshakes."""

    def __init__(self) -> None:
        self.ends: list[Done | Refused] = []

    def started(self, peer: str) -> None:
        """Nothing is asked of it."""

    def done(self, handshake: Done) -> None:
        self.ends.append(handshake)

    def refused(self, refusal: Refused) -> None:
        self.ends.append(refusal)


class Raw:
    """The loop's transport."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.did: list[str] = []
        self.limits: object = None

    def write(self, data: bytes) -> None:
        assert not {"close", "abort", "write_eof"} & set(self.did), "nothing is sent after the end"
        self.sent.append(bytes(data))

    def take(self) -> bytes:
        taken, self.sent = b"".join(self.sent), []
        return taken

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & set(self.did))

    def get_write_buffer_size(self) -> int:
        return 17

    def set_write_buffer_limits(self, high: int | None, low: int | None) -> None:
        self.limits = high, low

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("192.0.2.1", 5)}.get(name, default)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name not in {"close", "abort", "write_eof", "pause_reading", "resume_reading"}:
            raise AttributeError(name)
        return lambda: self.did.append(name)


class Above(asyncio.Protocol):
    """What a connection tells the protocol above; ``then`` runs at each piece of data."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.data: list[bytes] = []
        self.transport: Any = None
        self.then: Callable[[], object] = lambda: None
        self.half_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.heard.append("made")

    def data_received(self, data: bytes) -> None:
        self.data.append(data)
        self.then()

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return self.half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    @property
    def text(self) -> bytes:
        return b"".join(self.data)


class Ends:
    """A client in memory, and the connection that it has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float = 10.0, ciphers: str = "") -> None:
        self.watching = Watching()
        gate = Gate(Policy(), CERTIFICATES, self.watching)
        self.above, self.raw = Above(), Raw()
        self.connection = TlsConnection(self.above, Securing(gate, seconds), loop)
        self.connection.connection_made(cast(asyncio.Transport, self.raw))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if ciphers:
            context.set_ciphers(ciphers)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.to_client, self.to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.to_client, self.to_server, server_hostname="localhost")

    def shake(self, early: bytes = b"") -> Ends:
        """The whole handshake; ``early``: plain text that comes together with its last bytes."""
        for _ in range(5):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.pass_on()
                continue
            if early:
                self.client.write(early)
            self.pass_on()
            break
        assert self.above.heard == ["made"]
        return self

    def pass_on(self) -> None:
        self.connection.data_received(self.to_server.read())
        self.to_client.write(self.raw.take())

    def said(self, data: bytes) -> bytes:
        """The records of plain text from the client."""
        self.client.write(data)
        return self.to_server.read()

    def heard(self) -> bytes:
        """What the client can read; ends where it says that there is no more."""
        self.to_client.write(self.raw.take())
        text = b""
        while True:
            try:
                piece = self.client.read(65536)
            except ssl.SSLWantReadError:
                return text
            if not piece:
                return text + b"<end>"
            text += piece


@pytest.fixture
async def ends() -> Ends:
    return Ends(asyncio.get_running_loop()).shake()


# -- bytes ---------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000) | st.just(b"x" * 40_000), min_size=1, max_size=5),
    st.lists(st.integers(1, 50_000), min_size=1, max_size=10),
)
def test_the_same_bytes_come_both_ways_however_they_are_cut(texts: list[bytes], cuts: list[int]) -> None:
    loop = asyncio.new_event_loop()
    try:
        ends = Ends(loop).shake()
        records = b"".join(ends.said(text) for text in texts)
        number = 0
        while records:
            size = cuts[number % len(cuts)]
            ends.connection.data_received(records[:size])
            records, number = records[size:], number + 1
        assert ends.above.text == b"".join(texts)
        for text in texts:
            ends.connection.write(text)
        ends.connection.writelines(texts)
        assert ends.heard() == b"".join(texts) * 2
    finally:
        loop.close()


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_handed_up() -> None:
    for ciphers in ("", "ECDHE+AESGCM"):
        ends = Ends(asyncio.get_running_loop(), ciphers=ciphers).shake(early=b"at once")
        assert ends.above.text == b"at once"
        [done] = ends.watching.ends
        assert isinstance(done, Done)
        assert ends.connection.settled.done()


async def test_a_handshake_byte_by_byte_is_one_too() -> None:
    ends = Ends(asyncio.get_running_loop())
    while "made" not in ends.above.heard:
        with suppress(ssl.SSLWantReadError):
            ends.client.do_handshake()
        for byte in ends.to_server.read():
            ends.connection.data_received(bytes([byte]))
        ends.to_client.write(ends.raw.take())
    assert ends.above.heard == ["made"]


async def test_an_answer_leaves_in_slices(ends: Ends) -> None:
    text = bytes(range(256)) * 1000
    ends.connection.write(memoryview(text))
    assert len(ends.raw.sent) == -(-len(text) // SLICE_OUT)
    assert max(map(len, ends.raw.sent)) < SLICE_OUT + 200
    assert ends.heard() == text


async def test_nothing_is_written_for_no_bytes(ends: Ends) -> None:
    ends.connection.write(b"")
    ends.connection.writelines([])
    assert ends.raw.sent == []


async def test_while_nobody_reads_bytes_wait_and_keep_their_order(ends: Ends) -> None:
    ends.above.then = ends.connection.pause_reading
    first, second = ends.said(b"1"), ends.said(b"2") + ends.said(b"3")
    ends.connection.data_received(first + second)
    ends.connection.data_received(ends.said(b"4" * SLICE_IN))
    assert ends.above.data == [b"1"]
    assert ends.raw.did == ["pause_reading"]
    assert SLICE_IN < ends.connection.get_extra_info(UNREAD) < SLICE_IN + 200, "what waits counts as held"
    ends.above.then = lambda: None
    ends.connection.resume_reading()
    ends.connection.resume_reading()
    assert ends.above.data == [b"1"], "not within the call: who resumes is in the middle of something"
    ends.connection.data_received(ends.said(b"5"))
    await asyncio.sleep(0)
    assert ends.above.text == b"123" + b"4" * SLICE_IN + b"5"
    assert ends.connection.get_extra_info(UNREAD) == 0
    assert ends.raw.did == ["pause_reading", "resume_reading"]


async def test_what_waited_comes_without_anything_new(ends: Ends) -> None:
    ends.connection.pause_reading()
    ends.connection.data_received(ends.said(b"waits"))
    ends.connection.resume_reading()
    await asyncio.sleep(0)
    assert ends.above.data == [b"waits"]


async def test_after_a_close_from_above_nothing_is_handed_up(ends: Ends) -> None:
    ends.above.then = ends.connection.close
    ends.connection.data_received(ends.said(b"1") + ends.said(b"2"))
    ends.connection.data_received(ends.said(b"3"))
    assert ends.above.data == [b"1"]


async def test_a_full_buffer_is_told_and_what_is_in_it_counts(ends: Ends) -> None:
    ends.connection.pause_writing()
    ends.connection.resume_writing()
    assert ends.above.heard == ["made", "pause", "resume"]
    ends.connection.set_write_buffer_limits(high=0)
    assert ends.raw.limits == (0, None)
    assert ends.connection.get_write_buffer_size() == 17
    assert not ends.connection.can_write_eof()


async def test_a_full_buffer_during_the_handshake_is_nobodys_business_above() -> None:
    ends = Ends(asyncio.get_running_loop())
    ends.connection.pause_writing()
    ends.connection.resume_writing()
    assert ends.above.heard == []


async def test_it_tells_what_the_real_ones_know(ends: Ends) -> None:
    secured = ends.connection.get_extra_info("ssl_object")
    assert secured.version() == "TLSv1.3"
    assert secured.getpeercert() is None
    assert ends.connection.get_extra_info("peername") == ("192.0.2.1", 5)
    assert ends.connection.get_extra_info("nothing", 3) == 3


# -- ends ----------------------------------------------------------------------------------------------------


async def test_a_close_says_so_and_leaves_before_the_connection_ends(ends: Ends) -> None:
    ends.connection.write(b"all")
    ends.connection.close()
    ends.connection.close()
    ends.connection.write(b"too late")
    assert ends.connection.is_closing()
    assert ends.raw.did == ["close"]
    assert ends.heard() == b"all<end>"
    ends.connection.connection_lost(None)
    assert ends.above.heard == ["made", "lost"]


async def test_a_client_that_says_goodbye_is_told_above_and_closed(ends: Ends) -> None:
    last = ends.said(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.connection.data_received(last + ends.to_server.read())
    assert (ends.above.text, ends.above.heard) == (b"last", ["made", "eof"])
    assert ends.raw.did == ["close"]


async def test_an_end_without_goodbye_is_an_end(ends: Ends) -> None:
    assert not ends.connection.eof_received()
    ends.connection.connection_lost(None)
    assert ends.above.heard == ["made", "eof", "lost"]


@pytest.mark.parametrize("place", [0, 1, 3, 5, 20, -1])
async def test_a_record_that_was_tampered_with_ends_it_and_hands_nothing_up(ends: Ends, place: int) -> None:
    record = bytearray(ends.said(b"pay 10"))
    record[place] ^= 0x40
    ends.connection.data_received(bytes(record))
    ends.connection.data_received(ends.said(b"more"))
    # A longer length is waited for; the record that comes with it cannot be right.
    ends.connection.data_received(bytes(20_000))
    assert ends.above.data == []
    assert "abort" in ends.raw.did


def asking_for_keys(ends: Ends, key_log: Path) -> Iterator[bytes]:
    """A client that has shaken hands, and asks for new keys again and again (each has to be answered)."""
    ends.client.context.keylog_filename = str(key_log)
    ends.shake()
    ends.raw.take()
    cipher = ends.client.cipher()
    assert cipher is not None
    return key_updates(key_log, cipher[0])


async def test_who_makes_us_talk_has_to_listen(tmp_path: Path) -> None:
    ends = Ends(asyncio.get_running_loop())
    updates = asking_for_keys(ends, tmp_path / "keys")
    ends.connection.pause_writing()
    for _ in range(10_000):
        if ends.raw.is_closing():
            break
        ends.connection.data_received(next(updates))
    assert ends.raw.did == ["abort"]
    assert 0 < len(ends.raw.take()) <= tls_transport.OWN_BOUND


async def test_new_keys_are_had_by_who_listens(tmp_path: Path) -> None:
    ends = Ends(asyncio.get_running_loop())
    updates = asking_for_keys(ends, tmp_path / "keys")
    answered = 0
    for number in range(2_000):
        if number % 100 == 0:
            ends.connection.pause_writing()  # and whoever comes to read a little later is no attacker
        ends.connection.data_received(next(updates))
        answered += len(ends.raw.take())
        if number % 100 == 50:
            ends.connection.resume_writing()
    assert answered == 1_999 * 27  # the last answer leaves with whatever is next
    assert ends.raw.did == []


async def test_an_abort_is_one(ends: Ends) -> None:
    ends.connection.abort()
    assert ends.raw.did == ["abort"]
    assert ends.connection.is_closing()


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_who_is_refused_reads_why_and_is_cut_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_transport, "REFUSED_SECONDS", 0.01)
    ends = Ends(asyncio.get_running_loop(), ciphers="AES128-SHA")
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.do_handshake()
    ends.pass_on()
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        ends.client.do_handshake()
    ends.connection.data_received(b"whatever else")
    assert ends.raw.did == ["write_eof"]
    assert not ends.connection.settled.done(), "its connection still counts"
    await asyncio.sleep(0.05)
    assert ends.raw.did == ["write_eof", "abort"]
    ends.connection.connection_lost(None)
    assert ends.above.heard == []
    assert ends.connection.settled.done()


async def test_plain_http_gets_an_answer_that_can_be_read() -> None:
    ends = Ends(asyncio.get_running_loop())
    ends.connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ends.raw.take().startswith(b"HTTP/1.1 400 ")
    assert ends.raw.did == ["write_eof"]


async def test_a_handshake_that_takes_too_long_is_cut_however_it_trickles() -> None:
    ends = Ends(asyncio.get_running_loop(), seconds=0.05)
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.do_handshake()
    hello = ends.to_server.read()
    for byte in hello[:10]:
        ends.connection.data_received(bytes([byte]))
        await asyncio.sleep(0.01)
    assert ends.raw.did == ["abort"]
    assert ends.raw.sent == []
    [refused] = ends.watching.ends
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TOO_SLOW


@pytest.mark.parametrize("end", ["lost", "close", "abort", "eof"])
async def test_an_end_before_the_handshakes_is_nobodys_business_above(end: str) -> None:
    ends = Ends(asyncio.get_running_loop())
    if end == "close":
        ends.connection.close()
    elif end == "abort":
        ends.connection.abort()
    elif end == "eof":
        assert not ends.connection.eof_received()
    ends.connection.connection_lost(None)
    assert (ends.above.heard, ends.watching.ends) == ([], [])
    assert ends.connection.settled.done()
    ends.connection.write(b"into nothing")
    assert ends.raw.sent == []


async def test_after_the_handshake_no_clock_runs() -> None:
    ends = Ends(asyncio.get_running_loop(), seconds=0.02).shake()
    await asyncio.sleep(0.05)
    assert ends.raw.did == []


async def test_our_end_alone_is_said_with_a_close_notify_and_what_crosses_it_is_dropped() -> None:
    ends = Ends(asyncio.get_running_loop()).shake()
    ends.connection.write(b"last")
    ends.connection.pause_reading()
    ends.connection.write_eof()
    assert ends.heard() == b"last<end>"
    assert ends.raw.did == ["pause_reading", "write_eof", "resume_reading"]
    ends.client.write(b"a request on its way")
    ends.connection.data_received(ends.to_server.read())
    assert ends.above.text == b""
    ends.connection.write_eof()
    assert not ends.connection.eof_received(), "the client's end closes"
    ends.connection.connection_lost(None)
    assert ends.above.heard == ["made", "lost"]
