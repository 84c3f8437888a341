"""Faults that gateways have had, as edits of our own source: for each family of the attack suite one at least.

Law: rows only. An edit names a file below ``src/keystile``, a text that stands there exactly once, and what to put in
its place. Where a rule is kept twice (by llhttp and by us), the fault takes both away, or nobody would notice.
"""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Planted:
    """``family``: the one whose rows must notice; ``why``: what is wrong with the edited source."""

    family: str
    why: str
    edits: tuple[Edit, ...]


_HEAD, _CLIENT, _GRAMMAR = "wire/request_head.py", "wire/client.py", "wire/grammar.py"
_FIELDS = "wire/request_fields.py"
_FRAMING, _ANSWER, _UPSTREAM = "wire/framing.py", "wire/answer_head.py", "wire/upstream.py"
_LLHTTP = "httptools.HttpRequestParser(_Collector(on_header)).feed_data("


def _lenient(*flags: str) -> Edit:
    """llhttp with some of its dangerous leniencies."""
    chosen = ", ".join(f"{flag}=True" for flag in flags)
    return (
        _HEAD,
        _LLHTTP,
        "parser = httptools.HttpRequestParser(_Collector(on_header))\n"
        f"        parser.set_dangerous_leniencies({chosen})\n        parser.feed_data(",
    )


_NO_LIMIT_ON_TWO = (_HEAD, "if fields.chunked and fields.content_length >= 0:", "if False:")
_NO_PATH = 'raise WireError(Fault.BAD_TARGET, "The request target must be a path.")'
_LOWER_CODING = 'if value.strip(b" \\t").lower() != b"chunked":'

