from __future__ import annotations

import time

from keystile.process.channel import LOG, MAX_PAYLOAD, USES, Receiver, Sender, pair


def test_messages_arrive_whole_and_by_kind() -> None:
    sending, receiving = pair()
    uses: list[bytes] = []
    lines: list[bytes] = []
    sender = Sender(sending)
    receiver = Receiver(receiving, {USES: uses.append, LOG: lines.append})
    assert sender.send(USES, b"[]")
    assert sender.send(LOG, b"a\nb\n")
    assert sender.send(LOG, b"x" * MAX_PAYLOAD)
    assert receiver.receive() == 3
    assert receiver.receive() == 0
    assert (uses, lines) == ([b"[]"], [b"a\nb\n", b"x" * MAX_PAYLOAD])
    sending.close()
    receiving.close()


def test_a_full_channel_drops_counts_and_never_waits() -> None:
    sending, receiving = pair()
    sender = Sender(sending)
    began = time.monotonic()
    sent = sum(sender.send(LOG, b"x" * 1000) for _ in range(5000))
    assert time.monotonic() - began < 2
    assert 0 < sent < 5000
    assert sender.dropped == 5000 - sent
    assert Receiver(receiving, {LOG: lambda _: None}).receive(at_most=10_000) == sent
    assert sender.send(LOG, b"again")
    sending.close()
    receiving.close()


def test_a_message_that_is_too_long_and_one_without_receiver_are_dropped() -> None:
    sending, receiving = pair()
    sender = Sender(sending)
    assert not sender.send(LOG, b"x" * (MAX_PAYLOAD + 1))
    receiving.close()
    assert not sender.send(LOG, b"x")
    assert sender.dropped == 2
    sending.close()


def test_a_kind_that_nobody_knows_is_counted() -> None:
    sending, receiving = pair()
    Sender(sending).send(b"?", b"")
    receiver = Receiver(receiving, {})
    receiver.receive()
    assert receiver.unknown == 1
    sending.close()
    receiving.close()
