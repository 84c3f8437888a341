"""What management and the supervisor say to each other of configurations (``acceptance.py``): management's side.

Law: messages only; what is read and checked is ``watch.py``'s.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from keystile.process import snapshot
from keystile.process.charge import Line
from keystile.process.post import Message
from keystile.process.watch import Watch

CONSIDERED_WITHIN = 60.0
"""Seconds within which the supervisor must have put a configuration in force, or not."""
LONGEST_FAULT = 40_000
"""Characters of what is wrong that the supervisor is told."""
MOST_WARNINGS, LONGEST_WARNING = 20, 500
"""So many warnings of a configuration are told, and so many characters of each."""


class Offers:
    """``asked_anew``: told that somebody has asked for a reload, whatever comes of it."""

    watch: Watch

    def __init__(self, line: Line, asked_anew: Callable[[], None]) -> None:
        self._line = line
        self._asked_anew = asked_anew
        self._answer: asyncio.Future[str | None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        line.hear("considered", self._on_considered)
        line.hear("put_back", self._on_put_back)
        line.hear("reload", self._on_reload)
        line.hear("compare", self._on_compare)

    async def make(self, wanted: snapshot.Snapshot) -> str | None:
        """Offer a configuration, and wait; None when it is in force, or why not. One at a time."""
        answer: asyncio.Future[str | None]
        answer = self._answer = asyncio.get_running_loop().create_future()
        sealed = snapshot.seal(wanted)
        self._line.say({"offer": wanted.number}, [sealed])
        os.close(sealed)
        try:
            async with asyncio.timeout(CONSIDERED_WITHIN):
                return await answer
        except TimeoutError:
            return f"the supervisor has not answered for {CONSIDERED_WITHIN:g} s"
        finally:
            self._answer = None

    def _on_considered(self, message: Message) -> None:
        self.watch.last = max(self.watch.last, int(message.content["last"]))
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message.content["fault"])

    def _on_put_back(self, message: Message) -> None:
        (sealed,) = message.files
        self.watch.put_back(snapshot.read(sealed), str(message.content["fault"]))
        message.close()

    def _on_reload(self, message: Message) -> None:
        self._asked_anew()
        self._begin(self._reload(int(message.content["reload"])))

    def _on_compare(self, message: Message) -> None:
        self._begin(self._compare(int(message.content["compare"]), Path(message.content["file"])))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self, asked: int) -> None:
        report = await self.watch.reload()
        fault = report.fault[:LONGEST_FAULT] or None
        warnings = [text[:LONGEST_WARNING] for text in self.watch.accepted.settings.warnings[:MOST_WARNINGS]]
        told = {"fault": fault, "number": report.number, "changed": report.changed, "warnings": warnings}
        self._line.say({"reloaded": asked, **told})

    async def _compare(self, asked: int, file: Path) -> None:
        """The answer goes as a file: it may be longer than a message."""
        found = json.dumps(await self.watch.compare(file)).encode()
        answer = snapshot.memory_file("keystile-difference", found)
        self._line.say({"reloaded": asked}, [answer])
        os.close(answer)