CLIENT_FAULTS = (
    Planted(
        "CL.TE",
        "chunked overrides a length before it (RFC 9112 §6.3 allows it; servers disagree)",
        (_lenient("lenient_chunked_length"), _NO_LIMIT_ON_TWO),
    ),
    Planted(
        "TE.CL",
        "a length behind chunked overrides it",
        (
            _lenient("lenient_chunked_length"),
            (_FIELDS, "    fields.content_length = int(value)\n", "    fields.content_length = int(value)\n"
             "    fields.chunked = False\n"),
        ),
    ),
    Planted(
        "TE.TE",
        "any coding that has the word in it is taken for chunked",
        (
            (_FIELDS, _LOWER_CODING, 'if b"chunked" not in value.lower():'),
            (_FIELDS, "if fields.chunked or fields.minor_version == 0:", "if fields.minor_version == 0:"),
        ),
    ),
    Planted(
        "CL.CL",
        "a length may have any number of digits, and int() raises",
        ((_FIELDS, "not value.isdigit() or len(value) > 18", "not value.isdigit()"),),
    ),
    Planted(
        "TE.0",
        "a GET has no body, so its chunks are the next request",
        ((_CLIENT, "if fields.chunked or fields.content_length > 0:",
          'if (fields.chunked and method != b"GET") or fields.content_length > 0:'),),
    ),
    Planted(
        "CL.0",
        "a GET has no body, so the bytes of its length are the next request",
        ((_CLIENT, "if fields.chunked or fields.content_length > 0:",
          'if fields.chunked or (fields.content_length > 0 and method != b"GET"):'),),
    ),
    Planted(
        "chunk sizes",
        "white space behind a size is read over",
        ((_GRAMMAR, r'rb"([0-9A-Fa-f]{1,15})(?:;"', r'rb"([0-9A-Fa-f]{1,15})[ \t]*+(?:;"'),),
    ),
    Planted(
        "chunk sizes",
        "whatever ends a chunk's data is taken for its end",
        ((_FRAMING, 'if end == b"\\r\\n":', "if len(end) == 2:"),),
    ),
    Planted(
        "trailers",
        "trailers are dropped unread",
        ((_FRAMING, "or TRAILER.fullmatch(data, position, end) is None", ""),),
    ),
    Planted("obs-fold", "a folded line goes on with the field before it", (_lenient("lenient_headers"),)),
    Planted(
        "control bytes",
        "any byte but space and line end may stand in a target",
        ((_GRAMMAR, r'rb"([A-Z][A-Z-]{0,23}+) ([!-~]++) HTTP', r'rb"([A-Z][A-Z-]{0,23}+) ([^ \r\n]++) HTTP'),),
    ),
    Planted(
        "white space and names",
        "more than one space may stand in the request line",
        ((_GRAMMAR, r'rb"([A-Z][A-Z-]{0,23}+) ([!-~]++) HTTP', r'rb"([A-Z][A-Z-]{0,23}+) ++([!-~]++) ++HTTP'),),
    ),
    Planted(
        "empty names",
        "a field without a name is left out rather than refused",
        ((_HEAD, "        pairs = self._parse(block)\n", "        import re\n"
          "        block = re.sub(rb'\\r\\n:[^\\r]*', b'', block)\n        pairs = self._parse(block)\n"),),
    ),
    Planted(
        "underscores",
        "a name with _ is another name",
        ((_FIELDS, '    if 0x5F in lowered:  # the underscore; as a number it is found faster\n', "    if False:\n"),),
    ),
    Planted(
        "methods",
        "methods in small letters are known too",
        (
            (_GRAMMAR, r'rb"([A-Z][A-Z-]{0,23}+) ([!-~]++) HTTP', r'rb"([A-Za-z][A-Za-z-]{0,23}+) ([!-~]++) HTTP'),
            (_CLIENT, "if method not in METHODS:", "if method.upper() not in METHODS:"),
        ),
    ),
    Planted(
        "Host",
        "whatever stands in Host is taken",
        ((_FIELDS, "    if not _is_host(value):\n        raise", "    if False:\n        raise"),),
    ),
    Planted("duplicate Host", "the last Host wins", ((_FIELDS, "    if fields.host:\n", "    if False:\n"),)),
    Planted(
        "absolute form",
        "a target may name another host than Host does",
        ((_HEAD, "if absolute[1].lower() != host.lower():", "if False:"),),
    ),
    Planted(
        "authority and asterisk form",
        "what is no path is taken for one",
        ((_HEAD, _NO_PATH, 'return b"/any/" + target'),),
    ),
    Planted(
        "target forms",
        "what is no path is taken for one",
        ((_HEAD, _NO_PATH, 'return b"/any/" + target'),),
    ),
    Planted(
        "CONNECT",
        "a route for every method serves CONNECT",
        (("routing/tree.py", 'frozenset({b"TRACE", b"CONNECT"})', 'frozenset({b"TRACE"})'),),
    ),
    Planted(
        "TRACE",
        "a route for every method serves TRACE",
        (("routing/tree.py", 'frozenset({b"TRACE", b"CONNECT"})', 'frozenset({b"CONNECT"})'),),
    ),
    Planted(
        "HTTP/0.9",
        "a request line without a version is an old one",
        ((_CLIENT, "        line = REQUEST_LINE.match(data)\n        if line is None or",
          "        first, _, others = data.partition(b'\\r\\n')\n"
          "        if first.startswith(b'GET /') and b' HTTP/' not in first:\n"
          "            data, end = first.strip() + b' HTTP/1.0\\r\\n' + others, len(first.strip()) + 13\n"
          "        line = REQUEST_LINE.match(data)\n        if line is None or"),),
    ),
    Planted(
        "HTTP/2 preface",
        "the preface is read over, and what follows it is a request",
        ((_CLIENT, "        line = REQUEST_LINE.match(data)\n        if line is None or",
          "        preface = b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'\n"
          "        if data.startswith(preface) and len(data) > len(preface):\n"
          "            return data[len(preface) :]\n"
          "        line = REQUEST_LINE.match(data)\n        if line is None or"),),
    ),
    Planted(
        "versions",
        "any minor version is HTTP/1.1",
        (
            (_GRAMMAR, r"HTTP/1\.(?=[01]\r\n)", r"HTTP/1\.(?=[0-9]\r\n)"),
            (_HEAD, 'feed_data(b"GET / HTTP/1." + block)', 'feed_data(b"GET / HTTP/1.1" + block[1:])'),
            (_HEAD, "    return block[0] - 0x30\n", "    return 1\n"),
        ),
    ),
    Planted(
        "Connection",
        "what Connection names is taken out after the gateway has added its own",
        (("relay/exchange.py", "note.block = request_block(self.fields, self.client.peer, identity, group)",
          "note.block = b''.join(\n                line\n"
          "                for line in request_block(self.fields, self.client.peer, identity, group).splitlines(True)\n"
          "                if line.partition(b':')[0].lower() not in self.fields.named\n            )"),),
    ),
    Planted(
        "Connection",
        "what Connection names goes on",
        ((_HEAD, "return fields.named | self._read_trace(fields) if", "return self._read_trace(fields) if"),),
    ),
    Planted(
        "Upgrade",
        "Upgrade goes on to the upstream",
        ((_FIELDS, 'if fields.upgrade else value\n    return False', 'if fields.upgrade else value\n    return True'),),
    ),
    Planted(
        "Expect",
        "an expectation that nobody knows is left out",
        ((_FIELDS, '!= b"100-continue":', '!= b"100-continue" and not value:'),),
    ),
    Planted(
        "oversized",
        "a head that arrives at once may have any size",
        ((_CLIENT, "if end > application.max_head_size or line.end(2) - line.start(2) >",
          "if application.max_head_size < 0 and line.start(2) >"),),
    ),
    Planted("10,000 fields", "fields are not counted", ((_HEAD, "if lines > self._max_fields:", "if False:"),)),
    Planted(
        "good-bad-good",
        "after a bad head the next one is read",
        (
            ("relay/gateway.py", "        fields.keep_alive = False\n", "        fields.keep_alive = True\n"),
            (_CLIENT, "        self.read_no_more()\n        self.application.reject",
             "        self.state = ANSWER\n        self.application.reject"),
            (_CLIENT, "                self._reject(error, _method_begun(data))\n",
             "                self._reject(error, b'-')\n                self._hold(data[end + 4 :])\n"),
        ),
    ),
    Planted(
        "after an error",
        "the rest of a refused body is the next request",
        (
            ("relay/exchange.py", "        keep_alive = client.state == ANSWER and not self.upgrades"
             " and not self.gateway.draining\n", "        keep_alive = True\n"),
            (_CLIENT, "if not keep_alive or self.state != ANSWER:", "if not keep_alive:"),
        ),
    ),
)

