from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.model import Server, Upstream
from keystile.keys.keyring import HeldKey, KeyRow
from keystile.keys.networks import EVERYWHERE
from keystile.relay import forward
from keystile.relay.forward import without_cors
from tests.relay.running import request, running
from tests.wire.peers import RawClient, RecordingUpstream

TRUSTING: dict[str, Any] = {"trusted_proxies": (ipaddress.ip_network("127.0.0.1/32"),)}
SPOOFED = [
    b"X-Forwarded-For: 6.6.6.6",
    b"X-Forwarded-Host: evil.example",
    b"X-Forwarded-Proto: gopher",
    b"X-Forwarded-Prefix: /evil",
    b"x_forwarded_for: 6.6.6.6",
    b"Forwarded: for=6.6.6.6",
    b"X-Real-IP: 6.6.6.6",
    b"X_Real_Ip: 6.6.6.6",
    b"X-Client-IP: 6.6.6.6",
    b"True-Client-IP: 6.6.6.6",
    b"CF-Connecting-IP: 6.6.6.6",
    b"X-Request-Id: spoofed6666",
]
FROM_NOBODY = [
    b"X-Keystile-Account: root6666@example.com",
    b"x_keystile_scopes: All6666",
    b"X-Keystile-Anything: 6666",
    b"Proxy-Connection: 6666",
    b"Proxy-Authorization: 6666",
    b"Keep-Alive: 6666",
    b"TE: trailers6666",
    b"Upgrade: h2c6666",
    b"HTTP2-Settings: 6666",
    b"Connection: X-Named, upgrade, keep-alive",
    b"X-Named: 6666",
    b"x_named: 6666",
]


def values(sent: bytes, name: bytes) -> list[bytes]:
    lines = [line.partition(b": ") for line in sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value for found, _, value in lines if found.lower().replace(b"_", b"-") == name.lower()]


@pytest.mark.parametrize("path", ["/any/x", "/open"])
async def test_what_a_client_says_of_itself_or_of_the_connection_is_dropped(path: str) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        answer = await relay.ask(path, *SPOOFED, *FROM_NOBODY, b"X-Kept: 1", key=relay.key("B", "A"))
        assert answer.status == 200
        (sent,) = upstream.requests
        assert b"6666" not in sent
        assert b"6.6.6.6" not in sent
        assert b"evil" not in sent
        assert b"gopher" not in sent
        assert values(sent, b"X-Kept") == [b"1"]
        assert values(sent, b"Connection") == []
        assert values(sent, b"X-Forwarded-For") == [b"127.0.0.1"]
        assert values(sent, b"X-Forwarded-Proto") == [b"http"]
        assert values(sent, b"X-Forwarded-Host") == [b"api.example"]
        assert values(sent, b"Via") == [b"1.1 keystile"]
        assert values(sent, b"X-Request-Id") == [answer.field(b"X-Request-Id")]
        identified = path != "/open"
        assert values(sent, b"X-Keystile-Account") == [b"owner@example.com"] * identified
        assert values(sent, b"X-Keystile-Key") == [b"key1"] * identified
        assert values(sent, b"X-Keystile-Scopes") == [b"A, B"] * identified


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Keystile-Account", "X-Keystile-Key", "Via", "X-Request-Id", "Host"],
)
async def test_no_client_can_have_a_field_of_ours_dropped(name: str) -> None:
    """CVE-2022-31813: Connection names what the proxy adds."""
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        await relay.ask("/any/x", b"Connection: close, " + name.encode(), key=relay.key())
        (sent,) = upstream.requests
        assert len(values(sent, name.encode())) == 1


async def test_connection_cannot_smuggle_the_key_away() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        assert (await relay.ask("/any/x", b"Connection: X-Api-Key", key=relay.key())).status == 200
        assert (await relay.ask("/any/x", b"Connection: X-Api-Key", key=b"bad")).status == 401
        assert relay.secrets[0] not in upstream.received


async def test_a_trusted_proxy_is_believed_and_named() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **TRUSTING) as relay:
        answer = await relay.ask(
            "/any/x",
            b"X-Forwarded-For: 6.6.6.6",
            b"X-Forwarded-For: 10.0.0.1",
            b"X-Forwarded-Host: www.example",
            b"X-Forwarded-Proto: HTTPS",
            b"X-Forwarded-Prefix: /v9",
            b"X-Real-IP: 10.0.0.1",
            b"X-Request-Id: abc-123",
            b"X-Keystile-Account: root",
            b"Via: 1.0 front",
            key=relay.key(),
        )
        (sent,) = upstream.requests
        assert values(sent, b"X-Forwarded-For") == [b"6.6.6.6, 10.0.0.1, 127.0.0.1"]
        assert values(sent, b"X-Forwarded-Host") == [b"www.example"]
        assert values(sent, b"X-Forwarded-Proto") == [b"https"]
        assert values(sent, b"X-Forwarded-Prefix") == [b"/v9"]
        assert values(sent, b"X-Real-IP") == [b"10.0.0.1"]
        assert values(sent, b"X-Keystile-Account") == [b"owner@example.com"]
        assert values(sent, b"Via") == [b"1.0 front", b"1.1 keystile"]
        assert values(sent, b"X-Request-Id") == [b"abc-123"] == [answer.field(b"X-Request-Id")]


