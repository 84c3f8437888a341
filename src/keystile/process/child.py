"""A child process as the supervisor sees it: started, ready, told to drain, ended.

Law: one child, one life. What is done about its end (clean up, start another) is the supervisor's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from keystile.process import post
from keystile.process.charge import LEAVING, Charge
from keystile.process.log import log
from keystile.process.post import Message

Hear = Callable[["Child", Message], None]


def _unheard(child: Child, message: Message) -> None:
    log(f"{child.role} {child.pid}: {message.content}")
    message.close()


class StartFailed(Exception):
    """A child could not begin its work; the message is the reason it gave."""


class Child:
    """One running process.

    ``ready``: a future, done when the child says so; fails with StartFailed when it cannot, or has ended.
    ``ended``: a future of its return code (negative: the signal that ended it). ``hear``: gets what the child says
    besides, and closes the files that come with it. Needs a running loop.
    """

    def __init__(self, role: str, process: subprocess.Popen[bytes], line: socket.socket, hear: Hear) -> None:
        self.role = role
        self.pid = process.pid
        self._process = process
        self._line = line
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_end)
        self._loop.add_reader(self._line, self._listen)

    @classmethod
    def spawn(cls, role: str, module: str, charge: Charge, hear: Hear | None = None) -> Child:
        """Execute ``python -m module`` with a charge (its ``line`` is filled in here). Raises OSError."""
        ours, theirs = post.pair()
        with theirs:
            charge = dataclasses.replace(charge, line=theirs.fileno())
            kept = (charge.snapshot, charge.slots, charge.counters, charge.servers, charge.openssl)
            fds = (charge.line, charge.channel, *kept)
            # -P: the directory the gateway happens to be started in is no place for modules.
            command = [sys.executable, "-P", "-m", module, charge.to_json()]
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    env=_environment(charge),
                    pass_fds=(*fds, *charge.listeners, *charge.neighbours),
                )
            except OSError:
                ours.close()
                raise
        return cls(role, process, ours, hear or _unheard)

    def drain(self, how: str = LEAVING) -> None:
        """Tell it to finish what it has begun and end (``how``: see ``charge.py``). No error when it has ended."""
        try:
            self.tell({"drain": how})
        except OSError:
            self.send_signal(signal.SIGTERM)

    def tell_of(self, content: dict[str, Any]) -> None:
        """The same where it does not matter whether it hears of it."""
        with suppress(OSError):
            self.tell(content)

    def tell(self, content: dict[str, Any], files: Sequence[int] = ()) -> None:
        """Send it a message. Raises OSError when it has ended, or does not read."""
        post.send(self._line, content, files)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. No error when it has ended."""
        if not self.ended.done():
            self._process.send_signal(number)

    def _listen(self) -> None:
        try:
            while (message := post.receive(self._line)) is not None:
                self._on_message(message)
        except post.Ended:
            self._loop.remove_reader(self._line)

    def _on_message(self, message: Message) -> None:
        content = message.content
        if "failed" in content and not self.ready.done():
            self._fail(str(content["failed"]))
        elif "failed" in content:
            log(f"{self.role} {self.pid}: {content['failed']}")
        elif "ready" in content:
            self.ready.set_result(None)
        else:
            self._hear(self, message)

    def _fail(self, reason: str) -> None:
        self.ready.set_exception(StartFailed(reason))
        self.ready.exception()  # it is no fault of the loop's when nobody asks

    def _on_end(self) -> None:
        self._listen()  # last words may still lie there
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self._line)
        os.close(self._pidfd)
        self._line.close()
        code = self._process.wait()
        if not self.ready.done():
            self._fail(f"the {self.role} process {self.pid} {how_it_ended(code)}")
        self.ended.set_result(code)


def _environment(charge: Charge) -> dict[str, str]:
    """A child's environment: ours, and what no call could set.

    OpenSSL reads groups, TLS 1.3 suites and signatures from nowhere else (``wire.tls.openssl_conf``); an operator's own
    file counts.
    """
    return {"OPENSSL_CONF": f"/proc/self/fd/{charge.openssl}", **os.environ}


def how_it_ended(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