UPSTREAM_FAULTS = (
    Planted(
        "two framings",
        "the last framing that an answer gives counts",
        ((_ANSWER, "    if framings > 1:\n", "    if False:\n"),),
    ),
    Planted(
        "101",
        "101 is an answer like others",
        ((_UPSTREAM, "if head.status >= 200:", "if head.status >= 200 or head.status == 101:"),),
    ),
    Planted(
        "200 for 101",
        "any answer with Upgrade opens a tunnel",
        ((_ANSWER, "    if to_head or _has_no_body(answer.status):",
          "    if b'\\r\\nupgrade:' in head.lower():\n"
          "        answer.content_length, answer.chunked = UNTIL_CLOSE, False\n"
          "        answer.framing = b'Transfer-Encoding: chunked\\r\\n'\n"
          "    if to_head or _has_no_body(answer.status):"),),
    ),
    Planted(
        "1xx",
        "interim answers may come without end",
        ((_UPSTREAM, "if self._interim > MAX_INTERIM:", "if False:"),),
    ),
    Planted(
        "truncated",
        "the server's end is the end of any body",
        ((_UPSTREAM, "self._in_body and self._left == UNTIL_CLOSE and self._chunks is None:", "self._in_body:"),),
    ),
    Planted(
        "over-long",
        "bytes behind a body are dropped and the connection is used again",
        ((_UPSTREAM, "        if surplus:\n", "        if False:\n"),),
    ),
    Planted(
        "bytes on an idle connection",
        "bytes that nobody asked for are dropped",
        (
            (_UPSTREAM, "            self.abort()\n            return\n        self.heard = True\n",
             "            return\n        self.heard = True\n"),
            (_UPSTREAM, "return self._reusable and not self._poll.poll(0)", "return self._reusable"),
        ),
    ),
    Planted(
        "ended at every byte",
        "a connection that is gone has sent all it had to",
        ((_UPSTREAM, "        if self.carried is not None:\n            self.carried.upstream_broken(self, None)\n",
          "        if self.carried is not None and self._in_body:\n            self.carried.answer_body(b'', True)\n"
          "        elif self.carried is not None:\n            self.carried.upstream_broken(self, None)\n"),),
    ),
    Planted(
        "status lines",
        "any minor version is HTTP/1.1",
        ((_GRAMMAR, r'rb"HTTP/1\.[01] ([1-5][0-9]{2})(', r'rb"HTTP/1\.[0-9] ([1-5][0-9]{2})('),),
    ),
    Planted(
        "fields",
        "NUL may stand in a value",
        ((_GRAMMAR, r'FIELD_VALUE: Final = rb"[\t -~\x80-\xff]"', r'FIELD_VALUE: Final = rb"[\x00\t -~\x80-\xff]"'),),
    ),
    Planted(
        "no body",
        "304 has the body that its length announces",
        ((_ANSWER, "return status < 200 or status == 204 or status == 304", "return status < 200 or status == 204"),),
    ),
    Planted(
        "HTTP/1.0",
        "an old answer may be chunked",
        ((_ANSWER, "    if http_1_0 and answer.chunked:\n", "    if False:\n"),),
    ),
    Planted(
        "until the end",
        "a reset ends a body as well as a close does",
        ((_UPSTREAM, "        if self.carried is not None:\n            self.carried.upstream_broken(self, None)\n",
          "        if self.carried is not None and self._in_body and self._left == UNTIL_CLOSE:\n"
          "            self.carried.answer_body(b'', True)\n"
          "        elif self.carried is not None:\n            self.carried.upstream_broken(self, None)\n"),),
    ),
    Planted(
        "splitting",
        "bytes behind an answer are kept for the next request",
        ((_UPSTREAM, "        self._end_body(size > left)\n        return data[:left], True\n",
          "        self._end_body(False)\n        self._held = data[left:]\n        return data[:left], True\n"),),
    ),
)