@pytest.mark.parametrize("bad", [b"a b", b"x" * 129, b'"', b"\xff", b"", b"a/b"])
async def test_a_request_id_that_is_none_is_replaced(bad: bytes) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **TRUSTING) as relay:
        answer = await relay.ask("/open", b"X-Request-Id: " + bad)
        (sent,) = upstream.requests
        assert values(sent, b"X-Request-Id") == [answer.field(b"X-Request-Id")] != [bad]


async def test_request_ids_are_never_the_same_twice() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as one, running(upstream.port) as two:
        ids = {(await relay.ask("/open")).field(b"X-Request-Id") for relay in (one, two) * 10}
        assert len(ids) == 20


@pytest.mark.parametrize(
    ("version", "host", "expected"),
    [("1.1", b"Host: api.example:81", b"api.example:81"), ("1.0", b"", None), ("1.0", b"Host: a", b"a")],
)
@pytest.mark.parametrize("policy", ["upstream", "preserve"])
async def test_the_host_that_is_sent_is_ours_or_the_clients(
    version: str, host: bytes, expected: bytes | None, policy: Any
) -> None:
    async with RecordingUpstream() as upstream:
        own = b"127.0.0.1:%d" % upstream.port
        api = Upstream("api", (Server("127.0.0.1", upstream.port),), host_field=policy)
        async with running(upstream.port, upstreams=(api,)) as relay:
            client = await RawClient.connect(relay.port)
            lines = b"".join(line + b"\r\n" for line in (host, b"Connection: keep-alive") if line)
            await client.send(b"GET /open HTTP/%b\r\n%b\r\n" % (version.encode(), lines))
            assert (await client.answer())[0] == 200
        (sent,) = upstream.requests
        assert sent.startswith(b"GET /open HTTP/1.1\r\n")
        assert values(sent, b"Host") == [expected if policy == "preserve" and expected else own]
        assert values(sent, b"X-Forwarded-Host") == ([expected] if expected else [])
        assert values(sent, b"Via") == [version.encode() + b" keystile"]


async def test_what_one_connection_remembers_is_nobody_elses() -> None:
    """The lines that are remembered for equal heads: another key, another upstream, another caller."""
    other = RecordingUpstream()
    async with RecordingUpstream() as upstream, other:
        upstreams = tuple(Upstream(n, (Server("127.0.0.1", u.port),)) for n, u in (("api", upstream), ("b", other)))
        base = running(upstream.port, upstreams=upstreams)
        async with base as relay:
            table: Any = relay.gateway.table
            key = relay.key("ViewContacts", "ViewFiles", "Export")
            for route in table.routes:
                if route.path == "/v4/files/{name}":
                    route.upstream = "b"
            client = await RawClient.connect(relay.port)
            for path in ("/v4/contacts", "/v4/files/x", "/open", "/v4/contacts", "/any/x"):
                await client.send(request(path, key=key))
                assert (await client.answer())[0] == 200
            assert [values(sent, b"Host") for sent in other.requests] == [[b"127.0.0.1:%d" % other.port]]
            assert [len(values(sent, b"X-Keystile-Key")) for sent in upstream.requests] == [1, 0, 1, 1]


async def test_fields_that_are_bytes_go_through_as_they_are() -> None:
    start = b"HTTP/1.1 299 \xfcber\r\nX-Back: \xff\xe9\r\nset-COOKIE: a\r\nSet-Cookie: b\r\n"
    async with RecordingUpstream(start + b"Content-Length: 0\r\n\r\n") as upstream, running(upstream.port) as relay:
        answer = await relay.ask("/open", b"X-Raw: \xe9\xff", b"Accept:", b"coOkie: a=b", b"Cookie: c")
        (sent,) = upstream.requests
        assert b"X-Raw: \xe9\xff\r\nAccept: \r\ncoOkie: a=b\r\nCookie: c\r\n" in sent
        assert answer.head.startswith(start)


NAME = st.sampled_from([b"Access-Control-Allow-Origin", b"access-control-x", b"X-Access-Control-Allow", b"Vary", b"A"])


@given(st.lists(st.tuples(NAME, st.sampled_from([b"", b"*", b"Access-Control-Allow-Origin: *"]))))
def test_only_the_lines_of_the_policy_are_left_out(lines: list[tuple[bytes, bytes]]) -> None:
    start = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines)
    kept = [line for line in lines if not line[0].lower().startswith(b"access-control-")]
    expected = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % line for line in kept)
    assert without_cors(start) == expected


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
def test_what_is_remembered_of_scopes_is_bounded_and_never_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "REMEMBERED_SCOPES", 3)
    identities = forward.Identities()
    keys = [
        HeldKey(row, row.account, frozenset({f"Scope{number % 5}", "View"}), EVERYWHERE)
        for number in range(10)
        for row in [KeyRow(f"id{number}", f"a{number}@example.com", "", "", "", None, bytes(32))]
    ]
    for number, key in [*enumerate(keys), *enumerate(keys)]:
        assert identities.lines(key) == (
            f"X-Keystile-Account: a{number}@example.com\r\nX-Keystile-Key: id{number}\r\n"
            f"X-Keystile-Scopes: Scope{number % 5}, View\r\n"
        ).encode()
        assert len(identities._scopes) <= 3
