"""What clients have sent to gateways to get something through: rows, by family.

``<key>`` stands for a valid key's secret. Bytes behind the message that a lenient reader would take for a
second request ask for ``/any/smuggled``, so a row whose upstream must not see it fails where it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KEYED = b"Host: a\r\nX-Api-Key: <key>\r\n"
GET = b"GET /any/a HTTP/1.1\r\n" + KEYED
POST = b"POST /any/a HTTP/1.1\r\n" + KEYED
NO_KEY = b"POST /any/a HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HIDDEN = b"GET /any/smuggled HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """``answers``: for each answer in order, the statuses it may have; ``reached``: method and target of every
    request that the upstream may receive; ``closed``: the connection must end; ``body``: of the first request
    that reached it; ``absent``: bytes that no upstream may receive; ``in_pieces``: byte by byte the same is due;
    ``found``: the fault of ours that makes this row fail, until it is mended.
    """

    family: str
    name: str
    sent: bytes
    answers: tuple[frozenset[int], ...]
    reached: tuple[bytes, ...] = ()
    closed: bool = True
    body: bytes = b""
    absent: tuple[bytes, ...] = ()
    in_pieces: bool = True
    found: str = ""
    limits: Mapping[str, object] = field(default_factory=dict)


ATTACKS: list[Attack] = []


def refused(
    family: str, name: str, sent: bytes, *status: int, limits: Mapping[str, object] | None = None, found: str = ""
) -> None:
    """Nothing reaches the upstream, one answer says no, and the connection ends: nothing after it is read."""
    statuses = (frozenset(status or (400,)),)
    ATTACKS.append(Attack(family, name, sent, statuses, absent=(b"smuggled",), limits=limits or {}, found=found))


def served(family: str, name: str, sent: bytes, *reached: bytes, **more: object) -> None:
    """The bytes are requests by the rules: each reaches the upstream once, cleaned, and the connection goes on."""
    requests = reached or (b"GET /any/a",)
    more.setdefault("answers", (frozenset({200}),) * len(requests))
    more.setdefault("closed", False)
    more.setdefault("absent", (b"smuggled",))
    ATTACKS.append(Attack(family, name, sent, reached=requests, **more))  # type: ignore[arg-type]


# -- two framings --------------------------------------------------------------------------------------

for _first, _second in (("CL.TE", "TE.CL"), ("TE.CL", "CL.TE")):
    for _name, _length, _coding, _body in (
        ("short length", b"4", b"chunked", b"0\r\n\r\n"),
        ("zero length", b"0", b"chunked", HELLO),
        ("exact length", b"15", b"chunked", HELLO),
        ("long length", b"500", b"chunked", b"0\r\n\r\n"),
        ("capitals", b"4", b"Chunked", b"0\r\n\r\n"),
        ("unknown coding", b"5", b"x", b"hello"),
    ):
        _cl, _te = b"Content-Length: %b\r\n" % _length, b"Transfer-Encoding: %b\r\n" % _coding
        _fields = _cl + _te if _first == "CL.TE" else _te + _cl
        refused(_first, _name, POST + _fields + b"\r\n" + _body + HIDDEN, 400, 501)
refused("CL.TE", "in HTTP/1.0", POST.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + HELLO)
refused(
    "TE.CL", "length named by Connection", POST + CHUNKED + b"Connection: Content-Length\r\nContent-Length: 5\r\n\r\n"
)

for _name, _lines in {
    "twice": CHUNKED + CHUNKED,
    "twice in a list": b"Transfer-Encoding: chunked, chunked\r\n",
    "identity behind": b"Transfer-Encoding: chunked, identity\r\n",
    "identity before": b"Transfer-Encoding: identity, chunked\r\n",
    "identity alone": b"Transfer-Encoding: identity\r\n",
    "gzip before": b"Transfer-Encoding: gzip, chunked\r\n",
    "second line of another coding": CHUNKED + b"Transfer-Encoding: cow\r\n",
    "first line of another coding": b"Transfer-Encoding: cow\r\n" + CHUNKED,
    "prefixed": b"Transfer-Encoding: xchunked\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
    "parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "comma behind": b"Transfer-Encoding: chunked,\r\n",
    "comma before": b"Transfer-Encoding: ,chunked\r\n",
    "empty": b"Transfer-Encoding:\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "line feed before": b"X: y\nTransfer-Encoding: chunked\r\n",
    "carriage return in name": b"Transfer-Encoding\r: chunked\r\n",
    "in HTTP/1.0": b"",
}.items():
    _head = POST + _lines if _lines else POST.replace(b"1.1", b"1.0") + CHUNKED
    refused("TE.TE", _name, _head + b"\r\n" + HELLO + HIDDEN, 400, 501)
served("TE.TE", "capitals are the same coding", POST + b"TRANSFER-ENCODING:chUNKed\r\n\r\n" + HELLO,
       b"POST /any/a", body=b"hello")  # fmt: skip

for _name, _lines in {
    "same twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "shorter first": b"Content-Length: 0\r\nContent-Length: 5\r\n",
    "longer first": b"Content-Length: 5\r\nContent-Length: 0\r\n",
    "list of the same": b"Content-Length: 5, 5\r\n",
    "list": b"Content-Length: 5, 6\r\n",
    "empty first": b"Content-Length:\r\nContent-Length: 5\r\n",
    "empty": b"Content-Length: \r\n",
    "plus": b"Content-Length: +5\r\n",
    "minus": b"Content-Length: -5\r\n",
    "hexadecimal": b"Content-Length: 0x5\r\n",
    "underscore": b"Content-Length: 0_5\r\n",
    "space inside": b"Content-Length: 0 5\r\n",
    "point": b"Content-Length: 5.0\r\n",
    "exponent": b"Content-Length: 5e0\r\n",
    "superscript digit": b"Content-Length: \xb2\r\n",
    "UTF-8 digit": "Content-Length: ٥\r\n".encode(),
    "above 64 bits": b"Content-Length: 18446744073709551621\r\n",
    "above 63 bits": b"Content-Length: 9223372036854775808\r\n",
    "5,000 digits": b"Content-Length: " + b"0" * 4999 + b"5\r\n",
    "vertical tab": b"Content-Length: \x0b5\r\n",
    "folded": b"Content-Length:\r\n 5\r\n",
    "underscore name": b"Content_Length: 0\r\nContent-Length: 5\r\n",
    "capitals and small": b"CONTENT-LENGTH: 0\r\ncontent-length: 5\r\n",
}.items():
    refused("CL.CL", _name, POST + _lines + b"\r\nhello" + HIDDEN)
served("CL.CL", "white space around is none of it", POST + b"Content-Length:\t 5 \t\r\n\r\nhello",
       b"POST /any/a", body=b"hello")  # fmt: skip

_as_body = HIDDEN.replace(b"<key>", b"0" * 96)
_as_chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_as_body), _as_body)
for _method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"):
    _line = _method + b" /any/a"
    _head = _line + b" HTTP/1.1\r\n" + KEYED
    served("TE.0", _method.decode() + " with a request as chunks", _head + CHUNKED + b"\r\n" + _as_chunks,
           _line, body=_as_body, absent=())  # fmt: skip
    served("CL.0", _method.decode() + " with a request as body",
           _head + b"Content-Length: %d\r\n\r\n" % len(_as_body) + _as_body,
           _line, body=_as_body, absent=())  # fmt: skip

# -- chunks --------------------------------------------------------------------------------------------

for _name, _chunks in {
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "tab behind": b"5\t\r\nhello\r\n0\r\n\r\n",
    "space before extension": b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "extension only": b";a=b\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"g\r\nhello\r\n0\r\n\r\n",
    "superscript": b"\xb2\r\nhello\r\n0\r\n\r\n",
    "above 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "exactly 64 bits": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "wraps 32 bits with zeros": b"0" * 300 + b"5\r\nhello\r\n0\r\n\r\n",
    "line feed behind size": b"5\nhello\r\n0\r\n\r\n",
    "carriage return behind size": b"5\rhello\r\n0\r\n\r\n",
    "two carriage returns": b"5\r\r\nhello\r\n0\r\n\r\n",
    "NUL behind size": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "no end of data": b"5\r\nhello0\r\n\r\n",
    "line feed ends data": b"5\r\nhello\n0\r\n\r\n",
    "carriage return ends data": b"5\r\nhello\r0\r\n\r\n",
    "two bytes end data": b"5\r\nhelloXX0\r\n\r\n",
    "data too long": b"4\r\nhello\r\n0\r\n\r\n",
    "data too short": b"6\r\nhello\r\n0\r\n\r\n",
    "last chunk of two signs": b"5\r\nhello\r\n+0\r\n\r\n",
    "last chunk in 0x": b"5\r\nhello\r\n0x0\r\n\r\n",
    "line feed in extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "carriage return in extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "one long extension": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "a body of extensions": (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n",
}.items():
    refused("chunk sizes", _name, POST + CHUNKED + b"\r\n" + _chunks + HIDDEN)
served("chunk sizes", "zeros, capitals and an extension are none of the upstream's business",
       POST + CHUNKED + b'\r\n0A;a="b c"\r\n0123456789\r\n0005\r\nhello\r\n000;x\r\n\r\n',
       b"POST /any/a", body=b"0123456789hello", absent=(b'a="b c"', b";x"))  # fmt: skip

for _name, _trailers in {
    "Content-Length": b"Content-Length: 500\r\n",
    "Transfer-Encoding": b"Transfer-Encoding: gzip\r\n",
    "identity": b"X-Keystile-Account: root\r\nX-Forwarded-For: 6.6.6.6\r\n",
    "a second key": b"X-Api-Key: <key>\r\n",
    "Host": b"Host: other\r\n",
    "Connection": b"Connection: close\r\n",
}.items():
    served("trailers", _name, POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n" + _trailers + b"\r\n",
           b"POST /any/a", body=b"hello", absent=(_trailers, b"6.6.6.6", b"root"))  # fmt: skip
for _name, _trailers in {
    "no colon": b"nonsense\r\n",
    "folded": b"X: a\r\n b\r\n",
    "line feed": b"X: a\nY: b\r\n",
    "NUL": b"X: a\x00\r\n",
    "space before colon": b"X : a\r\n",
    "empty name": b": a\r\n",
    "one too long": b"X: " + b"a" * 9000 + b"\r\n",
    "too many": b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 400,
}.items():
    refused("trailers", _name, POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n" + _trailers + b"\r\n" + HIDDEN)

# -- heads ---------------------------------------------------------------------------------------------

for _name, _lines in {
    "space": b"X: a\r\n b\r\n",
    "tab": b"X: a\r\n\tb\r\n",
    "empty continuation": b"X: a\r\n \r\n",
    "a field as continuation": b"X: a\r\n Transfer-Encoding: chunked\r\n",
    "framing": b"Content-Length: 1\r\n 0\r\n",
    "identity": b"X: a\r\n\tX-Keystile-Account: root\r\n",
    "twice": b"X: a\r\n b\r\n c\r\n",
    "of an empty value": b"X:\r\n a\r\n",
}.items():
    refused("obs-fold", _name, GET + _lines + b"\r\n" + HIDDEN)
refused("obs-fold", "of the request line", b"GET /any/a HTTP/1.1\r\n X: y\r\n" + KEYED + b"\r\n" + HIDDEN)
refused("obs-fold", "of the key", b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key:\r\n <key>\r\n\r\n" + HIDDEN)

for _name, _byte in {
    "NUL": b"\x00", "SOH": b"\x01", "carriage return": b"\r", "line feed": b"\n", "vertical tab": b"\x0b",
    "form feed": b"\x0c", "escape": b"\x1b", "DEL": b"\x7f",
}.items():  # fmt: skip
    for _part, _sent in {
        "method": b"GE<>T /any/a HTTP/1.1\r\n" + KEYED,
        "target": b"GET /any/a<>b HTTP/1.1\r\n" + KEYED,
        "query": b"GET /any/a?x<>y HTTP/1.1\r\n" + KEYED,
        "version": b"GET /any/a HTTP/1.<>1\r\n" + KEYED,
        "end of the request line": b"GET /any/a HTTP/1.1<>\r\n" + KEYED,
        "field name": GET + b"X<>Y: z\r\n",
        "field value": GET + b"X: y<>z\r\n",
        "beginning of a value": GET + b"X:<>z\r\n",
        "end of a value": GET + b"X: y<>\r\n",
        "host": b"GET /any/a HTTP/1.1\r\nHost: a<>b\r\nX-Api-Key: <key>\r\n",
        "key": b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <><key>\r\n",
        "beginning": b"<>" + GET,
    }.items():
        if (_part, _byte) == ("end of the request line", b"\n"):
            continue  # that row is "line feeds only"
        refused("control bytes", f"{_name} in the {_part}", _sent.replace(b"<>", _byte) + b"\r\n" + HIDDEN)
refused("control bytes", "line feeds only", GET.replace(b"\r\n", b"\n") + b"\n\r\n\r\n" + HIDDEN)
refused("control bytes", "line feed ends one field", GET + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN)
refused("control bytes", "beyond ASCII in the target", "GET /any/é HTTP/1.1\r\n".encode() + KEYED + b"\r\n" + HIDDEN)
refused("control bytes", "beyond ASCII in a name", GET + "X-é: y\r\n\r\n".encode() + HIDDEN)

for _name, _lines in {
    "space before the colon": b"X : y\r\n",
    "tab before the colon": b"X\t: y\r\n",
    "space before the colon of Content-Length": b"Content-Length : 5\r\n",
    "space before the colon of Transfer-Encoding": b"Transfer-Encoding : chunked\r\n",
    "space before the colon of Host": b"Host : b\r\n",
    "space inside a name": b"X Y: z\r\n",
    "space before a name": b" X: y\r\n",
    "tab before a name": b"\tX: y\r\n",
    "no colon": b"X\r\n",
    "only a space": b" \r\n",
    "bracket in a name": b"X(Y): z\r\n",
    "quote in a name": b'X"Y: z\r\n',
    "slash in a name": b"X/Y: z\r\n",
}.items():
    refused("white space and names", _name, GET + _lines + b"\r\n" + HIDDEN)
refused("white space and names", "space before the first name",
        b"GET /any/a HTTP/1.1\r\n Host: a\r\nX-Api-Key: <key>\r\n\r\n" + HIDDEN)  # fmt: skip
refused("white space and names", "two spaces in the request line",
        b"GET  /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)  # fmt: skip
refused("white space and names", "two spaces before the version",
        b"GET /any/a  HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)  # fmt: skip
refused("white space and names", "tab in the request line", b"GET\t/any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)
refused("white space and names", "space before the method", b" GET /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)
refused("white space and names", "space behind the version", b"GET /any/a HTTP/1.1 \r\n" + KEYED + b"\r\n" + HIDDEN)

for _name, _lines in {
    "with a value": b": y\r\n",
    "without a value": b":\r\n",
    "two colons": b":: y\r\n",
    "a framing as value": b": chunked\r\n",
    "a field as value": b":Content-Length: 5\r\n",
    "an HTTP/2 name": b":path: /any/b\r\n",
}.items():
    refused("empty names", _name, GET + _lines + b"\r\n" + HIDDEN)
refused("empty names", "as the first field", b"GET /any/a HTTP/1.1\r\n: y\r\n" + KEYED + b"\r\n" + HIDDEN)

for _alias in (b"Content_Length: 5", b"CONTENT_LENGTH: 0", b"Transfer_Encoding: chunked", b"transfer_encoding: gzip"):
    refused("underscores", _alias.decode(), POST + _alias + b"\r\n\r\n" + HELLO + HIDDEN)
for _alias in (b"X_Keystile_Account: root", b"X-Keystile_Scopes: Everything", b"x_forwarded_for: 6.6.6.6",
               b"X_Forwarded-Proto: https", b"X_Real_IP: 6.6.6.6", b"CF_Connecting_IP: 6.6.6.6", b"Keep_Alive: 1",
               b"Proxy_Connection: close", b"X_Forwarded_Port: 1"):  # fmt: skip
    served("underscores", _alias.decode(), GET + _alias + b"\r\n\r\n", absent=(_alias, b"6.6.6.6", b"root"))
served("underscores", "a key by another spelling counts",
       b"GET /any/a HTTP/1.1\r\nHost: a\r\nx_api_key: <key>\r\n\r\n", absent=(b"x_api_key",))  # fmt: skip
served("underscores", "two spellings are two keys", GET + b"X_API-KEY: <key>\r\n\r\n" + GET + b"\r\n",
       answers=(frozenset({400}), frozenset({200})))  # fmt: skip

for _method in (b"get", b"Get", b"G@T", b"GET:", b"GE/T", b"G(T)", b'"GET"', b"1GET", b"GET,POST", b"X" * 25, b""):
    refused("methods", _method.decode() or "empty", _method + b" /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)
for _method in (b"BREW", b"PRI", b"M-SEARCH", b"PROPFIND", b"GETGET", b"GET-"):
    refused("methods", _method.decode(), _method + b" /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN, 400, 501)

_secret = b"X-Api-Key: <key>\r\n"
for _name, _hosts in {
    "the same": b"Host: a\r\nHost: a\r\n",
    "different": b"Host: a\r\nHost: b\r\n",
    "second empty": b"Host: a\r\nHost:\r\n",
    "capitals second": b"Host: a\r\nHOST: b\r\n",
    "far apart": b"Host: a\r\n" + b"X: y\r\n" * 50 + b"Host: b\r\n",
    "three": b"Host: a\r\nHost: a\r\nHost: a\r\n",
    "one beside an absolute target's": b"Host: a\r\nhost: a\r\n",
}.items():
    _start = b"GET http://a/any/a HTTP/1.1\r\n" if "absolute" in _name else b"GET /any/a HTTP/1.1\r\n"
    refused("duplicate Host", _name, _start + _hosts + _secret + b"\r\n" + HIDDEN)
for _name, _hosts in {
    "none": b"",
    "empty": b"Host:\r\n",
    "list": b"Host: a, b\r\n",
    "space": b"Host: a b\r\n",
    "user name": b"Host: user@a\r\n",
    "path": b"Host: a/b\r\n",
    "query": b"Host: a?b\r\n",
    "fragment": b"Host: a#b\r\n",
    "backslash": b"Host: a\\b\r\n",
    "port that is no number": b"Host: a:b\r\n",
    "port too long": b"Host: a:123456\r\n",
    "open bracket": b"Host: [::1\r\n",
    "zone": b"Host: [fe80::1%25eth0]\r\n",
    "quote": b'Host: a"><script>\r\n',
    "beyond ASCII": "Host: é\r\n".encode(),
}.items():
    refused("Host", _name, b"GET /any/a HTTP/1.1\r\n" + _hosts + _secret + b"\r\n" + HIDDEN)

for _name, _target in {
    "another host": b"http://b/any/a",
    "user name": b"http://a@b/any/a",
    "user name before the host": b"http://b@a/any/a",
    "another port": b"http://a:81/any/a",
    "a port where Host has none": b"http://a:80/any/a",
    "a dot behind the host": b"http://a./any/a",
    "no host": b"http:///any/a",
    "another scheme": b"ftp://a/any/a",
    "file": b"file:///etc/passwd",
    "one slash": b"http:/a/any/a",
    "query without a path": b"http://a?/any/a",
    "fragment": b"http://a#/any/a",
}.items():
    refused("absolute form", _name, b"GET " + _target + b" HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)
refused("absolute form", "without Host", b"GET http://a/any/a HTTP/1.1\r\n" + _secret + b"\r\n" + HIDDEN)
refused("absolute form", "without Host in HTTP/1.0",
        b"GET http://a/any/a HTTP/1.0\r\n" + _secret + b"\r\n" + HIDDEN)  # fmt: skip
served("absolute form", "for the same host", b"GET http://A/any/a?b HTTP/1.1\r\n" + KEYED + b"\r\n",
       b"GET /any/a?b", absent=(b"http://",))  # fmt: skip
for _name, _sent in {
    "authority": b"GET a:443 HTTP/1.1\r\n" + KEYED,
    "authority alone": b"GET a HTTP/1.1\r\n" + KEYED,
    "authority to OPTIONS": b"OPTIONS a:443 HTTP/1.1\r\n" + KEYED,
    "authority with a user name": b"GET user@a:443 HTTP/1.1\r\n" + KEYED,
    "asterisk": b"GET * HTTP/1.1\r\n" + KEYED,
    "asterisk to OPTIONS": b"OPTIONS * HTTP/1.1\r\n" + KEYED,
    "asterisk to a POST with a body": b"POST * HTTP/1.1\r\n" + KEYED + b"Content-Length: 500\r\n",
    "asterisk and a path": b"OPTIONS */any/a HTTP/1.1\r\n" + KEYED,
}.items():
    refused("authority and asterisk form", _name, _sent + b"\r\n" + HIDDEN)
for _name, _target in {
    "no slash": b"any/a", "backslash": b"\\any\\a", "query alone": b"?x=y",
}.items():  # fmt: skip
    refused("target forms", _name, b"GET " + _target + b" HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN)
for _name, _target in {
    "two slashes": b"//a/any/a", "fragment in the path": b"/any/a#b", "fragment in the query": b"/any/a?b#c",
    "dot segments": b"/any/../open", "encoded line end": b"/any/a%0d%0aX:y", "backslash in the path": b"/any\\a",
}.items():  # fmt: skip
    served("target forms", _name, b"GET " + _target + b" HTTP/1.1\r\n" + KEYED + b"\r\n" + GET + b"\r\n",
           answers=(frozenset({400}), frozenset({200})))  # fmt: skip

for _name, _sent in {
    "an authority": b"CONNECT a:443 HTTP/1.1\r\n" + KEYED,
    "no port": b"CONNECT a HTTP/1.1\r\n" + KEYED,
    "the upstream": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-Api-Key: <key>\r\n",
    "another Host": b"CONNECT http://b/ HTTP/1.1\r\n" + KEYED,
    "an authority, in HTTP/1.0": b"CONNECT a:443 HTTP/1.0\r\n" + KEYED,
}.items():
    refused("CONNECT", _name, _sent + b"\r\n" + HIDDEN, 400, 405, 501)
for _name, _sent in {
    "asterisk": b"TRACE * HTTP/1.1\r\n" + KEYED,
    "an authority": b"TRACE a:443 HTTP/1.1\r\n" + KEYED,
}.items():
    refused("TRACE", _name, _sent + b"\r\n" + HIDDEN, 400, 405, 501)
served("TRACE", "with a path", b"TRACE /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + GET + b"\r\n",
       answers=(frozenset({400, 404, 405, 501}), frozenset({200})))  # fmt: skip
refused("CONNECT", "with a path, and bytes for the tunnel behind it",
        b"CONNECT /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN, 400, 404, 405, 501)  # fmt: skip
for _method in (b"CONNECT", b"TRACE"):
    _family, _start = _method.decode(), _method + b" /any/a HTTP/1.1\r\n" + KEYED
    served(_family, "as an overriding field",
           GET + b"X-HTTP-Method-Override: " + _method + b"\r\n\r\n" + GET + b"\r\n",
           b"GET /any/a", b"GET /any/a")  # fmt: skip
    refused(_family, "with a body", _start + b"Content-Length: 500\r\n\r\n" + HIDDEN, 400, 404, 405, 501)
    refused(_family, "with chunks to come", _start + CHUNKED + b"\r\n500\r\n" + HIDDEN, 400, 404, 405, 501)

for _name, _line in {
    "without a version": b"GET /any/a",
    "method only": b"GET",
    "space behind": b"GET /any/a ",
    "HTTP without a number": b"GET /any/a HTTP",
    "slash without a number": b"GET /any/a HTTP/",
    "empty lines": b"\r\n\r\nGET /any/a",
}.items():
    refused("HTTP/0.9", _name, _line + b"\r\n\r\n" + HIDDEN)
refused("HTTP/0.9", "said so", b"GET /any/a HTTP/0.9\r\n\r\n" + HIDDEN, 505)

_preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
refused("HTTP/2 preface", "alone", _preface, 400, 505)
refused("HTTP/2 preface", "with settings", _preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400, 505)
refused("HTTP/2 preface", "with a request behind", _preface + HIDDEN, 400, 505)
refused("HTTP/2 preface", "as HTTP/1.1", _preface.replace(b"2.0", b"1.1") + HIDDEN, 400, 501)
refused("HTTP/2 preface", "second half", b"SM\r\n\r\n" + HIDDEN)
refused("HTTP/2 preface", "frames only", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + HIDDEN)
refused("HTTP/2 preface", "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + HIDDEN)

for _version, _status in {
    b"HTTP/2.0": 505, b"HTTP/2": 505, b"HTTP/3.0": 505, b"HTTP/1.2": 505, b"HTTP/1.9": 505, b"HTTP/0.1": 505,
    b"HTTP/1.10": 400, b"HTTP/1.01": 400, b"HTTP/01.1": 400, b"http/1.1": 400, b"HTTP/1,1": 400, b"HTTP/1.1x": 400,
    b"HTTP/11": 400, b"HTTP/1.": 400, b"HTTP/ 1.1": 400, b"HTTP/-1.1": 400, b"HTTP/1.1 HTTP/1.1": 400,
    b"HTTPS/1.1": 400, b"ICY/1.1": 400,
}.items():  # fmt: skip
    refused("versions", _version.decode(), b"GET /any/a " + _version + b"\r\n" + KEYED + b"\r\n" + HIDDEN, _status)

# -- fields that mean something to proxies --------------------------------------------------------------

for _named in (b"X-Api-Key", b"X-Forwarded-For", b"X-Keystile-Account", b"X-Keystile-Account, X-Keystile-Key",
               b"x_forwarded_for", b"Host", b"Via", b"X-Forwarded-Proto,X-Forwarded-Host, X-Request-Id",
               b"Content-Length", b"Transfer-Encoding", b"keep-alive, X-Api-Key, Upgrade"):  # fmt: skip
    served("Connection", "names " + _named.decode(), GET + b"Connection: " + _named + b"\r\n\r\n")
served("Connection", "names framing of a body",
       POST + b"Connection: Content-Length, Host\r\nContent-Length: 5\r\n\r\nhello",
       b"POST /any/a", body=b"hello")  # fmt: skip
served("Connection", "names a field of the client's", GET + b"Cookie: c\r\nX_Y: z\r\nConnection: cookie, x-y\r\n\r\n",
       absent=(b"Cookie", b"X_Y"))  # fmt: skip
served("Connection", "close among names", GET + b"Connection: X-Api-Key, CLOSE\r\n\r\n" + HIDDEN, closed=True)
served("Connection", "close in a second line", GET + b"Connection: keep-alive\r\nConnection: close\r\n\r\n" + HIDDEN,
       closed=True)  # fmt: skip
served("Connection", "close before keep-alive", GET + b"Connection: close\r\nConnection: keep-alive\r\n\r\n" + HIDDEN,
       closed=True)  # fmt: skip
served("Connection", "HTTP/1.0 closes", GET.replace(b"1.1", b"1.0") + b"\r\n" + HIDDEN, closed=True)

for _name, _lines in {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "h2c without Connection": b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "websocket of a wrong version": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "HTTP/2.0": b"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
    "several": b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\nUpgrade: x\r\n",
}.items():
    served("Upgrade", _name, GET + _lines + b"\r\n" + GET + b"\r\n", b"GET /any/a", b"GET /any/a")
served("Upgrade", "with a body", POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
       b"POST /any/a", body=b"hello")  # fmt: skip
served("Upgrade", "with chunks", POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + CHUNKED + b"\r\n" + HELLO,
       b"POST /any/a", body=b"hello")  # fmt: skip

for _value in (b"200-ok", b"100-continue, 100-continue", b"100-continue, x", b"x", b"100-continue;q=1", b"", b"100"):
    refused("Expect", _value.decode() or "empty",
            POST + b"Content-Length: 5\r\nExpect: " + _value + b"\r\n\r\nhello" + HIDDEN, 417)  # fmt: skip
refused("Expect", "a second one of another kind",
        POST + b"Expect: 100-continue\r\nExpect: y\r\nContent-Length: 5\r\n\r\nhello" + HIDDEN, 417)  # fmt: skip
served("Expect", "with the body at once", POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
       b"POST /any/a", body=b"hello")  # fmt: skip
served("Expect", "without a body", GET + b"Expect: 100-continue\r\n\r\n")
served("Expect", "in HTTP/1.0", POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
       + HIDDEN, b"POST /any/a", body=b"hello", closed=True)  # fmt: skip
refused("Expect", "without a key, a request as body",
        NO_KEY + b"Expect: 100-continue\r\nContent-Length: 500\r\n\r\n" + HIDDEN, 401)  # fmt: skip
refused("Expect", "with underscores in a framing field",
        POST + b"Expect: 100-continue\r\nContent_Length: 5\r\n\r\n" + HIDDEN)  # fmt: skip

# -- too much ------------------------------------------------------------------------------------------

for _name, _sent, _status in (
    ("target", b"GET /any/" + b"a" * 20_000 + b" HTTP/1.1\r\n" + KEYED + b"\r\n", 414),
    ("query", b"GET /any/a?" + b"a" * 40_000 + b" HTTP/1.1\r\n" + KEYED + b"\r\n", 414),
    ("one field", GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ("field name", GET + b"a" * 40_000 + b": x\r\n\r\n", 431),
    ("cookies", GET + b"Cookie: aaaaaaaaaaaaaaa\r\n" * 2000 + b"\r\n", 431),
    ("key", b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: " + b"A" * 40_000 + b"\r\n\r\n", 431),
    ("host", b"GET /any/a HTTP/1.1\r\nHost: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ("Connection", GET + b"Connection: " + b"a," * 20_000 + b"\r\n\r\n", 431),
):
    refused("oversized", _name, _sent + HIDDEN, _status)
refused("oversized", "method", b"G" * 40_000 + b" /any/a HTTP/1.1\r\n" + KEYED + b"\r\n" + HIDDEN, 400, 414)
refused("oversized", "version", b"GET /any/a HTTP/" + b"1" * 40_000 + b"\r\n" + KEYED + b"\r\n" + HIDDEN, 400, 414)
refused("oversized", "a head that never ends", GET + b"X: " + b"a" * 100_000, 431)
refused("oversized", "a request line that never ends", b"GET /" + b"a" * 100_000, 414)
refused("oversized", "a method that never ends", b"G" * 100_000, 400, 414)
refused("oversized", "length of a body", POST + b"Content-Length: 11\r\n\r\n01234567890" + HIDDEN, 413,
        limits={"max_body_size": 10})  # fmt: skip
refused("oversized", "announced body", POST + b"Content-Length: 999999999999999999\r\n\r\n" + HIDDEN, 413,
        limits={"max_body_size": 10})  # fmt: skip
refused("oversized", "one chunk", POST + CHUNKED + b"\r\nb\r\n01234567890\r\n0\r\n\r\n" + HIDDEN, 413,
        limits={"max_body_size": 10})  # fmt: skip
refused("oversized", "chunks together", POST + CHUNKED + b"\r\n" + b"1\r\na\r\n" * 11 + b"0\r\n\r\n" + HIDDEN, 413,
        limits={"max_body_size": 10})  # fmt: skip
served("oversized", "a body of the greatest size", POST + b"Content-Length: 10\r\n\r\n0123456789",
       b"POST /any/a", body=b"0123456789", limits={"max_body_size": 10})  # fmt: skip
served("oversized", "chunks of the greatest size", POST + CHUNKED + b"\r\na\r\n0123456789\r\n0\r\n\r\n",
       b"POST /any/a", body=b"0123456789", limits={"max_body_size": 10})  # fmt: skip

_line = b"GET /any/a HTTP/1.1\r\n"
for _name, _lines in {
    "the same": b"a: b\r\n" * 10_000,
    "empty": b"a:\r\n" * 8_000,
    "different": b"".join(b"%x:\r\n" % i for i in range(10_000)),
    "Host": b"Host: a\r\n" * 10_000,
    "one more than allowed": b"".join(b"x%d: y\r\n" % i for i in range(99)),
    "one more than allowed of one name": b"x: y\r\n" * 99,
}.items():
    refused("10,000 fields", _name, GET + _lines + b"\r\n" + HIDDEN, 431)
served("10,000 fields", "as many as allowed", GET + b"x: y\r\n" * 98 + b"\r\n")

# -- one connection, several requests -------------------------------------------------------------------

_good = GET + b"\r\n"
_two = (frozenset({200}), frozenset({400}))
for _name, _bad in {
    "not HTTP": b"\x00\x01\x02\r\n\r\n",
    "two framings": POST + CHUNKED + b"Content-Length: 5\r\n\r\n" + HELLO,
    "no Host": b"GET /any/a HTTP/1.1\r\n\r\n",
    "a bad chunk": POST + CHUNKED + b"\r\nx\r\n\r\n",
    "an empty line too many": b"\r\n\r\n",
    "a folded field": GET + b"X: a\r\n b\r\n\r\n",
}.items():
    served("good-bad-good", _name, _good + _bad + HIDDEN, b"GET /any/a", answers=_two, closed=True)
served("good-bad-good", "bad for its key only", _good + NO_KEY + b"\r\n" + _good, b"GET /any/a", b"GET /any/a",
       answers=(frozenset({200}), frozenset({401}), frozenset({200})))  # fmt: skip
served("good-bad-good", "bad for its key, with its body", _good + NO_KEY + b"Content-Length: 5\r\n\r\nhello" + _good,
       b"GET /any/a", b"GET /any/a", in_pieces=False,
       answers=(frozenset({200}), frozenset({401}), frozenset({200})))  # fmt: skip
served("good-bad-good", "an empty line between is read over", _good + b"\r\n" + _good, b"GET /any/a", b"GET /any/a")
served("good-bad-good", "close in the middle", _good + GET + b"Connection: close\r\n\r\n" + HIDDEN,
       b"GET /any/a", b"GET /any/a", closed=True)  # fmt: skip

refused("after an error", "401 with a body to come", NO_KEY + b"Content-Length: 5000\r\n\r\n" + HIDDEN, 401)
refused("after an error", "401 with chunks to come", NO_KEY + CHUNKED + b"\r\n1\r\nx\r\n", 401)
refused("after an error", "404 with a body to come",
        b"POST /nowhere HTTP/1.1\r\n" + KEYED + b"Content-Length: 5000\r\n\r\n" + HIDDEN, 404)  # fmt: skip
refused("after an error", "405 with a body to come",
        b"DELETE /v4/contacts HTTP/1.1\r\n" + KEYED + b"Content-Length: 5000\r\n\r\n" + HIDDEN, 405)  # fmt: skip
refused("after an error", "403 with a body to come",
        b"POST /v4/contacts HTTP/1.1\r\n" + KEYED + b"Content-Length: 5000\r\n\r\n" + HIDDEN, 403)  # fmt: skip
refused("after an error", "400 for the path with a body to come",
        b"POST //any HTTP/1.1\r\n" + KEYED + b"Content-Length: 5000\r\n\r\n" + HIDDEN)  # fmt: skip
refused("after an error", "400 for two keys with a body to come",
        POST + b"X-Api-Key: <key>\r\nContent-Length: 5000\r\n\r\n" + HIDDEN)  # fmt: skip
refused("after an error", "401 with a bad chunk far behind it",
        NO_KEY + CHUNKED + b"\r\n80000\r\n" + b"x" * 0x80000 + b"\r\nbad\r\n" + HIDDEN, 401)  # fmt: skip

FAMILIES = sorted({attack.family for attack in ATTACKS})
