"""A request's head, read once and strictly (RFC 9112 §2–§6, RFC 9110 §7).

Law: what the bytes say, and which lines may be passed on; not whether the
request may pass. httptools (llhttp, strict) reads the fields; the request line
and everything where llhttp is lenient or has no opinion is checked here. No
line is copied that was not parsed, and nothing is repaired.

Hot path: values stay ``bytes``. A ``RequestFields`` depends on nothing but the
bytes behind ``HTTP/1.``, so a connection whose next head repeats them uses the
same object again. llhttp is asked for what could be read in two ways; a head of
names that it has passed before and of plain values cannot, and its fields cost
one look-up each. A line that stands where it stood in the connection's last head
says what it said: it is neither looked at nor looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import httptools

from keystile.wire.faults import Fault, WireError
from keystile.wire.grammar import ABSOLUTE_FORM
from keystile.wire.request_fields import (
    FORWARDED_RULES,
    TRACE_RULES,
    X_FORWARDED_RULES,
    Reading,
    RequestFields,
    Rule,
    rule_of,
)
from keystile.wire.trace_context import BOTH, trace_context

#: All that the fields of a head hold where nobody can read them in two ways, but for the ends of the lines.
_PRINTABLE: Final = bytes(range(0x20, 0x7F))
#: Spellings of names that are remembered, and how long each may be. Clients use few and short ones; whoever invents
#: others gains nothing and costs little memory.
_REMEMBERED_NAMES: Final = 2048
_REMEMBERED_NAME: Final = 64
#: Longer blocks are given to llhttp at once: it reads them faster.
_PLAIN_BLOCK: Final = 4096
_NONE: Final[frozenset[bytes]] = frozenset()
_SPACE: Final = 0x20


class RequestHeadReader:
    """Reads the fields of request heads; one for all connections of a process.

    ``withheld``: names of fields that are handed over rather than passed on; ``believes_forwarded``: trusted
    proxies say in Forwarded who is calling, rather than in X-Forwarded-*. Only one of the two is ever read: a
    proxy writes one, and passes the other on as its client sent it. ``trace``: traceparent and tracestate are passed
    on where they are valid (``pass``), handed over instead (``begin``), or fields like any other (``off``).
    """

    def __init__(
        self,
        *,
        withheld: Iterable[str] = (),
        max_fields: int = 100,
        believes_forwarded: bool = False,
        trace: Literal["pass", "begin", "off"] = "off",
    ) -> None:
        self._withheld = frozenset(name.lower().encode("ascii") for name in withheld)
        self._believed = FORWARDED_RULES if believes_forwarded else X_FORWARDED_RULES
        self._more = TRACE_RULES if trace != "off" else {}
        self._hands_traces_over = trace == "begin"
        self._max_fields = max_fields
        self._rules: tuple[dict[bytes, Rule | None], dict[bytes, Rule | None]] = ({}, {})

    def read(self, block: bytes, *, trusted: bool = False, last: RequestFields | None = None) -> RequestFields:
        """The fields in ``block``: the minor version's digit, CRLF, field lines, an empty line.

        ``trusted``: the peer is a proxy whose words about its client are believed; ``last``: what was read from it
        before, which saves work and changes nothing. Raises ``WireError``.
        """
        rules = self._rules[trusted]
        reading = None if last is None else last.reading
        if reading is not None and reading.rules is not rules:
            reading = None
        fields = self._read_plain(block, rules, reading) or self._read_strictly(block, rules, trusted)
        if last is not None and fields.withheld == last.withheld and fields.authorization == last.authorization:
            fields.presented = last.presented
        return fields

    def _read_plain(
        self, block: bytes, rules: dict[bytes, Rule | None], reading: Reading | None
    ) -> RequestFields | None:
        """The fields of a head of which llhttp could say nothing new, as most are; None: it has to be asked.

        Each name is one that it has passed before, in this very spelling. Behind it stand a colon, one space and a
        value of printable ASCII that neither begins nor ends with a space; nothing is chunked. What is refused is
        refused by the other way, which knows why.

        ``reading``: of a head of which all this is known, and of each line by which rule it was read.
        """
        if len(block) > _PLAIN_BLOCK:
            return None
        lines = block.split(b"\r\n")
        if reading is not None and len(reading.lines) != len(lines):
            reading = None
        if len(lines) - 3 > self._max_fields or not _is_printable(block, lines, reading):
            return None
        fields = RequestFields(_minor_version(block))
        of: list[Rule | None] = []
        try:
            kept = _kept_of(lines, fields, rules, reading, of)
            if kept is None or fields.chunked or self._unwanted(fields):
                return None
            _check_framing(fields)
        except (KeyError, WireError):
            return None
        fields.kept = kept
        fields.reading = Reading(rules, lines, of)
        return fields

    def _read_strictly(self, block: bytes, rules: dict[bytes, Rule | None], trusted: bool) -> RequestFields:
        pairs = self._parse(block)
        fields = RequestFields(_minor_version(block))
        kept: list[bytes] = []
        for name, value in pairs:
            try:
                rule = rules[name]
            except KeyError:
                rule = self._learn(rules, name, trusted)
            if rule is None or rule(fields, name, value):
                kept += (name, b": ", value.rstrip(b" \t"), b"\r\n")
        if unwanted := self._unwanted(fields):
            kept = _without(kept, unwanted)
        fields.kept = b"".join(kept)
        _check_framing(fields)
        return fields

    def _unwanted(self, fields: RequestFields) -> frozenset[bytes]:
        """Which fields are not passed on, by what the fields say together."""
        return fields.named | self._read_trace(fields) if fields.named or fields.traced else _NONE

    def _read_trace(self, fields: RequestFields) -> frozenset[bytes]:
        """Which of the two fields are not passed on. What Connection names is not meant for the API."""
        if not fields.traced:
            return _NONE
        traced = fields.traced
        if fields.named:
            traced = tuple(line for line in traced if line[0] not in fields.named)
        fields.trace = trace_context(traced)
        return _NONE if fields.trace.traceparent and not self._hands_traces_over else BOTH

    def _parse(self, block: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The fields in order. A name that is sent once, as most are, costs no call into Python."""
        once: dict[bytes, bytes] = {}
        _feed(block, once.setdefault)
        lines = block.count(b"\r\n") - 2
        if lines > self._max_fields:
            raise WireError(Fault.HEAD_TOO_LARGE, f"The head has more than {self._max_fields} fields.")
        if len(once) == lines:
            return once.items()
        pairs: list[tuple[bytes, bytes]] = []
        _feed(block, lambda name, value: pairs.append((name, value)))
        return pairs

    def _learn(self, rules: dict[bytes, Rule | None], name: bytes, trusted: bool) -> Rule | None:
        rule = rule_of(name, self._withheld, self._believed if trusted else None, self._more)
        if len(name) <= _REMEMBERED_NAME:
            if len(rules) >= _REMEMBERED_NAMES:
                rules.clear()
            rules[name] = rule
        return rule


