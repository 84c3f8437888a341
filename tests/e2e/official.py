"""The official clients, Python and JavaScript, behind one shape, so that one test runs with each of them.

Law: nothing here speaks HTTP or builds a path: all of that is the clients' own work. Answers are plain values.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tests.node.packages import package

# Its package does not say what it exports, which type checkers insist on.
ElasticEmail: Any = import_module("ElasticEmail")
MOMENTS = ("DateCreated", "LastUse", "Expires")
SCRIPT = Path(__file__).with_name("official_keys.js")
JAVASCRIPT = {
    "callback": "@elasticemail/elasticemail-client",
    "axios": "@elasticemail/elasticemail-client-ts-axios",
}
CLIENTS = ("python", *JAVASCRIPT)
PAYLOADS = {"apikeys": "ApiKeyPayload", "smtp": "SmtpCredentialsPayload"}


class Failed(Exception):
    """A client's own exception, with what the answer said."""

    def __init__(self, status: int, said: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.said = said


class Client(Protocol):
    """A client; each call names its key. ``kind``: ``apikeys`` or ``smtp``."""

    def contacts(self, key: str) -> Any:
        """An ordinary call."""

    def every(self, key: str, kind: str) -> list[dict[str, Any]]:
        """The list."""

    def one(self, key: str, kind: str, name: str) -> dict[str, Any]:
        """One of them."""

    def make(self, key: str, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A new one, with its Token."""

    def replace(self, key: str, kind: str, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Other facts for one."""

    def delete(self, key: str, kind: str, name: str) -> None:
        """Away with one."""


class PythonClient:
    """The package ElasticEmail."""

    def __init__(self, base: str) -> None:
        self._base = base

    def _call(self, key: str, api: str, method: str, *args: Any) -> Any:
        configuration = ElasticEmail.Configuration(host=self._base, api_key={"apikey": key}, retries=0)
        client = ElasticEmail.ApiClient(configuration)
        try:
            return _plain(getattr(getattr(ElasticEmail, api)(client), method)(*args))
        except ElasticEmail.exceptions.ApiException as error:
            raise Failed(error.status, json.loads(error.body)) from None
        finally:
            client.rest_client.pool_manager.clear()

    def contacts(self, key: str) -> Any:
        return self._call(key, "ContactsApi", "contacts_get")

    def every(self, key: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call(key, "SecurityApi", f"security_{kind}_get")
        return found

    def one(self, key: str, kind: str, name: str) -> dict[str, Any]:
        return _object(self._call(key, "SecurityApi", f"security_{kind}_by_name_get", name))

    def make(self, key: str, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        wanted = getattr(ElasticEmail, PAYLOADS[kind])(**payload)
        return _object(self._call(key, "SecurityApi", f"security_{kind}_post", wanted))

    def replace(self, key: str, kind: str, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        wanted = getattr(ElasticEmail, PAYLOADS[kind])(**payload)
        return _object(self._call(key, "SecurityApi", f"security_{kind}_by_name_put", name, wanted))

    def delete(self, key: str, kind: str, name: str) -> None:
        assert self._call(key, "SecurityApi", f"security_{kind}_by_name_delete", name) is None


class JavaScriptClient:
    """One of the npm packages, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _call(self, key: str, api: str, method: str, *args: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"api": api, "method": method, "args": args, "key": key}
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Failed(answer["status"], answer["error"])
        return _plain(answer.get("data"))

    def contacts(self, key: str) -> Any:
        return self._call(key, "ContactsApi", "contactsGet")

    def every(self, key: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call(key, "SecurityApi", f"security{kind.capitalize()}Get")
        return found

    def one(self, key: str, kind: str, name: str) -> dict[str, Any]:
        return _object(self._call(key, "SecurityApi", f"security{kind.capitalize()}ByNameGet", name))

    def make(self, key: str, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return _object(self._call(key, "SecurityApi", f"security{kind.capitalize()}Post", payload))

    def replace(self, key: str, kind: str, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return _object(self._call(key, "SecurityApi", f"security{kind.capitalize()}ByNamePut", name, payload))

    def delete(self, key: str, kind: str, name: str) -> None:
        assert self._call(key, "SecurityApi", f"security{kind.capitalize()}ByNameDelete", name) in (None, "")


@contextmanager
def official(which: str, base: str) -> Iterator[Client]:
    """One of ``CLIENTS``, for the API below ``base``. Skips where its package is not to be had."""
    if which == "python":
        yield PythonClient(base)
        return
    directory = package(JAVASCRIPT[which])
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["node", str(SCRIPT), str(directory), which, base], stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield JavaScriptClient(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def _object(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def _plain(value: Any) -> Any:
    """A client's models as dictionaries, their moments as Unix seconds."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if not isinstance(value, dict):
        return value
    return {name: _seconds(each) if name in MOMENTS else each for name, each in value.items()}


def _seconds(moment: Any) -> float | None:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return None if moment is None else moment.timestamp()
