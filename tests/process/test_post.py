from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from keystile.process import post

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = post.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_stay_apart_and_in_order(ends: Ends) -> None:
    ours, theirs = ends
    assert post.receive(theirs) is None
    for number in range(3):
        post.send(ours, {"number": number})
    assert [post.receive(theirs) for _ in range(4)] == [*(post.Message({"number": n}) for n in range(3)), None]


def test_files_come_with_their_own_message_and_are_no_childs(ends: Ends) -> None:
    ours, theirs = ends
    reading, writing = os.pipe()
    post.send(ours, {"first": True})
    post.send(ours, {"second": True}, [writing])
    os.close(writing)
    first, second = post.receive(theirs), post.receive(theirs)
    assert first == post.Message({"first": True})
    assert second is not None
    assert len(second.files) == 1
    assert not os.get_inheritable(second.files[0])
    os.write(second.files[0], b"x")
    assert os.read(reading, 1) == b"x"
    second.close()
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_the_end_of_the_other_side_is_told(ends: Ends) -> None:
    ours, theirs = ends
    post.send(theirs, {"last": "words"})
    theirs.close()
    assert post.receive(ours) == post.Message({"last": "words"})
    with pytest.raises(post.Ended):
        post.receive(ours)
    with pytest.raises(OSError, match="Broken pipe"):
        post.send(ours, {})


def test_what_is_too_large_is_not_sent(ends: Ends) -> None:
    ours, theirs = ends
    with pytest.raises(ValueError, match="too large"):
        post.send(ours, {"text": "x" * post.LARGEST})
    assert post.receive(theirs) is None
