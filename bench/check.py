"""The proof before a run: does this gateway do the work that is about to be measured?

Law: one request at a time over http.client; says every fault it finds at once.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from functools import partial

from bench.backend import ECHO
from bench.gateways.gateway import SPOOFABLE, Scene
from bench.keyset import BenchKey
from bench.load import HOST
from bench.processes import connect

Get = Callable[[str, dict[str, str]], tuple[int, http.client.HTTPMessage, str]]
SPOOFED = dict.fromkeys((*SPOOFABLE, "X-Forwarded-For", "X-Forwarded-Host", "X-Keystile-Invented"), "1.2.3.4")

# Paths of the API by every way a gateway may find them: a literal, a template, a literal that lacks the method, a
# parameter in the fourth place, and one that needs any key at all.
FOUND = (
    "/v4/contacts?limit=1",
    "/v4/contacts/a%40example.com",
    "/v4/contacts/a%40example.com?x=1",
    "/v4/lists/news/contacts",
    "/v4/inboundroute/order",
    "/v4/emails/1/view",
    "/v4/events/channels/spring",
)
FOREIGN = ("/v4/subaccounts", "/v4/security/apikeys/x", "/v4/contacts/export/1/status", "/v4/suppressions")
UNKNOWN = ("/v4/nothing", "/v4/contacts/a/b/c", "/", "/v4/lists/news/nothing")


def check_policy(scene: Scene, port: int, *, tls: bool = False, behind: bool = False) -> None:
    """Raise RuntimeError that names every way in which the gateway on ``port`` does not do the work.

    ``behind``: it trusts 127.0.0.1 as a proxy, so that fields from there are no spoofed ones.
    """
    get = partial(_get, port, tls)
    faults = [*_statuses(scene, get), *_fields(scene, get, "https" if tls else "http", {} if behind else SPOOFED)]
    if faults:
        raise RuntimeError("does not do the work: " + "; ".join(faults))


def _statuses(scene: Scene, get: Get) -> Iterator[str]:
    keys = scene.keys
    expected = [
        (401, ECHO, None),
        (401, ECHO, "no such key"),
        (401, ECHO, keys.unknown),
        (401, UNKNOWN[0], None),
        (403, ECHO, keys.elsewhere.secret),
        (403, ECHO, keys.narrow.secret),
        *((404, path, keys.keys[0].secret) for path in UNKNOWN),
        *((200, path, key.secret) for path in FOUND for key in (keys.keys[0], keys.keys[-1])),
        *((403, path, keys.keys[1].secret) for path in FOREIGN),
        (200, "/v4/contacts/export/1/status", keys.narrow.secret),
    ]
    for status, path, secret in expected:
        fields = {} if secret is None else {"X-Api-Key": secret}
        given = get(path, fields)[0]
        if given != status:
            yield f"GET {path} with {_name(scene, secret)}: {given} instead of {status}"


def _fields(scene: Scene, get: Get, scheme: str, spoofed: dict[str, str]) -> Iterator[str]:
    key = scene.keys.keys[7]
    status, fields, body = get(ECHO + "?a=%2f", {**spoofed, "X-Api-Key": key.secret, "User-Agent": "bench"})
    if status != 200:
        yield f"GET {ECHO}: {status}"
        return
    seen = json.loads(body)
    for name, value in _expected(key, scheme).items():
        if seen[name] != value:
            yield f"the backend saw {name} as {seen[name]!r} instead of {value!r}"
    if not set(key.scopes) <= set(seen["scopes"].replace(",", " ").split()):
        yield f"the backend saw scopes as {seen['scopes']!r}"
    if len(seen["request_id"]) < 16 or fields["X-Request-Id"] != seen["request_id"]:
        yield f"request ids {seen['request_id']!r} to the backend, {fields['X-Request-Id']!r} to the client"
    for side, via in (("backend", seen["via"]), ("client", fields["Via"] or "")):
        if not via.startswith("1.1 "):
            yield f"no Via for the {side}"


def _expected(key: BenchKey, scheme: str) -> dict[str, str]:
    absent = dict.fromkeys(("secret", "real_ip", "forwarded", "client_ip", "invented"), "")
    return absent | {
        "uri": ECHO + "?a=%2f",
        "forwarded_for": "127.0.0.1",
        "forwarded_proto": scheme,
        "forwarded_host": HOST,
        "account": key.account,
        "key": key.id,
        "user_agent": "bench",
    }


def _get(port: int, tls: bool, path: str, fields: dict[str, str]) -> tuple[int, http.client.HTTPMessage, str]:
    connection = connect(port, tls, 5)
    try:
        connection.request("GET", path, headers={"Host": HOST, **fields})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def _name(scene: Scene, secret: str | None) -> str:
    keys = scene.keys
    special = {
        None: "no key",
        keys.narrow.secret: "the narrow key",
        keys.elsewhere.secret: "the key from elsewhere",
        keys.unknown: "an unknown key",
    }
    return special.get(secret, "a key" if secret in {key.secret for key in keys.keys} else "no secret at all")
