"""Keys and operations as a file of Lua, for the gateways that decide in Lua (``policy.lua``).

Law: writes tables; knows neither gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

from bench.gateways.gateway import Scene
from bench.gateways.shapes import places, shapes
from bench.keyset import BenchKey

POLICY = Path(__file__).with_name("policy.lua")


def write(scene: Scene, file: Path, name: Callable[[BenchKey], bytes]) -> None:
    """``file`` returns the tables; ``name``: by what a key is looked up."""
    # Rows set one by one: a single constructor of 100,000 keys has more constants than Lua allows one function.
    keys = "".join(f"k[{_text(name(key))}]={_key(key)}\n" for key in scene.keys.every())
    needs = "".join(f"n[{_text(shape.encode())}]={_list(call.scopes)}\n" for shape, call in shapes(scene.calls).items())
    chunks = "".join(_chunks(keys, "k") + _chunks(needs, "n"))
    found = ",".join(map(str, places(scene.calls)))
    file.write_text(f"local k,n={{}},{{}}\n{chunks}return {{keys=k,needs=n,places={{{found}}}}}\n")


def _chunks(rows: str, table: str) -> list[str]:
    """Functions of 500 rows: each has constants of its own."""
    lines = rows.splitlines(keepends=True)
    return [f"(function({table})\n{''.join(lines[at : at + 500])}end)({table});\n" for at in range(0, len(lines), 500)]


def _key(key: BenchKey) -> str:
    network = ipaddress.ip_network(key.network)
    held = ",".join(f"[{_text(scope.encode())}]=true" for scope in key.scopes)
    return (
        f"{{account={_text(key.account.encode())},id={_text(key.id.encode())},"
        f"scopes={_text(','.join(key.scopes).encode())},held={{{held}}},"
        f"first={int(network[0])},last={int(network[-1])}}}"
    )


def _list(scopes: tuple[str, ...]) -> str:
    return "{" + ",".join(_text(scope.encode()) for scope in scopes) + "}"


def _text(value: bytes) -> str:
    """Any bytes as a string of Lua."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in value) + '"'
