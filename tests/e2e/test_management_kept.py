"""Kept connections to the management address, while another configuration or another version takes over.

Law: a client here is strict. It never looks whether its connection has ended before it writes on it, and a connection
that ends without having been announced (``Connection: close``) is a fault, as is a request without an answer.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.e2e.running import OWNER, PASSWORD, Gateway, serving, settings

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
CLIENTS = 4
NAMED = {"Host": "gateway.example"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with serving(tmp_path, settings(9, [{"path": "/view", "scope": "View"}])) as gateway:
        yield gateway


def take(gateway: Gateway, **changes: Any) -> None:
    """Have another configuration taken, and wait for the answer."""
    written = {**yaml.safe_load(gateway.file.read_text()), **changes}
    beside = gateway.file.with_name("gateway.yaml.new")
    beside.write_text(yaml.safe_dump(written))
    beside.replace(gateway.file)
    said = gateway.run("reload")
    assert said.code == 0, said.err


class Client:
    """A session of the API on one kept connection; ``said``: statuses of answers, and what was lost."""

    def __init__(self, gateway: Gateway) -> None:
        self.said: Counter[object] = Counter()
        self._where = "127.0.0.1", gateway.management
        self._connection = self._connect()
        page = self._ask("GET", "/sign-in", None, {})[1]
        fields = urlencode({"email": OWNER, "password": PASSWORD, "csrf": CSRF.findall(page)[0]})
        form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self._cookie}
        assert self._ask("POST", "/sign-in", fields, form)[0] == 303
        page = self._ask("GET", "/keys", None, {"Cookie": self._cookie})[1]
        self._fields = {"Cookie": self._cookie, "X-CSRF-Token": CSRF.findall(page)[0], "If-Match": "*"}

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(*self._where, timeout=30)
        connection.connect()
        connection.auto_open = 0  # else it would try again in silence
        return connection

    def _ask(self, method: str, path: str, body: str | None, fields: dict[str, str]) -> tuple[int, str]:
        self._connection.request(method, path, body, fields)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if cookies := answer.headers.get_all("Set-Cookie"):
            self._cookie = "; ".join(each.partition(";")[0] for each in cookies)
        if answer.will_close:
            self.said["announced its end"] += 1
            self._connection.close()
            self._connection = self._connect()
        return answer.status, text

    def change(self, number: int) -> None:
        """Make a key, and say what came of it."""
        body = json.dumps({"name": f"{id(self)}-{number}", "scopes": ["View"]})
        fields = {**self._fields, "Content-Type": "application/json"}
        try:
            self.said[self._ask("POST", "/api/keys", body, fields)[0]] += 1
        except (OSError, http.client.HTTPException) as error:
            self.said[f"lost: {type(error).__name__}"] += 1
            self._connection.close()
            self._connection = self._connect()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def changing(gateway: Gateway) -> Iterator[Counter[object]]:
    """Clients that make a key again and again, most of the time with a pause; what became of all of it in the end."""
    clients, over, said = [Client(gateway) for _ in range(CLIENTS)], threading.Event(), Counter[object]()

    def work(client: Client) -> None:
        dice, number = random.Random(id(client)), 0
        while not over.wait(dice.choice([0.0, 0.005, 0.05, 0.2])):
            number += 1
            client.change(number)
        client.close()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    yield said
    over.set()
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        said.update(client.said)


def test_a_kept_connection_stays_and_is_served_by_what_the_command_has_said_is_in_force(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.management, timeout=30)
    connection.connect()
    connection.auto_open = 0
    said = []
    for hosts in ([], ["gateway.example"]) * 4:
        take(gateway, management={"address": "127.0.0.1:0", "hosts": hosts})
        connection.request("GET", "/sign-in", headers=NAMED)
        answer = connection.getresponse()
        answer.read()
        said.append(answer.status)
    connection.close()
    assert said == [421, 200] * 4


def test_no_change_is_left_without_an_answer_over_reloads_and_upgrades(gateway: Gateway) -> None:
    take(gateway, keys={"per_account": 10_000})
    with changing(gateway) as said:
        for number in range(5):
            take(gateway, limits={"concurrent_requests_per_ip": 10 + number})
        assert gateway.run("upgrade").code == 0
    assert set(said) == {201, "announced its end"}, said
    assert len(gateway.ask("keys", "list")) == said[201]
