"""What happens while load is made, gathered into windows of time.

Law: counting only, with moments handed in (seconds of one monotonic clock); no sockets, no Locust. Everything is
bounded by the length of the run, never by the number of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median_low

from keystile.loadtest import histogram
from keystile.loadtest.calls import Call
from keystile.loadtest.credentials import ANSWERED
from keystile.loadtest.records import AddressSum, CallSum, Window


class Gathering:
    """Of one run of so many seconds that began at ``begun``; ``sources``: the addresses that call, by their numbers."""

    def __init__(
        self, begun: float, seconds: float, width: float, calls: Sequence[Call], sources: Sequence[str]
    ) -> None:
        self.begun = begun
        self.windows: list[Window] = []
        self.calls = [CallSum(call.method, call.template) for call in calls]
        self.addresses = [AddressSum(source) for source in sources]
        self.open = 0
        self.ended = 0
        self.lost = 0
        self._width, self._last = width, max(0, ceil(seconds / width) - 1)
        self._open = [0] * len(sources)
        self._peaks = [0] * len(sources)

    def send(self, source: int, now: float) -> None:
        """A request of this address begins."""
        self.window(now)
        self.open += 1
        self._open[source] += 1
        self._peaks[source] = max(self._peaks[source], self._open[source])

    def end(self, source: int, call: int, outcome: str, right: bool, took: float | None, now: float) -> None:
        """It has ended; ``took``: seconds, None where it is not timed."""
        window, of_call = self.window(now), self.calls[call]
        self._close(source)  # after that: what went on until now was in flight in every window before
        if not right:
            window.wrong[outcome] = window.wrong.get(outcome, 0) + 1
            of_call.wrong += 1
        elif outcome == ANSWERED:
            window.answered += 1
        else:
            window.refused[outcome] = window.refused.get(outcome, 0) + 1
        of_call.requests += 1
        self.addresses[source].requests += 1
        self.ended += 1
        if took is not None:
            histogram.add(window.latency, took)
            histogram.add(of_call.latency, took)

    def cut(self, source: int) -> None:
        """It was cut off, because the run is over."""
        self._close(source)
        self.lost += 1

    def look(self, now: float, users: int, offered: float, busy: float) -> None:
        """Note what holds at this moment: users, requests that were to be made since the last look, own load."""
        window = self.window(now)
        window.users = max(window.users, users)
        window.offered += offered
        window.busy = max(window.busy, busy)

    def window(self, now: float) -> Window:
        """The window of a moment; what ends after the run's time counts in its last one."""
        at = min(int(max(0.0, now - self.begun) / self._width), self._last)
        while len(self.windows) <= at:
            self._note_peaks()
            self.windows.append(Window(round(len(self.windows) * self._width, 6)))
        return self.windows[at]

    def finish(self) -> None:
        """Note what the last window saw."""
        self._note_peaks()

    def _close(self, source: int) -> None:
        self.open -= 1
        self._open[source] -= 1

    def _note_peaks(self) -> None:
        """The peaks belong to the window before; a request that is still open counts in the next one, too."""
        if not self.windows:
            return
        self.windows[-1].asked = (max(self._peaks), median_low(self._peaks))
        for address, peak in zip(self.addresses, self._peaks, strict=True):
            address.asked = max(address.asked, peak)
        self._peaks = list(self._open)
