"""``keystile demo``: a small API, a gateway in front of it, an account, two keys, and what to try.

Law: this file arranges a gateway as an operator would, from a gateway.yaml and through the same doors as every
other command. Everything lies in a directory of its own that is gone when the demo ends.
"""

from __future__ import annotations

import argparse
import io
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.store import ask
from keystile.cli.terminal import CommandFailed, show_json, styled

if TYPE_CHECKING:
    from keystile.keys.service import KeyService
    from keystile.storage.passwords import Passwords

ACCOUNT = "demo@example.com"
READER_SCOPES = ("ViewContacts", "ViewCampaigns")
EDITOR_SCOPES = (*READER_SCOPES, "ModifyCampaigns")

_SETTINGS = """\
listeners:
  - address: 127.0.0.1:{port}
management: {{address: 127.0.0.1:{management_port}}}
workers: 1
access_log: {access_log}
upstreams:
  api: {{servers: ["http://127.0.0.1:{api_port}"]}}
routes:
  - {{path: /v4/contacts, methods: [GET], scope: ViewContacts, upstream: api}}
  - {{path: "/v4/contacts/{{email}}", methods: [GET], scope: ViewContacts, upstream: api}}
  - {{path: /v4/campaigns, methods: [GET], scope: ViewCampaigns, upstream: api}}
  - {{path: /v4/campaigns, methods: [POST], scope: ModifyCampaigns, upstream: api}}
  - {{path: /v4/slow, methods: [GET], key_only: true, upstream: api}}
  - {{path: /health, methods: [GET], public: true, upstream: api}}
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo has arranged; ``reader``, ``editor``: the secrets of its keys; ``password``: the account's."""

    port: int
    management_port: int
    api_port: int
    reader: str
    editor: str
    password: str


@dataclass(frozen=True, slots=True)
class Try:
    """One line to try: the command, how many answers of each status it gets, and why."""

    command: str
    answers: dict[int, int]
    why: str


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``demo``."""
    parser = commands.add_parser(
        "demo", parents=[file_option], help="a small API with a gateway in front of it, and what to try"
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until it is stopped (Ctrl-C or SIGTERM)."""
    from keystile.process import supervisor

    # Until the supervisor listens for it, SIGTERM ends the demo as Ctrl-C does: with everything cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="keystile-demo-") as folder, _api() as api_port:
        port, management_port = _free_port(8080, 0), _free_port(8081, 0)
        file = Path(folder) / "gateway.yaml"
        access_log = "off" if arguments.json else "stdout"
        file.write_text(
            _SETTINGS.format(
                port=port, management_port=management_port, api_port=api_port, access_log=access_log
            ),
            encoding="utf-8",
        )
        settings = read_settings(file)
        demo = Demo(port, management_port, api_port, *ask(settings, _make_keys))
        show = _show_json if arguments.json else _show
        return supervisor.serve(settings, announce=_WhenReady(lambda: show(demo)))


class _WhenReady(io.StringIO):
    """What the supervisor writes its announcement to: the demo has its own words for it."""

    def __init__(self, show: Callable[[], None]) -> None:
        super().__init__()
        self._show = show

    def flush(self) -> None:
        self._show()


def tries(demo: Demo) -> list[Try]:
    """What to try, in the order in which it is best understood."""
    base = f"http://127.0.0.1:{demo.port}"
    each = r"curl -s -w '\n%{http_code}\n'"
    reader, editor = f"-H 'X-Api-Key: {demo.reader}'", f"-H 'X-Api-Key: {demo.editor}'"
    post = "-H 'Content-Type: application/json' -d '{\"name\": \"Spring\"}'"
    many = (
        "curl -s --parallel --parallel-immediate --parallel-max 25 -o /dev/null -w '%{http_code}\\n' "
        f"{reader} '{base}/v4/slow?n=[1-25]' | sort | uniq -c"
    )
    return [
        Try(f"{each} {base}/health", {200: 1}, "this route is public: no key is needed"),
        Try(f"{each} {reader} {base}/v4/contacts", {200: 1}, "the reader key holds ViewContacts"),
        Try(f"{each} {reader} {post} {base}/v4/campaigns", {403: 1}, "it lacks ModifyCampaigns"),
        Try(f"{each} {editor} {post} {base}/v4/campaigns", {200: 1}, "the editor key holds it"),
        Try(f"{each} {base}/v4/contacts", {401: 1}, "no key"),
        Try(f"{each} {reader} {base}/v4/nothing", {404: 1}, "no such route; without a key it would be 401"),
        Try(many, {200: 20, 429: 5}, "25 at once, and one address may have 20 in flight"),
    ]


