"""What the load tester is told: everything about one run, as one line of JSON on its standard input.

Law: values only. Secrets stand in it, so it goes through a pipe, never into a file, an argument or a variable of
the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from keystile.loadtest.calls import Call
from keystile.loadtest.credentials import Credential
from keystile.loadtest.shape import Points


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: ``address`` is connected to, ``host`` stands in the Host field and is what TLS verifies.

    ``ca``: a file of certificates to trust instead of the system's, empty for those.
    """

    address: str
    port: int
    host: str
    tls: bool = False
    ca: str = ""

    @property
    def authority(self) -> str:
        """What stands in the Host field."""
        usual = 443 if self.tls else 80
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == usual else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """As people write it."""
        return f"http{'s' if self.tls else ''}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. ``rate``: requests a second of all users together when all are there, None: as answers come.

    ``key_field``: the header field that carries the key. ``width``: seconds of one window. ``cap``: what one address
    may have in flight. ``sources``: addresses to call from, by turns; empty: the system chooses. ``rounds``: how often
    all users call at once; 0: everybody for himself. ``slow_share``: of the users, who make the calls that drip
    and sip. ``patience``: seconds until a request counts as lost.
    """

    target: Target
    key_field: str
    calls: tuple[Call, ...]
    keys: tuple[Credential, ...]
    shape: Points
    users: int
    seconds: float
    rate: float | None
    cap: int
    width: float
    sources: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    slow_share: float = 0
    rounds: int = 0
    patience: float = 30

    @property
    def interval(self) -> float | None:
        """Seconds from one request of a quick user to his next; None: as answers come."""
        return max(1, self.users - self.slow_users) / self.rate if self.rate else None

    @property
    def slow_users(self) -> int:
        """How many are slow when all are there."""
        return round(self.users * self.slow_share)

    def is_slow(self, number: int) -> bool:
        """Whether the user of this number, from 0, is slow; numbers begin again behind the last user."""
        return number % self.users < self.slow_users

    def source_of(self, number: int) -> int:
        """The number of a user's address: slow users have the first ones to themselves, where there are several."""
        slow, sources = self.slow_users, max(1, len(self.sources))
        if not slow or sources == 1:
            return number % sources
        of_slow = min(sources - 1, max(1, round(sources * self.slow_share)))
        return number % of_slow if number < slow else of_slow + (number - slow) % (sources - of_slow)


_FORM: Final = TypeAdapter(Plan)


def write(plan: Plan) -> bytes:
    """One line."""
    return _FORM.dump_json(plan) + b"\n"


def read(line: bytes) -> Plan:
    """A plan from its line. Raises ValueError."""
    return _FORM.validate_json(line)
