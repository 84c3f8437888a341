"""Scripts of bytes: what happens to a rig, step by step, and scripts to begin with.

Law: any bytes are a script. What must hold at its end, the rig asserts.
"""

from __future__ import annotations

from tests.fuzz.rig import Caller, Rig
from tests.wire.websocket_attacks import EVIL, FIELDS, FRAME, GET, HANDSHAKES, HIDDEN, SWITCHED

_RIG: list[Rig] = []
_WAITS = (0.5, 5.0, 11.0, 80.0, 700.0)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#: Steps of a script: one byte each, the first two followed by a length and as many bytes.
CLIENT, SERVER, TURN, CLOG, UNCLOG, LEAVE, END, ANSWER, WAIT, OTHER, REACH = range(11)


def play(script: bytes) -> None:
    """Play a script from its first byte to its end, whatever it says."""
    if not _RIG:
        _RIG.append(Rig())
    rig = _RIG[0]
    rig.fresh()
    caller = rig.connect()
    position = 0
    while position < len(script):
        step = script[position]
        kind, variant = step % 11, step // 11
        position += 1
        if kind in (CLIENT, SERVER):
            size = script[position] if position < len(script) else 0
            data = script[position + 1 : position + 1 + size]
            position += 1 + size
            if kind == CLIENT:
                rig.send(caller, data)
            elif rig.upstreams:
                rig.reply(rig.upstreams[-1 - variant % len(rig.upstreams)], data)
        else:
            caller = _step(rig, caller, kind, variant)
    rig.finish()


def _step(rig: Rig, caller: Caller, kind: int, variant: int) -> Caller:
    server = rig.upstreams[-1] if rig.upstreams else None
    if kind == TURN:
        rig.turn(1 + variant % 3)
    elif kind in (CLOG, UNCLOG):
        wire = caller.wire if variant % 2 or server is None else server
        if kind == CLOG:
            wire.clog()
        else:
            rig.unclog(wire)
    elif kind == LEAVE:
        rig.leave(caller, "eof" if variant % 2 else "reset")
    elif kind == END and server is not None:
        if variant % 2:
            rig.reply(server, None)
        else:
            rig.break_off(server)
    elif kind == ANSWER and server is not None:
        rig.reply(server, WHOLE)
    elif kind == WAIT:
        rig.wait(_WAITS[variant % len(_WAITS)])
    elif kind == OTHER:
        if len(rig.callers) < 6 and variant % 2:
            return rig.connect()
        return rig.callers[variant % len(rig.callers)]
    elif kind == REACH and variant % 4 >= 2:
        rig.delete_key()
    elif kind == REACH:
        rig.unreachable = bool(variant % 2)
    return caller


def say(kind: int, data: bytes, size: int = 200) -> bytes:
    """Steps that send ``data`` in pieces of ``size``."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(bytes([kind, len(piece)]) + piece for piece in pieces)


def socket_scripts() -> list[bytes]:
    """Scripts to begin with around a WebSocket: each handshake of the attack suite, and open ones in every trouble."""
    turns = bytes([TURN] * 3)
    rows = [row for row in HANDSHAKES if len(row.sent) + len(row.answered) < 3000]
    then = turns + say(CLIENT, HIDDEN) + turns + bytes([ANSWER])
    found = [say(CLIENT, row.sent) + turns + say(SERVER, row.answered) + then for row in rows]
    opening = GET + FIELDS + b"\r\n"
    opened = say(CLIENT, opening) + turns + say(SERVER, SWITCHED) + turns
    both = say(CLIENT, FRAME + HIDDEN) + say(SERVER, FRAME + EVIL)
    ends = (LEAVE, LEAVE + 11, END, END + 11, REACH + 22, *(WAIT + 11 * i for i in range(5)))
    for kind in (CLOG, CLOG + 11, *ends):
        found.append(opened + both + bytes([kind]) + turns + both + turns + both)
        before = say(CLIENT, opening + FRAME) + turns + bytes([kind])
        found.append(before + say(SERVER, SWITCHED + FRAME) + turns + both)
        for clog in (CLOG, CLOG + 11):
            found.append(opened + bytes([clog]) + both + both + bytes([kind]) + turns + bytes([clog + 1]) + both)
    found.append(bytes([REACH + 11]) + say(CLIENT, opening + HIDDEN) + turns)
    found.append(b"".join(bytes([OTHER + 11]) + say(CLIENT, opening) for _ in range(5)) + turns + say(SERVER, SWITCHED))
    good = say(CLIENT, b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n") + turns + bytes([ANSWER]) + turns
    found.append(good + opened + both + bytes([OTHER + 11]) + good)
    found.append(good + say(CLIENT, opening) + bytes([END]) + turns + say(SERVER, SWITCHED) + both)
    return found


def scripts(requests: list[bytes], answers: list[bytes]) -> list[bytes]:
    """Scripts to begin with: each attack on either side, and some that end in the middle."""
    turns, good = bytes([TURN] * 3), b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n"
    post = b"POST /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\nContent-Length: 50\r\n\r\n" + b"b" * 25
    found = [say(CLIENT, row) + turns + bytes([ANSWER]) + turns for row in requests]
    found += [say(CLIENT, good) + turns + say(SERVER, row) + turns + bytes([END + 11]) for row in answers]
    for kind in (CLOG, CLOG + 11, LEAVE, LEAVE + 11, END, END + 11, *(WAIT + 11 * i for i in range(5))):
        found.append(say(CLIENT, good + good) + turns + bytes([kind]) + turns + bytes([ANSWER]) + turns)
        found.append(say(CLIENT, post) + turns + bytes([kind]) + say(CLIENT, b"b" * 25) + turns + bytes([ANSWER]))
        found.append(say(CLIENT, good) + turns + say(SERVER, WHOLE[:-2]) + bytes([kind]) + turns)
        found.append(say(CLIENT, good) + turns + bytes([ANSWER]) + turns + bytes([kind]) + say(CLIENT, good) + turns)
    found.append(bytes([REACH + 11]) + say(CLIENT, good) + turns)
    found.append(b"".join(bytes([OTHER + 11]) + say(CLIENT, good) for _ in range(5)) + turns + bytes([ANSWER] * 4))
    return found
