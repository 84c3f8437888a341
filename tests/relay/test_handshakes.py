from __future__ import annotations

import logging

import pytest

from keystile.relay import handshakes
from keystile.relay.handshakes import MINUTE, MOST_LINES, Handshakes
from keystile.wire.tls_gate import Done, Reason, Refused
from keystile.wire.tls_policy import Version


def refused(peer: str, name: str | None = None, reason: Reason = Reason.VERSION) -> Refused:
    return Refused(reason, (Version.TLS_1_1, Version.TLS_1_0), name, "WORD", peer)


def test_everything_is_counted() -> None:
    counted = Handshakes(lambda: 0.0)
    counted.started("192.0.2.1")
    for resumed in (True, False, True):
        counted.done(Done(Version.TLS_1_3, resumed, None, "192.0.2.1"))
    counted.refused(refused("192.0.2.1"))
    counted.refused(refused("192.0.2.1", reason=Reason.HTTP))
    counted.gave_up()
    assert (counted.done_ones, counted.resumed, counted.abandoned) == (3, 2, 1)
    assert {reason for reason, count in counted.refused_ones.items() if count} == {Reason.VERSION, Reason.HTTP}


def test_every_reason_has_words() -> None:
    assert set(handshakes._WHY) == set(Reason)


def test_an_address_gets_a_line_a_minute_and_all_of_them_only_so_many(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    counted = Handshakes(lambda: now)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            counted.refused(refused("192.0.2.1"))
        assert len(caplog.records) == 1
        for number in range(100):
            counted.refused(refused(f"198.51.100.{number}"))
        assert len(caplog.records) == MOST_LINES
        now = MINUTE
        counted.refused(refused("192.0.2.1"))
        assert len(caplog.records) == MOST_LINES + 1


def test_what_a_stranger_says_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Handshakes(lambda: 0.0).refused(refused("192.0.2.1", "a\nb\x1b[31m" + "x" * 300))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "TLS handshake of 192.0.2.1 refused: it speaks no version that is accepted; it offers 1.0, 1.1; it asks for "
    )
    assert line.isprintable()
    assert len(line) < 300
    assert line.endswith("; WORD")
