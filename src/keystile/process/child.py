"""A child process as the supervisor sees it: started, ready, told to drain, ended.

Law: one child, one life. What is done about its end (clean up, start another) is the supervisor's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from keystile.process.charge import Charge
from keystile.process.log import log


class StartFailed(Exception):
    """A child could not begin its work; the message is the reason it gave."""


class Child:
    """One running process.

    ``ready``: a future, done when the child says so; fails with StartFailed when it cannot, or has ended.
    ``ended``: a future of its return code (negative: the signal that ended it). Needs a running loop.
    """

    def __init__(self, role: str, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.role = role
        self.pid = process.pid
        self._process = process
        self._line = line
        self._heard = b""
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_end)
        self._loop.add_reader(self._line, self._listen)

    @classmethod
    def spawn(cls, role: str, module: str, charge: Charge) -> Child:
        """Execute ``python -m module`` with a charge (its ``line`` is filled in here). Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            charge = dataclasses.replace(charge, line=theirs.fileno())
            fds = (charge.line, charge.snapshot, charge.slots, charge.counters, charge.channel)
            # -P: the directory the gateway happens to be started in is no place for modules.
            command = [sys.executable, "-P", "-m", module, charge.to_json()]
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(*fds, *charge.listeners, *charge.neighbours)
                )
            except OSError:
                ours.close()
                raise
        return cls(role, process, ours)

    def drain(self) -> None:
        """Tell it to finish what it has begun and end. No error when it has ended."""
        try:
            self._line.send(b'{"drain": true}\n')
        except OSError:
            self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal. No error when it has ended."""
        if not self.ended.done():
            self._process.send_signal(number)

    def _listen(self) -> None:
        try:
            heard = self._line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._loop.remove_reader(self._line)
        self._heard += heard
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))

    def _on_message(self, message: dict[str, Any]) -> None:
        if self.ready.done():
            log(f"{self.role} {self.pid}: {message.get('failed', message)}")
        elif "failed" in message:
            self._fail(str(message["failed"]))
        else:
            self.ready.set_result(None)

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


def how_it_ended(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
