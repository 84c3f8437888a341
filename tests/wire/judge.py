"""What a proxy may send, judged strictly and without the code under test: requests to an upstream, answers to a client.

Every rule is written down here a second time, on purpose: a mistake in ``keystile.wire`` must not excuse itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.wire.peers import RawClient

WAIT = 10.0

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t -~\x80-\xff]*)")
_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!-~]*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t -~\x80-\xff]*")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,8}")

#: Never sent to an upstream. Transfer-Encoding is judged with the framing.
FORBIDDEN = frozenset(
    b"connection keep-alive te trailer upgrade http2-settings proxy-connection proxy-authorization proxy-authenticate "
    b"expect x-api-key x-real-ip x-client-ip true-client-ip cf-connecting-ip forwarded x-forwarded-port".split()
)
#: Sent exactly once, with exactly this value.
IDENTITY: Mapping[bytes, bytes] = {
    b"x-forwarded-for": b"127.0.0.1",
    b"x-forwarded-proto": b"http",
    b"x-keystile-account": b"owner@example.com",
    b"x-keystile-key": b"key1",
    b"x-keystile-scopes": b"",
}


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was judged: ``start`` is method and target, or the status."""

    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field; its name lower-case, with hyphens."""
        return [value for other, value in self.fields if other == name]


def _fields(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    matches = [_LINE.fullmatch(line) for line in lines]
    assert None not in matches, f"a field line is not well-formed: {lines}"
    return tuple((m[1].lower().replace(b"_", b"-"), m[2].strip(b" \t")) for m in matches if m is not None)


def judge_request(request: bytes, *, proto: bytes = b"http") -> Received:
    """A whole request as an upstream received it; ``proto``: what its client spoke."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    assert match is not None, f"a request line that nobody should be sent: {line!r}"
    fields = _fields(lines)
    names = [name for name, _ in fields]
    assert not FORBIDDEN & set(names), f"fields that must not go on: {FORBIDDEN & set(names)}"
    assert names.count(b"host") == 1
    assert [v for n, v in fields if n == b"via"][-1:] in ([b"1.1 keystile"], [b"1.0 keystile"])
    for name, value in {**IDENTITY, b"x-forwarded-proto": proto}.items():
        assert [v for n, v in fields if n == name] == [value], f"{name!r} is not the gateway's own word: {fields}"
    assert {n for n in names if n.startswith(b"x-keystile-")} <= set(IDENTITY)
    assert {n for n in names if n.startswith(b"x-forwarded-")} <= {*IDENTITY, b"x-forwarded-host"}
    framing = [(n, v) for n, v in fields if n in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, f"two framings: {framing}"
    if not framing:
        assert body == b""
    elif framing[0][0] == b"content-length":
        assert framing[0][1].isdigit()
        assert len(body) == int(framing[0][1])
    else:
        assert framing[0][1] == b"chunked"
        body = dechunked(body)
    return Received(match[1] + b" " + match[2], fields, body)


def dechunked(data: bytes) -> bytes:
    """The body in ``data``: strictly chunked, no extensions, no trailers, nothing behind it."""
    body = b""
    while True:
        size, found, data = data.partition(b"\r\n")
        assert found, "a chunk size that does not end"
        assert _CHUNK_SIZE.fullmatch(size), f"not a chunk size: {size!r}"
        length = int(size, 16)
        body += data[:length]
        assert data[length : length + 2] == b"\r\n", "a chunk does not end where its size says"
        data = data[length + 2 :]
        if not length:
            assert data == b"", f"bytes behind a chunked body: {data[:80]!r}"
            return body


async def judge_answer(client: RawClient, *, to_head: bool = False) -> Received:
    """The next answer as the client receives it; interim answers are read over. Cut answers raise."""
    while True:
        answer = await _one_answer(client, to_head)
        if int(answer.start) >= 200:
            return answer


async def _one_answer(client: RawClient, to_head: bool) -> Received:
    head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), WAIT)
    line, *lines = head[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    assert match is not None, f"not a status line: {line!r}"
    fields = _fields(lines)
    status = int(match[1])
    framing = [(n, v) for n, v in fields if n in (b"content-length", b"transfer-encoding")]
    if status < 200 or status == 204:
        assert framing == []
        return Received(match[1], fields, b"")
    assert [n for n, _ in fields].count(b"x-request-id") == 1
    if to_head or status == 304:
        assert len(framing) <= 1
        return Received(match[1], fields, b"")
    assert len(framing) == 1, f"the answer does not say once where it ends: {fields}"
    if framing[0][0] == b"content-length":
        body = await asyncio.wait_for(client.reader.readexactly(int(framing[0][1])), WAIT)
    else:
        assert framing[0][1] == b"chunked"
        body = await _chunked(client)
    return Received(match[1], fields, body)


async def _chunked(client: RawClient) -> bytes:
    body = b""
    while True:
        size = (await asyncio.wait_for(client.reader.readuntil(b"\r\n"), WAIT))[:-2]
        assert _CHUNK_SIZE.fullmatch(size), f"not a chunk size: {size!r}"
        data = await asyncio.wait_for(client.reader.readexactly(int(size, 16) + 2), WAIT)
        assert data.endswith(b"\r\n")
        body += data[:-2]
        if not int(size, 16):
            return body