_SOCKET, _EXCHANGE = "wire/websocket.py", "relay/exchange.py"
_AGAIN = "            keep_alive = False  # it was not opened; what follows may be meant for it"

TUNNEL_FAULTS = (
    Planted(
        "WebSocket",
        "a 101 is taken without its proof",
        ((_SOCKET, "        and proofs == [accept_for(fields.websocket_keys[0])]\n", ""),),
    ),
    Planted(
        "WebSocket",
        "a handshake may have a body",
        ((_SOCKET, "if fields.chunked or fields.content_length > 0 or fields.expects_continue:", "if False:"),),
    ),
    Planted(
        "WebSocket",
        "what follows a handshake that was not granted is read as a request",
        ((_EXCHANGE, _AGAIN, _AGAIN.replace("keep_alive = False", "pass")),),
    ),
    Planted("WebSocket", "a 101 is taken unasked", ((_UPSTREAM, "if not carried.upgrades:", "if False:"),)),
    Planted(
        "WebSocket",
        "bytes that came before the 101 are lost",
        ((_EXCHANGE, "        if early:\n            tunnel.from_client(early)\n", ""),),
    ),
)

_DOOR, _PROXY, _PEER, _FORWARDED = "wire/door.py", "wire/proxy_protocol.py", "wire/peer.py", "wire/forwarded.py"

CALLER_FAULTS = (
    Planted(
        "PROXY",
        "a header is believed from whoever sends one",
        ((_DOOR, "if self.proxy_protocol and name != EXEMPT:", "if False:"),),
    ),
    Planted(
        "X-Forwarded-For",
        "the list is read from the left, which is the client's own text",
        ((_PEER, 'for entry in reversed(b",".join(forwarded_for).rsplit(b",", MAX_HOPS)):',
          'for entry in b",".join(forwarded_for).rsplit(b",", MAX_HOPS):'),),
    ),
    Planted(
        "Forwarded",
        "lines are read from the first, which may be the client's",
        ((_FORWARDED, "    for line in reversed(lines):\n", "    for line in lines:\n"),),
    ),
)

FAULTS = (*CLIENT_FAULTS, *UPSTREAM_FAULTS, *TUNNEL_FAULTS, *CALLER_FAULTS)