def _show(demo: Demo) -> None:
    width = max(map(len, map(", ".join, (READER_SCOPES, EDITOR_SCOPES))))
    print(f"\nThe API listens on http://127.0.0.1:{demo.api_port} and asks for no key.")
    print(f"Keystile stands in front of it on http://127.0.0.1:{demo.port}.\n")
    print(f"{ACCOUNT} has two keys, which end with the demo:\n")
    for name, scopes, secret in (("reader", READER_SCOPES, demo.reader), ("editor", EDITOR_SCOPES, demo.editor)):
        print(f"  {styled(name, 'bold')}  {', '.join(scopes).ljust(width)}  {secret}")
    print(f"\nKeys are made, changed and deleted on the page http://127.0.0.1:{demo.management_port}: sign in as")
    print(f"{styled(ACCOUNT, 'bold')} with the password {styled(demo.password, 'bold')}")
    print("\nTry these in another terminal:")
    for line in tries(demo):
        counts = line.answers.items()
        answers = ", ".join(str(status) if count == 1 else f"{count} × {status}" for status, count in counts)
        print(f"\n  {styled(f'# {answers} — {line.why}', 'green')}\n  {line.command}")
    print("\nCtrl-C ends the demo and removes its files. What you call is logged below.\n", flush=True)


def _show_json(demo: Demo) -> None:
    keys = (("reader", READER_SCOPES, demo.reader), ("editor", EDITOR_SCOPES, demo.editor))
    show_json(
        {
            "gateway": f"http://127.0.0.1:{demo.port}",
            "management": f"http://127.0.0.1:{demo.management_port}",
            "api": f"http://127.0.0.1:{demo.api_port}",
            "account": ACCOUNT,
            "password": demo.password,
            "keys": [{"name": name, "scopes": list(scopes), "key": key} for name, scopes, key in keys],
            "try": [{"command": t.command, "answers": t.answers, "why": t.why} for t in tries(demo)],
        }
    )
    sys.stdout.flush()


@contextmanager
def _api() -> Iterator[int]:
    """Run the demo's API; gives its port. It ends when its standard input does, even if this process is killed."""
    command = [sys.executable, "-m", "keystile.cli.demo_api"]
    # A session of its own: Ctrl-C is for the gateway, which may still have requests in flight there.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise CommandFailed("the demo's API did not start")
        yield int(json.loads(first)["port"])


def _free_port(*wanted: int) -> int:
    """The first of the wanted ports of 127.0.0.1 that is free; 0 stands for any that is."""
    for port in wanted:
        with socket.socket() as holder:
            # As the gateway binds: a port that only waits for late packets is free.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(holder.getsockname()[1])
    raise CommandFailed("there is no free port on 127.0.0.1")


async def _make_keys(keys: KeyService, passwords: Passwords) -> tuple[str, str, str]:
    """Make the account and its two keys; gives their secrets, and the account's password."""
    actor, origin = options.asked_by()
    account = await keys.create_account(ACCOUNT, operator=True, actor=actor, origin=origin)
    password = secrets.token_urlsafe(9)
    await passwords.set_password(account.id, password)
    reader = await keys.create(ACCOUNT, "reader", READER_SCOPES, actor=actor, origin=origin)
    editor = await keys.create(ACCOUNT, "editor", EDITOR_SCOPES, actor=actor, origin=origin)
    return reader.secret, editor.secret, password
