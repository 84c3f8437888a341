"""The server of ``cluster/scripts.py`` in Python: what each script does, by a clock that the test moves.

Law: it says what the Lua says; ``test_scripts.py`` runs both beside each other. Snapshots of it are what a replica has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from keystile.cluster import scripts
from keystile.cluster.scripts import CHANNEL, Script, ServerError

Publish = Callable[[bytes, bytes], None]


class Data:
    """All keys: the epoch, holders by the moment of their death (ms), units by address key and holder; who lacks how
    many, until when, by which cap."""

    def __init__(self) -> None:
        self.epoch: dict[str, bytes | int] = {}
        self.alive: dict[bytes, dict[bytes, int]] = {}
        self.units: dict[bytes, dict[bytes, int]] = {}
        self.lacking: dict[bytes, dict[bytes, list[int]]] = {}


class ModelServer:
    """``now_ms``: its clock. ``publish`` gets what goes out on channels."""

    def __init__(self, now_ms: Callable[[], int], publish: Publish) -> None:
        self._now = now_ms
        self._publish = publish
        self.data = Data()
        self.full = False
        self._differs = False
        self.replicas = 2
        self.known: set[bytes] = set()

    def copy(self) -> Data:
        """All that it knows at this moment."""
        return copy.deepcopy(self.data)

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        """What the script returns. Raises ServerError."""
        if script in (scripts.OPEN, scripts.FIT):
            self._same_protocol()
        elif self.data.epoch.get("token") != args[0]:
            raise ServerError("GONE another epoch")
        if self.full and script is scripts.ASK:
            raise ServerError("OOM command not allowed when used memory > 'maxmemory'.")
        return getattr(self, f"_{script.name}")(keys, args)

    def _same_protocol(self) -> None:
        epoch, now = self.data.epoch, self._now()
        self._differs = bool(epoch.get("token")) and epoch.get("protocol", scripts.PROTOCOL) != scripts.PROTOCOL
        alive = self._alive(scripts.alive_key(bytes(epoch.get("token", b""))))
        if self._differs and any(until > now for until in alive.values()):
            its = int(epoch["protocol"])
            raise ServerError(f"PROTOCOL {its} is that of hosts which count here; ours is {scripts.PROTOCOL}")

    def _fit(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        return 1

    def _open(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        incarnation, token, holder, lease, before = args
        epoch, now = self.data.epoch, self._now()
        if epoch.get("incarnation") != incarnation or self._differs:
            epoch.update(incarnation=incarnation, token=token, opened=now)
        epoch["protocol"] = scripts.PROTOCOL
        longest = epoch["longest"] = max(int(epoch.get("longest", 0)), int(lease))
        alive = self._alive(scripts.alive_key(bytes(epoch["token"])))
        known = alive.get(before, 0) > now
        alive[holder] = now + int(lease)
        return [epoch["token"], max(int(epoch["opened"]) + longest - now, 0), int(known)]

    def _seal(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        epoch, now = self.data.epoch, self._now()
        if epoch.get("sealed") != args[0]:
            epoch.update(sealed=args[0], opened=now)
        return max(int(epoch["opened"]) + int(epoch["longest"]) - now, 0)

    def _move(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        for key, units in zip(keys[2:], args[3:], strict=True):
            held = self.data.units.setdefault(key, {})
            held.pop(args[2], None)
            held[args[1]] = held.get(args[1], 0) + int(units)
        return 1

    def _leave(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        self._alive(keys[1]).pop(args[1], None)
        return 1

    def _beat(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        alive, now = self._alive(keys[1]), self._now()
        known = alive.get(args[1], 0) > now
        for dead in [holder for holder, until in alive.items() if until <= now]:
            del alive[dead]
        if known:
            alive[args[1]] = now + int(args[2])
        return int(known)

    def _ask(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        alive, now, epoch = self._alive(keys[1]), self._now(), self.data.epoch
        if alive.get(args[1], 0) <= now:
            return [-1, 0, 0, b""]
        wait = int(epoch["opened"]) + int(epoch["longest"]) - now
        if wait > 0:
            return [-2, wait, 0, b""]
        me, cap, need, units = args[1], int(args[2]), int(args[3]), self._units(keys[2])
        lent, holders, lacking = self._look(keys[2])
        free = max(cap - lent, 0)
        others, given = _names(lacking, me), min(free, need)
        if not others:
            given += (free - given) // 4
        if given:
            units[me] = units.get(me, 0) + given
        told = [holder for holder in holders if holder != me] if given < need else []
        for holder in told:
            self._publish(CHANNEL + holder, b"w" + me + keys[2][-8:])
        if told:
            self._lacking(keys[2])[me] = [need - given, now + 500, cap]
        else:
            self._lacking(keys[2]).pop(me, None)
        return [given, 0, len(told), others]

    def _give(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        still = b""
        for at, key in enumerate(keys[2:]):
            given, told, name = int(args[2 + 2 * at]), args[3 + 2 * at], key[-8:]
            units, lacking = self._units(key), self._lacking(key)
            units[args[1]] = units.get(args[1], 0) - given
            if units[args[1]] <= 0:
                del units[args[1]]
            if given > 0:
                lacking.pop(args[1], None)
            still = self._pass_on(key, name)
            for first in range(0, len(told), 8):
                if told[first : first + 8] not in self.known:
                    self._publish(CHANNEL + told[first : first + 8], b"f" + name)
        return still

    def _pass_on(self, key: bytes, name: bytes) -> bytes:
        """Give what is free to those who lack it; who lacks some still."""
        units = self._units(key)
        lent, _, lacking = self._look(key)
        self.known, passed = set(lacking), []
        for holder, want in lacking.items():
            given = min(want[0], want[2] - lent)
            if given > 0:
                lent += given
                want[0] -= given
                units[holder] = units.get(holder, 0) + given
                passed.append((holder, given))
        for holder, given in passed:
            self._publish(CHANNEL + holder, b"g" + holder + bytes([given]) + _names(lacking, holder) + name)
        still = _names(lacking)
        self.data.lacking[key] = {holder: want for holder, want in lacking.items() if want[0] > 0}
        return still

    def _look(self, key: bytes) -> tuple[int, list[bytes], dict[bytes, list[int]]]:
        """Units that are lent, who has some, who lacks some; who is dead or has not asked for a while is forgotten."""
        alive, now = self._alive_of(key), self._now()
        units, lacking = self._units(key), self._lacking(key)
        for holder in [holder for holder in units if alive.get(holder, 0) <= now]:
            del units[holder]
        for holder in [holder for holder, want in lacking.items() if alive.get(holder, 0) <= now or want[1] <= now]:
            del lacking[holder]
        return sum(units.values()), list(units), lacking

    def _keep(self, keys: Sequence[bytes], args: Sequence[bytes]) -> object:
        units = self.data.units
        return sum(
            units.get(key, {}).get(args[1], 0) < int(held) for key, held in zip(keys[2:], args[2:], strict=True)
        )

    def _units(self, key: bytes) -> dict[bytes, int]:
        return self.data.units.setdefault(key, {})

    def _lacking(self, key: bytes) -> dict[bytes, list[int]]:
        return self.data.lacking.setdefault(key, {})

    def _alive_of(self, key: bytes) -> dict[bytes, int]:
        return self._alive(scripts.alive_key(bytes(self.data.epoch["token"])))

    def _alive(self, key: bytes) -> dict[bytes, int]:
        return self.data.alive.setdefault(key, {})


def _names(lacking: dict[bytes, list[int]], but: bytes = b"") -> bytes:
    return b"".join(holder for holder, want in lacking.items() if want[0] > 0 and holder != but)
