"""What differs between two configurations' settings, in the words of gateway.yaml.

Law: two settings in, plain texts out. Routes are not here (``routing/difference.py``), nor the contents of files. It
knows model and file names of nothing but what is called otherwise in the file; a new setting needs no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

from keystile.config.faults import without_secrets
from keystile.config.live import needs_restart
from keystile.config.model import (
    AccessLog,
    Cors,
    Legacy,
    Limits,
    Listener,
    Management,
    Rehearsal,
    Server,
    Settings,
    Upstream,
    Waiting,
)
from keystile.config.units import BYTES, SECONDS

_ELSEWHERE: Final = frozenset({"file", "listeners", "upstreams", "operations", "documents", "warnings"})
"""Members of the settings that have places of their own, or none in the file."""
_NAMES: Final = {
    (Upstream, "host_field"): "host",
    (Legacy, "retire_at"): "retire_on",
    (Rehearsal, "start"): "from",
    (Rehearsal, "end"): "to",
}
_HIDDEN: Final[set[tuple[type, str]]] = {
    (Upstream, "name"),
    *((kind, name) for kind in (Listener, Management) for name in ("host", "port")),
}
_NOTHING: Final = {
    "over_limit": "refuse",
    "connections": "auto",
    **dict.fromkeys(("max_body_size", "min_body_rate", "min_read_rate"), "none"),
}


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting; ``path`` as in gateway.yaml; ``was`` and ``now`` as one would write them.

    ``restart``: it changes with a restart only.
    """

    path: str
    was: str
    now: str
    restart: bool = False


@dataclass(frozen=True, slots=True)
class PartChange:
    """A listener or an upstream: ``what`` has become of it, and for one that stays, what differs."""

    name: str
    what: str
    settings: tuple[SettingChange, ...] = ()


def setting_changes(was: Settings, now: Settings) -> list[SettingChange]:
    """Every setting that differs but those of listeners, upstreams and routes."""
    fixed = needs_restart(was, now)
    found = list(_management_address(was.management, now.management))
    for each in fields(Settings):
        if each.name not in _ELSEWHERE:
            found += _changes(each.name, Settings, getattr(was, each.name), getattr(now, each.name))
    return [SettingChange(one.path, one.was, one.now, restart=_is_in(one.path, fixed)) for one in found]


def listener_changes(was: Settings, now: Settings) -> list[PartChange]:
    """Listeners that come, go and change, by their address."""
    return _parts(_by_address(was), _by_address(now))


def upstream_changes(was: Settings, now: Settings) -> list[PartChange]:
    """Upstreams that come, go and change."""
    return _parts({each.name: each for each in was.upstreams}, {each.name: each for each in now.upstreams})


def _parts(was: Mapping[str, object], now: Mapping[str, object]) -> list[PartChange]:
    found = [PartChange(name, "removed") for name in was if name not in now]
    found += [PartChange(name, "added") for name in now if name not in was]
    for name in was:
        if name in now and (changes := tuple(_changes("", type(was[name]), was[name], now[name]))):
            found.append(PartChange(name, "changed", changes))
    return found


def _by_address(settings: Settings) -> dict[str, Listener]:
    """Several may ask for any free port: the second is told as ``127.0.0.1:0 (2)``."""
    found: dict[str, Listener] = {}
    for each in settings.listeners:
        name = address_text(each.host, each.port)
        same = sum(key.split(" ")[0] == name for key in found)
        found[f"{name} ({same + 1})" if same else name] = each
    return found


def _management_address(was: Management, now: Management) -> Iterator[SettingChange]:
    before, after = address_text(was.host, was.port), address_text(now.host, now.port)
    if before != after:
        yield SettingChange("management.address", before, after)


