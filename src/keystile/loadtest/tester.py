"""The process that makes load: Locust as a library, told by a plan, telling what happens in lines of JSON.

Law: it lives as long as the run, and no longer than whoever started it: it ends when its standard input does. Only this
process is patched by gevent. It opens no port and writes no file; standard output carries lines of JSON and nothing
else, the last of which holds the whole run.
"""

from __future__ import annotations

# Before everything else: Locust patches sockets, threads and sleeping.
from locust import LoadTestShape  # isort: skip
from locust.env import Environment  # isort: skip

import logging
import os
import sys
import time
from typing import Final

import gevent
import gevent.os
from locust.runners import LocalRunner

from keystile.loadtest import histogram, told
from keystile.loadtest import plan as plans
from keystile.loadtest.connection import context_of
from keystile.loadtest.gathering import Gathering
from keystile.loadtest.plan import Plan
from keystile.loadtest.shape import users_at
from keystile.loadtest.told import Progress, Yield
from keystile.loadtest.users import Caller, Ground

_EVERY: Final = 0.25
"""Seconds between two looks at what happens."""
_STOP_WITHIN: Final = 5.0
"""Seconds that requests under way have at the end of a run."""


class Shape(LoadTestShape):
    """Users over time, as the plan says; Locust asks once a second. ``begun``: by the monotonic clock."""

    plan: Plan
    begun: float

    def tick(self) -> tuple[int, float] | None:
        """Users that should be there, and how many may be made a second; None: the run is over."""
        share = (time.monotonic() - self.begun) / self.plan.seconds
        if share >= 1:
            return None
        # As fast as they come: a step of the shape is one step.
        return users_at(self.plan.shape, share, self.plan.users), float(self.plan.users)


class Tester:
    """One run."""

    def __init__(self, planned: Plan) -> None:
        sources = planned.sources or ("",)
        self._plan = planned
        self._gathering = Gathering(time.monotonic(), planned.seconds, planned.width, planned.calls, sources)
        self._ground = Caller.ground = Ground(planned, self._gathering, context_of(planned.target))
        self._faults: list[str] = []
        shape = Shape()  # type: ignore[no-untyped-call]  # Locust is typed in part
        shape.plan, shape.begun = planned, self._gathering.begun
        self._environment = Environment(user_classes=[Caller], shape_class=shape, stop_timeout=_STOP_WITHIN)
        heard = self._environment.events.user_error
        heard.add_listener(self._note_fault)  # type: ignore[no-untyped-call]  # Locust is typed in part
        self._runner: LocalRunner = self._environment.create_local_runner()

    def run(self) -> Yield:
        """Make load until the plan's time is over, or nobody wants it any more."""
        looking = gevent.spawn(self._look)
        watching = gevent.spawn(self._end_with_input)
        self._runner.start_shape()
        shape = self._runner.shape_greenlet
        assert shape is not None
        shape.join()
        self._runner.quit()
        gevent.killall([looking, watching])
        self._gathering.finish()
        return self._yield()

    def _look(self) -> None:
        """Four times a second: note what holds, and say it."""
        last, used = time.monotonic(), time.process_time()
        gathering, most = self._gathering, self._plan.users
        while True:
            gevent.sleep(_EVERY)
            now, using = time.monotonic(), time.process_time()
            users = self._runner.user_count
            in_time = max(0.0, min(now, gathering.begun + self._plan.seconds) - last)
            offered = (self._plan.rate or 0) * users / most * in_time
            gathering.look(now, users, offered, (using - used) / (now - last))
            last, used = now, using
            self._say(now)

    def _say(self, now: float) -> None:
        recent = self._gathering.windows[-3:]
        counts = histogram.total(window.latency for window in recent)
        progress = Progress(
            now - self._gathering.begun,
            self._gathering.ended,
            sum(sum(window.refused.values()) for window in self._gathering.windows),
            sum(sum(window.wrong.values()) for window in self._gathering.windows),
            self._gathering.open,
            histogram.percentile(counts, 0.5),
            histogram.percentile(counts, 0.99),
        )
        _print(told.write(progress))

    def _end_with_input(self) -> None:
        while gevent.os.tp_read(0, 4096):
            pass
        self._runner.quit()
        os._exit(1)  # nobody is there to hear more

    def _note_fault(self, exception: BaseException, **_: object) -> None:
        if len(self._faults) < 5:
            self._faults.append(f"{type(exception).__name__}: {exception}")

    def _yield(self) -> Yield:
        gathering, stats = self._gathering, self._environment.stats.total
        return Yield(
            begun=gathering.begun,
            windows=gathering.windows,
            calls=gathering.calls,
            addresses=gathering.addresses,
            rounds=self._ground.meeting.rounds if self._ground.meeting else [],
            lost=gathering.lost,
            seen_by_locust=(stats.num_requests, stats.num_failures),
            faults=self._faults,
        )


def main() -> None:
    """Read a plan, run it, tell what came of it."""
    logging.basicConfig(level=logging.ERROR)  # to standard error; Locust's warnings are in the report by our own words
    planned = plans.read(sys.stdin.buffer.readline())
    _print(told.write(Tester(planned).run()))


def _print(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
