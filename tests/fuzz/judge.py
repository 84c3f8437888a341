"""What the rig's wires carried, judged as a whole: requests to servers, answers to clients.

Law: ``tests.wire.judge`` says what a message may look like; here stand the counts: nothing goes out that did not come
in, nothing more often than it may, and an answer is cut only where the connection was. What goes through a WebSocket
is nobody's request: ``sockets.py`` judges it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from tests.fuzz.reference import BreaksARule, Stream, read_chunks
from tests.wire.judge import judge_request

#: Lines by which a handshake of WebSocket goes on; no other request has them.
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t -~\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t -~\x80-\xff]*)")


def split_requests(sent: bytes) -> tuple[list[bytes], bytes]:
    """Whole requests, and the last one where it is unfinished. Raises where its framing is wrong.

    A handshake of WebSocket is the last; what comes behind it is left out (see ``split_wire``).
    """
    return split_wire(sent)[:2]


def split_wire(sent: bytes) -> tuple[list[bytes], bytes, bytes | None]:
    """As ``split_requests``, and what comes behind a handshake, where the last request is one."""
    whole: list[bytes] = []
    while sent:
        head, end, rest = sent.partition(b"\r\n\r\n")
        if not end:
            break
        if b"\r\n" + UPGRADE in head + b"\r\n":
            return [*whole, head + end], b"", rest
        if b"\r\nTransfer-Encoding: chunked\r\n" in head + b"\r\n":
            try:
                _, behind = read_chunks(rest)
            except BreaksARule as broken:
                raise AssertionError("a request went out in broken chunks") from broken
        else:
            length = re.search(rb"\r\nContent-Length: ([0-9]+)\r\n", head + b"\r\n")
            size = int(length[1]) if length else 0
            behind = rest[size:] if len(rest) >= size else None
        if behind is None:
            break
        whole.append(sent[: len(sent) - len(behind)])
        sent = behind
    return whole, sent, None


def judge_requests(sent: Sequence[bytes], streams: Sequence[Stream], repeatable: frozenset[bytes]) -> None:
    """Each request came in, and went out once; twice at most where another try was allowed."""
    came = Counter((head.method + b" " + head.target, body) for stream in streams for head, body in stream.requests)
    begun = Counter(
        head.method + b" " + head.target for stream in streams for head in [stream.begun] if head is not None
    )
    ids: Counter[bytes] = Counter()
    went: Counter[tuple[bytes, bytes]] = Counter()
    starts: Counter[bytes] = Counter()
    lines = Counter(line for line, _ in came.elements())
    for wire in sent:
        whole, unfinished = split_requests(wire)
        for request in whole:
            received = judge_request(request.replace(b"\r\n" + UPGRADE, b"\r\n", 1))
            if _first_try(request, ids, repeatable):
                starts[received.start] += 1
            went[received.start, received.body] += ids[received.values(b"x-request-id")[0]] == 1
        if b"\r\n\r\n" in unfinished and _first_try(unfinished, ids, repeatable):
            starts[unfinished.partition(b" HTTP/1.1\r\n")[0]] += 1
    assert all(times <= 2 for times in ids.values()), "one request went out more than twice"
    assert not went - came, f"went out, but never came in like this: {went - came}"
    assert not starts - (lines + begun), "more requests went out than came in"


def _first_try(request: bytes, ids: Counter[bytes], repeatable: frozenset[bytes]) -> bool:
    """Whether no request with this one's id went out before; counts it."""
    found = re.search(rb"\r\nX-Request-Id: ([0-9a-f]+)\r\n", request)
    assert found is not None
    ids[found[1]] += 1
    if ids[found[1]] > 1:
        assert request.partition(b" ")[0] in repeatable, "a request was repeated that must not be"
    return ids[found[1]] == 1


def judge_answers(sent: bytes, methods: Sequence[bytes], *, cut: bool) -> list[tuple[int, bytes, bool]]:
    """Status and body of each final answer, and whether it says that it is the last; after a 101, what came behind it.

    ``cut``: the last may be unfinished, and is not among them then.
    """
    answers: list[tuple[int, bytes, bool]] = []
    while sent:
        head, end, rest = sent.partition(b"\r\n\r\n")
        if not end:
            assert cut, f"an answer's head was cut cleanly: {sent!r}"
            break
        line, *lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(line)
        assert match is not None, f"not a status line: {line!r}"
        status = int(match[1])
        fields = [_FIELD.fullmatch(each) for each in lines]
        assert None not in fields, f"a field line is not well-formed: {lines}"
        pairs = [(each[1].lower(), each[2].strip(b" \t")) for each in fields if each is not None]
        if status == 101:
            return [*answers, (status, rest, True)]
        if status < 200:
            sent = rest
            continue
        method = methods[len(answers)] if len(answers) < len(methods) else b""
        to_head = method in (b"HEAD", b"HEAD?")  # "?": its head never became right
        body, behind = _body(pairs, rest, bodiless=to_head or status in (204, 304))
        assert behind is not None or cut, "an answer's body was cut cleanly"
        if behind is None:
            break
        last = (b"connection", b"close") in pairs
        answers.append((status, body, last))
        sent = behind
        assert not (last and sent), "bytes behind the last answer"
    return answers


def _body(pairs: list[tuple[bytes, bytes]], rest: bytes, *, bodiless: bool) -> tuple[bytes, bytes | None]:
    """The body at the beginning of ``rest``, and what follows it: None where it is unfinished."""
    framing = [(name, value) for name, value in pairs if name in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, f"two framings: {framing}"
    if bodiless:
        return b"", rest
    if not framing:
        assert (b"connection", b"close") in pairs, "nothing says where the answer ends"
        return rest, b""
    name, value = framing[0]
    if name == b"content-length":
        size = int(value)
        return rest[:size], rest[size:] if len(rest) >= size else None
    assert value == b"chunked"
    try:
        return read_chunks(rest)
    except BreaksARule as broken:
        raise AssertionError("an answer in broken chunks") from broken