def address_text(host: str, port: int) -> str:
    """``127.0.0.1:8080`` or ``[::1]:8080``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_in(path: str, names: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


# -- values as one would write them --------------------------------------------------------------------------


def _changes(path: str, owner: type, was: Any, now: Any) -> Iterator[SettingChange]:
    """Down to the smallest settings that differ; a section that comes or goes is told as one."""
    if was == now:
        return
    if type(was) is type(now) and is_dataclass(was) and type(was) not in _WHOLE:
        for each in fields(was):
            if (type(was), each.name) not in _HIDDEN:
                inner = _NAMES.get((type(was), each.name), each.name)
                below = f"{path}.{inner}" if path else inner
                yield from _changes(below, type(was), getattr(was, each.name), getattr(now, each.name))
        return
    name = path.rpartition(".")[2]
    yield SettingChange(path, _written(owner, name, was), _written(owner, name, now))


def _written(owner: type, name: str, value: Any) -> str:
    return without_secrets(_text(owner, name, value))


def _text(owner: type, name: str, value: Any) -> str:
    whole = _WHOLE.get(type(value))
    if whole is not None:
        return whole(value)
    if value is None:
        return _NOTHING.get(name, "null")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_text(owner, name, one) for one in value)}]"
    if is_dataclass(value) and not isinstance(value, type):
        return _section(value)
    return _number(owner, name, value) if isinstance(value, int | float) else str(value)


def _section(value: Any) -> str:
    """``{certificate: …, private_key: …}``: what is not as it would be without a word."""
    kind = type(value)
    told = []
    for each in fields(value):
        inner = getattr(value, each.name)
        if (kind, each.name) in _HIDDEN or (each.default is not MISSING and inner == each.default):
            continue
        name = _NAMES.get((kind, each.name), each.name)
        told.append(f"{name}: {_text(kind, name, inner)}")
    return f"{{{', '.join(told)}}}"


def _number(owner: type, name: str, value: Any) -> str:
    if (owner, name) in {(Legacy, "retire_on"), (Rehearsal, "from"), (Rehearsal, "to")}:
        moment = datetime.fromtimestamp(value, UTC)
        return moment.strftime("%Y-%m-%d" if name == "retire_on" else "%Y-%m-%dT%H:%MZ")
    if owner is Limits and name in ("min_body_rate", "min_read_rate"):
        return f"{_in_units(value, BYTES)}/s"
    if owner is Limits and name in ("max_head_size", "max_body_size", "max_buffered"):
        return _in_units(value, BYTES)
    if isinstance(value, float) or (owner, name) == (Cors, "max_age"):
        return _in_units(value, SECONDS)
    return str(value)


def _in_units(value: float, units: Mapping[str, float]) -> str:
    """In the largest unit of which it is a whole number, ``600s`` rather than ``10m`` below an hour."""
    fitting = [unit for unit, size in units.items() if value >= size and value % size == 0 and unit != "m"]
    if value and fitting:
        return f"{value / units[fitting[-1]]:.0f}{fitting[-1]}"
    smallest = "ms" if "ms" in units and value else next(unit for unit in units if unit != "ms")
    return f"{value / units[smallest]:g}{smallest}"


def _server(server: Server) -> str:
    return f"{'https' if server.tls else 'http'}://{address_text(server.host, server.port)}"


def _access_log(log: AccessLog) -> str:
    place = "off" if not log.enabled else "stdout" if log.file is None else str(log.file)
    usual = AccessLog()
    more = [
        f"{name}: [{', '.join(getattr(log, name))}]"
        for name in ("fields", "redact")
        if getattr(log, name) != getattr(usual, name)
    ]
    return f"{{{', '.join([f'to: {place}', *more])}}}" if more else place


def _waiting(waiting: Waiting) -> str:
    return f"{{wait_up_to: {_in_units(waiting.wait_up_to, SECONDS)}, waiting_per_ip: {waiting.waiting_per_ip}}}"




#: What is told whole, never member by member.
_WHOLE: Final[dict[type, Callable[[Any], str]]] = {
    Server: _server,
    AccessLog: _access_log,
    Waiting: _waiting,
}
