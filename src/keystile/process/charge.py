"""What a child process is told at its start, and the line on which it talks with the supervisor.

Law: common to relay and management processes; what either does stands in its own file. The command line
carries numbers of inherited descriptors and the name of a factory, never anything from the settings: it can
be read by everybody on the host.

The line carries messages (``post.py``). Child to supervisor: ``{"ready": true}`` or ``{"failed": reason}``, and
what ``acceptance.py`` tells. Supervisor to child: ``{"drain": how}``, and orders that the child has named. Its end
means that the supervisor is gone; a child then ends too.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from keystile.process import post
from keystile.process.log import catch_library_logs, log
from keystile.process.post import Message

LEAVING, AT_ONCE, REPLACED = "leaving", "at once", "replaced"
"""How a child is to drain: say so for ``drain_wait`` first (as after a signal), not wait for that, or leave what comes
to another process, which serves in its place already."""
LINGER = 2.0
"""Seconds that a management that has been replaced serves on for those who keep a connection to it: whoever asks again
within them is told that it ends, and nobody's request meets a connection that is just being closed."""
ORPHANED_FOR = 2.0
"""Seconds that a child with last words may outlive the supervisor (the alarm's default ends it)."""
MOST_EARLY = 64
"""Messages that may wait for a process to be ready: a configuration that was put back meanwhile, words to reload."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Charge:
    """The inherited descriptors by name, and who started us.

    ``listeners``: own listening sockets in the order of the settings' listeners (for management, its one, and
    behind it the Unix socket of the service's own key calls).
    ``neighbours``: those of the other relays, all of the first listener, then all of the second …
    ``place``: the number of a relay's counter page. ``factory``: ``module:function`` that builds a relay;
    for management the module with the names of the relays' counters. ``openssl``: OpenSSL's own settings.
    ``servers``: what is known of the upstreams' servers.
    ``standby``: for a management that has a predecessor, and takes over only when it is told to.
    """

    supervisor: int
    line: int
    snapshot: int
    slots: int
    counters: int
    channel: int
    listeners: tuple[int, ...]
    neighbours: tuple[int, ...]
    place: int
    factory: str
    openssl: int
    servers: int
    standby: bool = False

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Charge:
        """Back from the command line."""
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("listeners", "neighbours")}
        return cls(**{**fields, **lists})

    def made(self) -> Any:
        """What ``factory`` names."""
        name, _, attribute = self.factory.partition(":")
        module = importlib.import_module(name)
        return getattr(module, attribute) if attribute else module


class Line:
    """The child's end: says that it is ready, hears when to stop.

    ``stop`` is set by the first SIGTERM or the supervisor's order to drain (either may come first, or both:
    a service manager signals a whole group); ``how`` says in which way. A second SIGTERM ends the process at once,
    and so does the end of the supervisor where nothing would be lost (``last_words`` False).
    """

    def __init__(self, charge: Charge, *, last_words: bool) -> None:
        self._end = socket.socket(fileno=charge.line)
        self._end.setblocking(False)
        self._last_words = last_words
        self._terminations = 0
        self._is_ready = False
        # Whoever has not begun yet has nothing to leave, and nothing to say to that either.
        self._orders: dict[str, Callable[[Message], None]] = {"leaving": Message.close}
        #: What came before this process was ready, and that nobody was there for yet.
        self._early: list[Message] = []
        self.how = LEAVING
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._end, self._listen)
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)

    def ready(self) -> None:
        """Tell the supervisor that this process does its work; a second time says nothing.

        What it has been told before, as nobody was there for it yet, is heard now.
        """
        if self._is_ready:
            return
        self._is_ready = True
        self.say({"ready": True})
        early, self._early = self._early, []
        for message in early:
            self._on_message(message)

    def failed(self, reason: str) -> None:
        """Tell it why this process could not begin."""
        self.say({"failed": reason})

    def hear(self, order: str, do: Callable[[Message], None]) -> None:
        """Have ``do`` called with every message that has a member ``order``; it closes the message's files."""
        self._orders[order] = do

    def say(self, content: dict[str, Any], files: Sequence[int] = ()) -> None:
        """Send the supervisor a message; that it is gone is no error, since this process ends then."""
        try:
            post.send(self._end, content, files)
        except OSError as error:
            log(f"the supervisor does not listen: {error}")

    def _on_sigterm(self) -> None:
        self._terminations += 1
        if self._terminations > 1:
            os._exit(0)
        self.stop.set()

    def _listen(self) -> None:
        try:
            while (message := post.receive(self._end)) is not None:
                self._on_message(message)
        except post.Ended:
            self._on_orphaned()

    def _on_message(self, message: Message) -> None:
        if "drain" in message.content:
            self.how = str(message.content["drain"])
            self.stop.set()
            return
        for order, do in self._orders.items():
            if order in message.content:
                do(message)
                return
        if not self._is_ready and len(self._early) < MOST_EARLY:
            self._early.append(message)
            return
        log(f"the supervisor says what is not understood here: {sorted(message.content)}")
        message.close()

    def _on_orphaned(self) -> None:
        if not self._last_words:
            os._exit(1)
        signal.alarm(int(ORPHANED_FOR))  # nobody is left to end us if the last words take for ever
        asyncio.get_running_loop().remove_reader(self._end)
        self.stop.set()


def run(work: Callable[[Charge, Line], Awaitable[None]], *, last_words: bool) -> None:
    """The main of a child process: one charge as argument, ``work`` until it returns; exits 0 or 1.

    SIGINT, SIGHUP and SIGUSR2 are the supervisor's: terminals and service managers send them to every process.
    ``last_words``: at the supervisor's death do what ``stop`` asks for, within two seconds, instead of
    ending at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    catch_library_logs()
    charge = Charge.from_json(sys.argv[1])
    _end_with(charge.supervisor, signal.SIGTERM if last_words else signal.SIGKILL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(_run(charge, work, last_words))
        except BaseException:  # noqa: BLE001 - whatever it was, it is told and this process ends by it
            # Most of all a loop that has ended: uvloop's does by a MemoryError, where it has no memory for telling of
            # one. Nothing is taken apart then: a relay that did hung until it was killed as silent, and served nobody.
            with suppress(MemoryError):
                traceback.print_exc()
            os._exit(1)
        sys.exit(code)


async def _run(charge: Charge, work: Callable[[Charge, Line], Awaitable[None]], last_words: bool) -> int:
    line = Line(charge, last_words=last_words)
    try:
        await work(charge, line)
    except Exception as error:
        line.failed(f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) or type(error).__module__.startswith("keystile."):
            return 1  # a trouble with a name: the reason, which the supervisor shows, says it all
        raise
    return 0


def _end_with(supervisor: int, how: signal.Signals) -> None:
    """Have the kernel signal us when the supervisor dies; exit if it is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)
