"""Locust's users: what each of them does, one call after another.

Law: this file imports Locust, and with it gevent's patches, so only ``tester.py`` imports it, in a process of its
own. A user calls from one address on one connection, as an API's client does. With a rate, a request counts from the
moment when it was due: a gateway that stands still is not spared the requests that nobody could send meanwhile.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar, Final

from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from keystile.loadtest.calls import NUMBER, Call
from keystile.loadtest.connection import Connection, Unanswered, request
from keystile.loadtest.credentials import Credential
from keystile.loadtest.gathering import Gathering
from keystile.loadtest.meeting import Meeting, Over
from keystile.loadtest.plan import Plan

_NUMBERS: Final = 1000
_BITES: Final = 20
_STEP: Final = 0.1
"""A slow user's request comes in so many pieces, with so many seconds between them; answers likewise."""


class Ground:
    """What all users of a run share."""

    def __init__(self, plan: Plan, gathering: Gathering, context: ssl.SSLContext | None) -> None:
        self.plan, self.gathering, self.context = plan, gathering, context
        self.sources: Sequence[str] = plan.sources or ("",)
        self.quick = [at for at, call in enumerate(plan.calls) if call.manner == "plain"]
        self.slow = [at for at, call in enumerate(plan.calls) if call.manner != "plain"]
        self.weights = [plan.calls[at].weight for at in self.quick]
        self.meeting = Meeting(plan.users, plan.rounds, gathering.begun) if plan.rounds else None
        self._users = 0

    def number(self) -> int:
        """The next user's number, from 0."""
        self._users += 1
        return self._users - 1


class Caller(User):
    """One user. ``ground`` is set before the first is made."""

    ground: ClassVar[Ground]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        ground, self._number = self.ground, self.ground.number()
        plan = ground.plan
        self._random = random.Random(self._number)  # the same calls in each run
        self._is_slow = bool(ground.slow) and plan.is_slow(self._number)
        self._source = plan.source_of(self._number % plan.users)
        source = ground.sources[self._source]
        self._connection = Connection(plan.target, source, plan.patience, ground.context)
        self._has_called = False
        # Not all at the same moment, where there is a rate.
        self._due = time.monotonic() + (self._random.random() * plan.interval if plan.interval else 0.0)

    def on_stop(self) -> None:
        """Leave no connection behind, and nobody waiting."""
        self._connection.close()
        if self.ground.meeting is not None:
            self.ground.meeting.leave()

    def wait_time(self) -> float:
        """Nothing: a user that waits in Locust's own way may be killed in the middle of his next request."""
        return 0.0

    @task
    def call(self) -> None:
        """Make one call when it is due, in this user's manner."""
        self._rest()
        if self.ground.meeting is not None:
            self._call_at_once(self.ground.meeting)
        elif self._is_slow:
            self._call_slowly()
        else:
            at = self._random.choices(self.ground.quick, self.ground.weights)[0]
            key, composed = self._compose(self.ground.plan.calls[at])
            self._measure(at, key, lambda: self._connection.call(composed), timed=True)

    def _rest(self) -> None:
        """Until the next request is due. Raises StopUser when the run is over."""
        plan, over = self.ground.plan, self.ground.gathering.begun + self.ground.plan.seconds
        if plan.interval is not None:
            if self._has_called:
                self._due += plan.interval
            self._has_called = True
            time.sleep(max(0.0, min(self._due, over) - time.monotonic()))
        if time.monotonic() >= over:
            raise StopUser

    def _call_at_once(self, meeting: Meeting) -> None:
        at = self.ground.quick[0]
        key, composed = self._compose(self.ground.plan.calls[at])
        with suppress(Unanswered):  # the call itself will say so
            self._connection.open()
        try:
            meeting.wait()
        except Over:
            raise StopUser from None
        meeting.asked(time.monotonic())
        outcome = self._measure(at, key, lambda: self._connection.call(composed), timed=False)
        meeting.ended(outcome, time.monotonic())

    def _call_slowly(self) -> None:
        at = self.ground.slow[self._number % len(self.ground.slow)]
        call = self.ground.plan.calls[at]
        key, composed = self._compose(call)
        if call.manner == "drip":
            self._measure(at, key, lambda: self._connection.drip(composed, _BITES, time.sleep, _STEP), timed=False)
        else:
            self._measure(at, key, lambda: self._connection.sip(composed, time.sleep, _STEP), timed=False)

    def _compose(self, call: Call) -> tuple[Credential, bytes]:
        """A key, and the bytes of a request with it."""
        plan = self.ground.plan
        key = self._random.choice(plan.keys)
        path = call.target.replace(NUMBER, str(self._random.randrange(_NUMBERS)))
        return key, request(call.method, path, plan.target.authority, plan.key_field, key.secret, call.body)

    def _measure(self, at: int, key: Credential, send: Callable[[], str], *, timed: bool) -> str:
        """Send, and tell Locust and the gathering what came of it; the outcome."""
        plan, gathering = self.ground.plan, self.ground.gathering
        begun = time.monotonic()
        since = self._due if plan.interval is not None else begun
        gathering.send(self._source, begun)
        outcome = None
        try:
            outcome = send()
        finally:
            if outcome is None:  # the run is over, and this user was cut off
                gathering.cut(self._source)
        now = time.monotonic()
        right = outcome == key.right(plan.calls[at]) or outcome in plan.may
        gathering.end(self._source, at, outcome, right, now - since if timed else None, now)
        self._tell_locust(plan.calls[at], outcome, right, now - begun)
        return outcome

    def _tell_locust(self, call: Call, outcome: str, right: bool, took: float) -> None:
        self.environment.events.request.fire(
            request_type=call.method,
            name=call.template,
            response_time=took * 1000,
            response_length=0,
            exception=None if right else RuntimeError(outcome),
            context={},
        )
