"""Hypothesis plays both sides of a relay: requests in pieces, answers good and bad, WebSockets, ends and time.

The whole assertion is in ``Rig.finish``: everything was accepted by the rules or refused by them, slots are back to
zero, one request went out at most for each that came in, what was sent is well framed, and every answer is its own
request's; what goes through a WebSocket is whole, in order, and nobody else's.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fuzz.judge import split_requests
from tests.fuzz.rig import LIMITS, Caller, Rig, Wire
from tests.wire.client_attacks import ATTACKS
from tests.wire.upstream_attacks import MISANSWERS
from tests.wire.websocket_attacks import FIELDS as HANDSHAKE
from tests.wire.websocket_attacks import HANDSHAKES, HIDDEN, SWITCHED

BAD_REQUESTS = [row.sent for row in ATTACKS if len(row.sent) < 600]
BAD_ANSWERS = [b"".join(row.sent) for row in MISANSWERS if sum(map(len, row.sent)) < 600]
FIELDS = (b"", b"", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Connection: X-Api-Key\r\n")
BAD_SWITCHES = [row.answered for row in HANDSHAKES if row.status == 502]
FRAMINGS = ("none", "length", "chunked")
_RIG: list[Rig] = []


def request(number: int, method: str, framing: str, body: bytes, fields: bytes) -> bytes:
    """One request that keeps every rule; its target is nobody else's."""
    head = b"%b /any/%d HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n%b" % (method.encode(), number, fields)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if framing == "chunked":
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    return head + b"\r\n"


