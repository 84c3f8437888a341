"""Having gateway.yaml read again, or compared, for whoever asks: a command, or a signal.

Law: it passes the question on to management, which reads, and the answer back.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from keystile.process.child import Child
from keystile.process.log import log
from keystile.process.post import Message


class Reloads:
    """``management``: the process, if one is.

    Answers have ``fault`` (or None), ``number`` of the configuration in force, and whether it has ``changed``; where
    management could not be asked, only ``fault``.
    """

    def __init__(self, management: Callable[[], Child | None]) -> None:
        self._management = management
        self.upgrading = False
        self._asked = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    def while_upgrading(self, upgrading: bool) -> None:
        """An upgrade is under way, or is over; meanwhile the answer is that."""
        self.upgrading = upgrading

    async def ask(self) -> dict[str, Any]:
        """Have it read; what came of it."""
        if self.upgrading:
            return {"fault": "an upgrade is under way; try again when it is over"}
        return await self._ask("reload")

    async def compare(self, file: str) -> dict[str, Any]:
        """Have ``file`` (absolute) compared with what is in force; what would change."""
        return await self._ask("compare", file=file)

    async def _ask(self, what: str, **more: str) -> dict[str, Any]:
        management = self._management()
        if management is None or not management.ready.done():  # it hears nothing of the kind before it is ready
            return {"fault": "management is just being started; try again"}
        asked = self._asked = self._asked + 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[asked] = answer
        try:
            management.tell({what: asked, **more})
            await asyncio.wait((answer, management.ended), return_when=asyncio.FIRST_COMPLETED)
        except (OSError, ValueError) as error:
            return {"fault": f"management cannot be told: {error}"}
        finally:
            del self._answers[asked]
        return answer.result() if answer.done() else {"fault": "management has ended meanwhile; try again"}

    def answered(self, message: Message) -> None:
        """Management has read; a long answer came as a file."""
        answer = self._answers.get(int(message.content["reloaded"]))
        if answer is not None and not answer.done():
            answer.set_result(_content(message))

    async def for_signal(self) -> None:
        """The same for SIGHUP, which nobody waits for; what is wrong is logged where it is read."""
        answer = await self.ask()
        if self.upgrading:
            log(f"SIGHUP: {answer['fault']}")
        elif answer["fault"] is None and not answer["changed"]:
            log("SIGHUP: the configuration has not changed")


def _content(message: Message) -> dict[str, Any]:
    if not message.files:
        return {name: value for name, value in message.content.items() if name != "reloaded"}
    (fd,) = message.files
    content: dict[str, Any] = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    return content
