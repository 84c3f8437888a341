"""Messages between the supervisor and a child: JSON objects, and open files with them.

Law: bytes and descriptors in, messages out; what they mean is told elsewhere. The socket keeps messages apart
(SOCK_SEQPACKET), so a descriptor always comes with the message that it belongs to.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

LAYOUT: Final = "JSON objects 1"
"""What has to be the same for two versions to understand each other; it counts on when a message changes."""
LARGEST: Final = 64 * 1024
"""Bytes of a message; longer texts in it are cut by whoever writes them."""
MOST_FILES: Final = 253
"""Descriptors in one message: the kernel's own bound (SCM_MAX_FD)."""
_ROOM: Final = socket.CMSG_LEN(MOST_FILES * array("i").itemsize)


class Ended(Exception):
    """The other side is gone."""


@dataclass(frozen=True, slots=True)
class Message:
    """``files``: descriptors that are ours to close, in the order in which they were sent."""

    content: dict[str, Any]
    files: tuple[int, ...] = ()

    def close(self) -> None:
        """Let go of the files."""
        for fd in self.files:
            os.close(fd)


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends; neither blocks."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def send(end: socket.socket, content: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Send a message. Raises OSError where the other side is gone or does not read, ValueError for one too large."""
    data = json.dumps(content).encode("ascii")
    if len(data) > LARGEST or len(files) > MOST_FILES:
        raise ValueError(f"a message of {len(data)} bytes and {len(files)} files is too large")
    if files:
        socket.send_fds(end, [data], list(files))
    else:
        end.send(data)


def receive(end: socket.socket) -> Message | None:
    """The next message; None where none is there yet. Raises Ended."""
    try:
        # Not socket.recv_fds(): it forgets the flags (Python 3.11), and children would inherit the files.
        data, extra, _, _ = end.recvmsg(LARGEST, _ROOM, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return None
    except OSError as error:
        raise Ended from error
    if not data:
        raise Ended
    files = array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(content[: len(content) - len(content) % files.itemsize])
    return Message(json.loads(data), tuple(files))