def _is_printable(block: bytes, lines: list[bytes], reading: Reading | None) -> bool:
    """Whether there is only printable ASCII in ``lines``, which ``block`` is made of, as there was in the last ones."""
    if reading is None:
        return len(block.translate(None, _PRINTABLE)) == 2 * (len(lines) - 1)  # only the CRLFs that were split at
    known = reading.lines
    new = [line for at, line in enumerate(lines) if line != known[at]]
    return not b"".join(new).translate(None, _PRINTABLE)


def _kept_of(
    lines: list[bytes],
    fields: RequestFields,
    rules: dict[bytes, Rule | None],
    reading: Reading | None,
    of: list[Rule | None],
) -> bytes | None:
    """The lines to pass on, once ``fields`` have been told what all say, and ``of`` by which rules; None: not plain.

    Raises ``KeyError`` for a name that llhttp has not passed yet, and what the rules raise.
    """
    kept: list[bytes] = []
    for at in range(1, len(lines) - 2):
        line = lines[at]
        if reading is not None and line == reading.lines[at]:
            rule = reading.of[at - 1]
            if rule is None:
                of.append(None)
                kept.append(line)
                continue
            name, _, value = line.partition(b": ")
        else:
            name, colon, value = line.partition(b": ")
            rule = rules[name]
            if not colon or not value or value[0] == _SPACE or value[-1] == _SPACE:
                return None
        of.append(rule)
        if rule is None or rule(fields, name, value):
            kept.append(line)
    kept.append(b"")
    return b"\r\n".join(kept)


def _minor_version(block: bytes) -> int:
    return block[0] - 0x30


def _check_framing(fields: RequestFields) -> None:
    if fields.chunked and fields.content_length >= 0:
        raise WireError(Fault.BAD_FRAMING, "A request has Content-Length or Transfer-Encoding, never both.")
    if not fields.host and fields.minor_version == 1:
        raise WireError(Fault.BAD_HOST, "The request has no Host field.")


class _Collector:
    """What httptools calls with each field's name and value."""

    __slots__ = ("on_header",)

    def __init__(self, on_header: Callable[[bytes, bytes], object]) -> None:
        self.on_header = on_header


def _feed(block: bytes, on_header: Callable[[bytes, bytes], object]) -> None:
    try:
        # The request line has been read already; llhttp only needs one in front of the fields.
        httptools.HttpRequestParser(_Collector(on_header)).feed_data(b"GET / HTTP/1." + block)
    except httptools.HttpParserUpgrade:
        pass  # llhttp would stop parsing here; what becomes of Upgrade is decided by the route.
    except httptools.HttpParserError as error:
        raise _explained(error) from None


def _explained(error: Exception) -> WireError:
    """llhttp's reason, which names a rule and never repeats what was sent."""
    text = str(error)
    framing = "Content-Length" in text or "Transfer-Encoding" in text
    return WireError(Fault.BAD_FRAMING if framing else Fault.MALFORMED, f"The request head is not well-formed: {text}.")


def _without(kept: list[bytes], named: frozenset[bytes]) -> list[bytes]:
    """The lines in ``kept`` (four pieces each) but for those that Connection names (RFC 9110 §7.6.1)."""
    left: list[bytes] = []
    for i in range(0, len(kept), 4):
        if kept[i].lower().replace(b"_", b"-") not in named:
            left += kept[i : i + 4]
    return left


def origin_form(target: bytes, host: bytes) -> bytes:
    """``target`` as path and query (RFC 9112 §3.2).

    Absolute form is accepted where its authority is the Host field's. Raises ``WireError`` (``BAD_TARGET``)
    for the authority and asterisk forms, which name nothing that a route could serve.
    """
    if target.startswith(b"/"):
        return target
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise WireError(Fault.BAD_TARGET, "The request target must be a path.")
    if absolute[1].lower() != host.lower():
        raise WireError(Fault.BAD_TARGET, "The request target names another host than the Host field.")
    return absolute[2] or b"/"