class Relay(RuleBasedStateMachine):
    """Everything that can happen to a relay but its own faults."""

    @initialize()
    def begin(self) -> None:
        if not _RIG:
            _RIG.append(Rig())
        self.rig = _RIG[0]
        self.rig.fresh()
        self.rig.connect()
        self.number = 0
        self.waiting: dict[int, bytes] = {}  # by caller: bytes of it that have not been sent yet

    def caller(self, which: int) -> tuple[int, Caller]:
        index = which % len(self.rig.callers)
        return index, self.rig.callers[index]

    def server(self, which: int) -> Wire | None:
        self.rig.settle()
        open_ones = [wire for wire in self.rig.upstreams if not wire.ended]
        return open_ones[which % len(open_ones)] if open_ones else None

    @rule()
    def another_client(self) -> None:
        if len(self.rig.callers) < 4:
            self.rig.connect()

    @rule(
        which=st.integers(0, 5),
        method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
        framing=st.sampled_from(FRAMINGS),
        body=st.binary(max_size=300),
        fields=st.sampled_from(FIELDS),
        cut=st.integers(0, 400),
    )  # fmt: skip
    def good_request(self, which: int, method: str, framing: str, body: bytes, fields: bytes, cut: int) -> None:
        index, caller = self.caller(which)
        self.number += 1
        data = self.waiting.pop(index, b"") + request(self.number, method, framing, body, fields)
        self.rig.send(caller, data[:cut] if cut else data)
        if cut and data[cut:]:
            self.waiting[index] = data[cut:]

    @rule(which=st.integers(0, 5), method=st.sampled_from(["GET", "POST"]), then=st.sampled_from(["", "POST", "end"]))
    def round_trip(self, which: int, method: str, then: str) -> None:
        """A whole exchange, so that a connection is kept; then it is used again, or ends when it is."""
        self.good_request(which, method, "none", b"", b"", 0)
        self.rig.turn(3)
        self.honest_answer(-1, False, 0, False)
        self.rig.turn(2)
        if then:
            self.good_request(which, "POST", "none", b"", b"", 0)
        if then == "end":
            self.server_ends(-1, "reset")
            self.rig.turn(3)

    @rule(which=st.integers(0, 5), framing=st.sampled_from(["length", "chunked"]))
    def early_answer(self, which: int, framing: str) -> None:
        """The server answers before the request's body is whole; then somebody else calls."""
        self.good_request(which, "POST", framing, b"b" * 100, b"", 150)
        self.rig.turn(3)
        self.honest_answer(-1, False, 0, False)
        self.rig.turn(2)
        self.good_request(which + 1, "GET", "none", b"", b"", 0)

    @rule(which=st.integers(0, 5), size=st.integers(1, 200))
    def more_of_it(self, which: int, size: int) -> None:
        index, caller = self.caller(which)
        data = self.waiting.pop(index, b"")
        self.rig.send(caller, data[:size])
        if data[size:]:
            self.waiting[index] = data[size:]

    @rule(which=st.integers(0, 5), data=st.sampled_from(BAD_REQUESTS))
    def bad_request(self, which: int, data: bytes) -> None:
        index, caller = self.caller(which)
        self.waiting.pop(index, None)
        self.rig.send(caller, data)

    @rule(
        which=st.integers(0, 5),
        early=st.binary(max_size=100),
        answer=st.sampled_from([SWITCHED, SWITCHED, SWITCHED, *BAD_SWITCHES]),
        first=st.binary(max_size=100),
        then=st.sampled_from(["", "hidden", "key deleted", "clogged", "client clogged"]),
    )  # fmt: skip
    def websocket(self, which: int, early: bytes, answer: bytes, first: bytes, then: str) -> None:
        """A handshake, bytes behind it before it is answered, its answer, and bytes behind that."""
        index, caller = self.caller(which)
        handshake = b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n%b\r\n" % HANDSHAKE
        self.rig.send(caller, self.waiting.pop(index, b"") + handshake + early)
        self.rig.turn(3)
        if (wire := self.server(-1)) is not None:
            if then == "clogged":
                wire.clog()
            elif then == "client clogged":
                caller.wire.clog()
            self.rig.reply(wire, answer + first)
        if then == "hidden":
            self.rig.send(caller, HIDDEN)
        elif then == "key deleted":
            self.rig.delete_key()

    @rule(which=st.integers(0, 5), data=st.binary(min_size=1, max_size=200), to_server=st.booleans())
    def bytes_through_it(self, which: int, data: bytes, to_server: bool) -> None:
        """Any bytes, where a WebSocket is open."""
        tunnels = sorted(self.rig.gateway.tunnels, key=lambda tunnel: tunnel.exchange.request_id)
        if tunnels and to_server:
            client = tunnels[which % len(tunnels)].client.transport
            self.rig.send(next(each for each in self.rig.callers if each.wire is client), data)
        elif tunnels:
            server = tunnels[which % len(tunnels)].upstream.transport
            self.rig.reply(next(each for each in self.rig.upstreams if each is server), data)

    @rule(which=st.integers(0, 5), chunked=st.booleans(), cut=st.integers(0, 80), interim=st.booleans())
    def honest_answer(self, which: int, chunked: bool, cut: int, interim: bool) -> None:
        wire = self.server(which)
        whole, unfinished = split_requests(wire.sent) if wire else ([], b"")
        asked = [*whole, unfinished] if b"\r\n\r\n" in unfinished else whole
        if wire is None or not asked:
            return
        method, target, _ = asked[-1].split(b" ", 2)
        body = b"asked " + target
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim + b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing
        if method != b"HEAD":
            answer += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        if cut:
            self.rig.reply(wire, answer[:cut])
            answer = answer[cut:]
        if answer:
            self.rig.reply(wire, answer)

    @rule(which=st.integers(0, 5), data=st.sampled_from(BAD_ANSWERS))
    def dishonest_answer(self, which: int, data: bytes) -> None:
        if (wire := self.server(which)) is not None:
            self.rig.reply(wire, data)

    @rule(which=st.integers(0, 5), how=st.sampled_from(["end", "reset"]))
    def server_ends(self, which: int, how: str) -> None:
        wire = self.server(which)
        if wire is not None and how == "end":
            self.rig.reply(wire, None)
        elif wire is not None:
            self.rig.break_off(wire)

    @rule(which=st.integers(0, 5), how=st.sampled_from(["eof", "reset"]))
    def client_leaves(self, which: int, how: str) -> None:
        index, caller = self.caller(which)
        self.waiting.pop(index, None)
        self.rig.leave(caller, how)

    @rule(which=st.integers(0, 5), client=st.booleans(), clogged=st.booleans())
    def clogging(self, which: int, client: bool, clogged: bool) -> None:
        wire = self.caller(which)[1].wire if client else self.server(which)
        if wire is not None and clogged:
            wire.clog()
        elif wire is not None:
            self.rig.unclog(wire)

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 80.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.wait(seconds)

    @rule(unreachable=st.booleans())
    def server_can_be_reached(self, unreachable: bool) -> None:
        self.rig.unreachable = unreachable

    @rule(times=st.integers(1, 3))
    def the_loop_turns(self, times: int) -> None:
        self.rig.turn(times)

    @invariant()
    def never_more_than_the_cap(self) -> None:
        if hasattr(self, "rig"):
            assert self.rig.slots.taken() <= LIMITS["concurrent_requests_per_ip"]

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.finish()


TestRelay = Relay.TestCase
TestRelay.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
