from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from keystile.keys.service import KeyService
from keystile.management.access import Access, SignedIn
from keystile.process import supervisor
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore
from tests.cli.conftest import Run
from tests.e2e.api import answering
from tests.management.coming_in import ANN, BY, CHEAP, HOME, PASSWORD
from tests.process.running import until

NAME = "ключи 🔑 Zoë"
WRITTEN = f"""\
# {NAME}
listeners: [{{address: "127.0.0.1:0"}}]
management: {{address: "127.0.0.1:0"}}
workers: 1
store: "sqlite:///{NAME}.db"
access_log: "{NAME}.log"
upstreams: {{api: {{servers: ["http://127.0.0.1:%d"]}}}}
routes: [{{path: /x, key_only: true, upstream: api}}]
"""
LOCALES: dict[str, dict[str, str]] = {
    "nothing at all": {},
    "C, ASCII, no UTF-8 mode": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii:strict",
    },
}
if os.environ.get("THOROUGH"):
    LOCALES |= {
        "POSIX": {"LC_ALL": "POSIX"},
        "C.UTF-8": {"LC_ALL": "C.UTF-8"},
        "Latin-1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},  # or, not installed, one that is not there
    }


def test_a_broken_configuration_starts_nothing(run: Run, gateway_file: Path) -> None:
    gateway_file.write_text("workerz: 1\n")
    said = run("serve")
    assert said.code == 1
    assert "workerz" in said.err


def test_the_exit_code_is_the_supervisors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "serve", lambda settings, announce: 7)
    assert run("serve").code == 7


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a gateway.yaml and a store; ``key``: the secret of the key, ``session``: of its owner's session."""

    file: Path
    key: str
    session: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="served")

    folder = tmp_path_factory.mktemp("locales") / NAME
    folder.mkdir()
    with answering(answer) as port:
        file = folder / f"{NAME}.yaml"
        file.write_text(WRITTEN % port, encoding="utf-8")
        yield Place(file, *asyncio.run(_fill(folder / f"{NAME}.db")))


async def _fill(path: Path) -> tuple[str, str]:
    async with await SqliteStore.open(path) as store:
        keys = KeyService(store)
        account = await keys.create_account(ANN, False, **BY)
        made = await keys.create(ANN, NAME, actor=BY["actor"], origin=BY["origin"])
        passwords = await Passwords.open(path, CHEAP)
        await passwords.set_password(account.id, PASSWORD)
        access = await Access.open(path, keys, store, passwords)
        signed_in = await access.sign_in(ANN, PASSWORD, HOME)
        await access.close()
    assert isinstance(signed_in, SignedIn)
    return made.secret, signed_in.secret


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_a_gateway_runs_and_shows_any_name_in_any_locale(place: Place, locale: dict[str, str]) -> None:
    written = place.file.read_text(encoding="utf-8")
    bare = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    command = [os.fsencode(word) for word in (sys.executable, "-m", "keystile", "-c", str(place.file), "serve")]
    out, err = place.file.with_suffix(".out"), place.file.with_suffix(".err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**bare, **locale})
    try:
        until(lambda: process.poll() is not None or "management on " in out.read_text("utf-8"))
        [listening, management] = re.findall(r"http://\S+", out.read_text("utf-8"))
        assert _get(f"{listening}/x", "X-Api-Key", place.key) == "served"
        page = _get(f"{management}/keys", "Cookie", f"keystile={place.session}")
        assert page.count(NAME) >= 1
        place.file.write_text(written + "workerz: 1\n", encoding="utf-8")
        until(lambda: f"/{NAME}/{NAME}.yaml:9: " in err.read_text("utf-8"))
    finally:
        place.file.write_text(written, encoding="utf-8")
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert process.returncode == 0
    log = place.file.with_suffix(".log")
    assert '"path":"/x"' in log.read_text("utf-8")
    log.unlink()


def _get(url: str, field: str, value: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={field: value}), timeout=30) as answer:
        return str(answer.read().decode("utf-8"))
