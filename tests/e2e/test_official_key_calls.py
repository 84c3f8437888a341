"""The service's own key calls through the public listener, made by its official clients as they are."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import yaml

from tests.e2e.backend import Backend
from tests.e2e.examples import Document
from tests.e2e.official import CLIENTS, Client, Failed, PythonClient, official
from tests.e2e.running import DOCUMENT, OWNER, Gateway, answered, iso, serving, settings
from tests.process.running import until

HEADER = "X-ElasticEmail-ApiKey"
MANAGER = ("ViewAccessTokens", "ModifyAccessTokens", "ViewContacts", "ModifyContacts", "SendSmtp", "Legacy")
KEYS, SMTP = "/v4/security/apikeys", "/v4/security/smtp"
DAY = 86400.0


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(Document(DOCUMENT), "/v4").running() as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    document = {
        "openapi": str(DOCUMENT),
        "prefix": "/v4",
        "scope_from_description": "Required Access Level: (.+)",
    }
    written = settings(
        backend.port,
        [document],
        workers=2,
        keys={"headers": [HEADER]},
        management_routes={"prefix": "/v4/security"},
    )
    folder = tmp_path_factory.mktemp("gateway")
    # A command that does not have to read the large document is done in a quarter of the time.
    short = folder / "short.yaml"
    short.write_text(yaml.safe_dump({**written, "routes": [{"path": "/", "public": True, "upstream": "api"}]}))
    with serving(folder, written, commands_file=short) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def base(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.ports[0]}/v4"


@pytest.fixture(scope="module")
def manager(gateway: Gateway) -> str:
    """A key of the owner that may manage others."""
    return gateway.create_key("manager", *MANAGER)


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest, base: str) -> Iterator[Client]:
    with official(request.param, base) as client:
        yield client


@pytest.fixture
def python(base: str) -> Client:
    return PythonClient(base)


def ask(gateway: Gateway, key: str, method: str, path: str, payload: object = None, **fields: str) -> tuple[int, Any]:
    """Status and JSON of a call without any client."""
    body = None if payload is None else json.dumps(payload)
    headers = {HEADER: key, **{name.replace("_", "-"): value for name, value in fields.items()}}
    status, answer = gateway.call(method, path, body=body, headers=headers)
    return status, json.loads(answer) if answer else None


def all_keys(gateway: Gateway, account: str = OWNER) -> list[dict[str, Any]]:
    """What the store has, but for what every call changes."""
    listed = gateway.ask("keys", "list", "--account", account)
    return [{name: value for name, value in key.items() if not name.startswith("last_used")} for key in listed]


def account_with_key(gateway: Gateway, email: str, *scopes: str, more: tuple[str, ...] = ()) -> str:
    """A key of an account of its own, which starts with no other."""
    gateway.create_account(email)
    return gateway.create_key("manager", *scopes, more=more, account=email)


# -- the whole life ----------------------------------------------------------------------------------------


def test_an_api_key_lives_its_whole_life_by_the_client(client: Client, manager: str, gateway: Gateway) -> None:
    wanted = {"Name": "ci", "AccessLevel": ["ViewContacts"], "RestrictAccessToIPRange": ["127.0.0.0/8"]}
    made = client.make(manager, "apikeys", wanted)
    token = made.pop("Token")
    gateway.secrets.append(token)
    assert len(token) == 96
    assert abs(made["DateCreated"] - time.time()) < 60
    assert (made["LastUse"], made["Expires"]) == (None, None)
    assert {name: made[name] for name in wanted} == wanted
    assert client.contacts(token)
    with pytest.raises(Failed) as refused:
        client.every(token, "apikeys")
    assert refused.value.status == 403
    assert "ViewAccessTokens" in refused.value.said["Error"]
    assert made["Name"] in [key["Name"] for key in client.every(manager, "apikeys")]
    assert "Token" not in client.one(manager, "apikeys", "ci")

    expires = float(int(time.time()) + 1000)
    changed = {"Name": "ci two", "AccessLevel": [], "Expires": iso(expires), "RestrictAccessToIPRange": ["192.0.2.1"]}
    kept = client.replace(manager, "apikeys", "ci", changed)
    assert kept["Expires"] == expires
    assert (kept["AccessLevel"], kept["RestrictAccessToIPRange"]) == ([], ["192.0.2.1"])
    with pytest.raises(Failed, match="403"):
        client.contacts(token)  # from here it may not be used any more
    with pytest.raises(Failed, match="404"):
        client.one(manager, "apikeys", "ci")
    client.replace(manager, "apikeys", "ci two", wanted)
    assert client.contacts(token)
    assert client.one(manager, "apikeys", "ci")["Expires"] is None

    client.delete(manager, "apikeys", "ci")
    with pytest.raises(Failed, match="401"):
        client.contacts(token)
    with pytest.raises(Failed, match="404") as gone:
        client.delete(manager, "apikeys", "ci")
    assert gone.value.said["Error"]


def test_an_smtp_credential_lives_its_whole_life_by_the_client(
    client: Client, manager: str, gateway: Gateway
) -> None:
    name = "mailer+1@example.com"
    made = client.make(manager, "smtp", {"Name": name})
    token = made.pop("Token")
    gateway.secrets.append(token)
    assert made["AccessLevel"] == "SendSmtp"
    assert made["Name"] == name
    with pytest.raises(Failed, match="401"):
        client.contacts(token)  # it never authenticates an API call
    assert name in [each["Name"] for each in client.every(manager, "smtp")]
    assert name not in [each["Name"] for each in client.every(manager, "apikeys")]
    kept = client.replace(manager, "smtp", name, {"Name": name, "RestrictAccessToIPRange": ["192.0.2.0/24"]})
    assert kept["RestrictAccessToIPRange"] == ["192.0.2.0/24"]
    assert "Token" not in client.one(manager, "smtp", name)
    client.delete(manager, "smtp", name)
    with pytest.raises(Failed, match="404"):
        client.one(manager, "smtp", name)


@pytest.mark.parametrize("name", ["a/b", "a b", "100%", "a%2Fb", "Schlüssel ✓", "a+b&c=d?e#f", "a/b/c", "=", "ab~."])
def test_any_name_comes_through_as_it_is(client: Client, manager: str, name: str) -> None:
    made = client.make(manager, "apikeys", {"Name": name, "AccessLevel": []})
    assert made["Name"] == name
    assert client.one(manager, "apikeys", name)["Name"] == name
    assert name in [key["Name"] for key in client.every(manager, "apikeys")]
    client.replace(manager, "apikeys", name, {"Name": name, "AccessLevel": ["ViewContacts"]})
    client.delete(manager, "apikeys", name)
    assert name not in [key["Name"] for key in client.every(manager, "apikeys")]


@pytest.mark.parametrize("name", [".", "..", "a/../b", "a\\b", "a//b", "/", " ", "x" * 101, "a\nb"])
def test_a_name_that_no_path_could_hold_is_refused(gateway: Gateway, manager: str, name: str) -> None:
    before = all_keys(gateway)
    status, said = ask(gateway, manager, "POST", KEYS, {"Name": name, "AccessLevel": []})
    assert (status, said["status"]) == (400, 400)
    assert said["Error"] == said["detail"]
    assert all_keys(gateway) == before


def test_what_a_client_cannot_name_keeps_no_client_from_its_list(
    client: Client, manager: str, gateway: Gateway
) -> None:
    name = f"legacy {id(client)}"
    gateway.create_key(name, "Legacy", "ViewContacts", more=["--allow", "10.0.0.1-10.0.0.4"])
    found = client.one(manager, "apikeys", name)
    assert found["AccessLevel"] == ["ViewContacts"]
    assert found["RestrictAccessToIPRange"] == ["10.0.0.1", "10.0.0.2/31", "10.0.0.4"]
    assert name in [key["Name"] for key in client.every(manager, "apikeys")]
    assert ask(gateway, manager, "GET", f"{KEYS}/legacy%20{id(client)}")[1]["OtherAccessLevel"] == ["Legacy"]
    client.delete(manager, "apikeys", name)


# -- what is refused ---------------------------------------------------------------------------------------


def test_a_list_without_the_level_a_wrong_key_and_no_key_are_refused_as_the_service_does(
    gateway: Gateway, manager: str
) -> None:
    reader = gateway.create_key("reads only", "ViewContacts")
    for key, status in ((reader, 403), (manager[:-1], 401), ("", 401)):
        got, said = ask(gateway, key, "GET", KEYS)
        assert got == said["status"] == status
        assert said["type"].startswith("urn:keystile:problem:")
        assert said["Error"] == said["detail"]
    gateway.keys("delete", "reads only")


@pytest.mark.parametrize(
    ("method", "path", "payload", "status"),
    [
        ("POST", KEYS, {"Name": "x"}, 400),
        ("POST", KEYS, {"Name": 5, "AccessLevel": []}, 400),
        ("POST", KEYS, {"Name": "x", "AccessLevel": ["a b"]}, 400),
        ("POST", KEYS, {"Name": "x", "AccessLevel": [], "Expires": ""}, 400),
        ("POST", KEYS, {"Name": "x", "AccessLevel": [], "Expires": "2001-01-01T00:00:00Z"}, 400),
        ("POST", KEYS, {"Name": "x", "AccessLevel": [], "RestrictAccessToIPRange": ["nowhere"]}, 400),
        ("POST", KEYS, {"Name": "x", "AccessLevel": [], "Subaccount": "other@example.com"}, 400),
        ("POST", KEYS, {"Name": "manager", "AccessLevel": []}, 409),
        ("POST", KEYS, ["x" * 200_000], 413),
        ("PUT", f"{KEYS}/nobody", {"Name": "x", "AccessLevel": []}, 404),
        ("DELETE", f"{KEYS}/manager?subaccount=other%40example.com", None, 400),
        ("GET", f"{KEYS}?Subaccount=other%40example.com", None, 400),
        ("POST", SMTP, {"Name": "no address"}, 400),
        ("POST", SMTP, {"Name": "a@example.com", "AccessLevel": "ViewContacts"}, 400),
        ("GET", f"{SMTP}/nobody", None, 404),
    ],
)
def test_a_call_that_is_wrong_is_refused_and_changes_nothing(
    gateway: Gateway, manager: str, method: str, path: str, payload: object, status: int
) -> None:
    before = all_keys(gateway)
    got, said = ask(gateway, manager, method, path, payload)
    assert got == status, said
    assert said["Error"]
    assert all_keys(gateway) == before


def test_no_key_makes_or_alters_another_beyond_what_it_holds(gateway: Gateway) -> None:
    email, now = "escalation@example.com", time.time()
    bounds = ("--allow", "127.0.0.0/8", "--expires", iso(now + DAY))
    weak = account_with_key(gateway, email, "ModifyAccessTokens", "ViewContacts", more=bounds)
    gateway.create_key("stronger", "ModifyContacts", account=email)
    inside: dict[str, object] = {
        "RestrictAccessToIPRange": ["127.0.0.1"],
        "Expires": iso(now + DAY / 2),
        "AccessLevel": ["ViewContacts"],
    }
    beyond: list[dict[str, object]] = [
        {"AccessLevel": ["ViewContacts", "ModifyContacts"]},
        {"AccessLevel": ["ViewAccessTokens"]},
        {"OtherAccessLevel": ["Legacy"]},
        {"RestrictAccessToIPRange": []},
        {"RestrictAccessToIPRange": None},
        {"RestrictAccessToIPRange": ["0.0.0.0/0", "::/0"]},
        {"RestrictAccessToIPRange": ["127.0.0.1", "10.0.0.1"]},
        {"RestrictAccessToIPRange": ["127.0.0.1-128.0.0.1"]},
        {"Expires": None},
        {"Expires": iso(now + 2 * DAY)},
    ]
    before = all_keys(gateway, email)
    attempts: list[tuple[str, str, object]] = [
        ("POST", SMTP, {"Name": "a@example.com", **inside, "AccessLevel": "SendSmtp"}),
        ("PUT", f"{KEYS}/stronger", {"Name": "stronger", **inside}),
        ("DELETE", f"{KEYS}/stronger", None),
    ]
    for wider in beyond:
        attempts.append(("POST", KEYS, {"Name": "new", **inside, **wider}))
        attempts.append(("PUT", f"{KEYS}/manager", {"Name": "manager", **inside, **wider}))
    for method, path, payload in attempts:
        status, said = ask(gateway, weak, method, path, payload)
        assert (status, bool(said["Error"])) == (403, True), (method, path, payload, said)
    assert all_keys(gateway, email) == before
    # Within what it holds it may, and what it makes is bounded by the same.
    status, made = ask(gateway, weak, "POST", KEYS, {"Name": "new", **inside, "AccessLevel": ["ModifyAccessTokens"]})
    assert status == 201
    assert ask(gateway, made["Token"], "POST", KEYS, {"Name": "newer", **inside})[0] == 403


def test_a_key_of_one_account_sees_and_alters_no_key_of_another(gateway: Gateway, manager: str) -> None:
    other = account_with_key(gateway, "other@example.com", *MANAGER)
    assert [key["Name"] for key in ask(gateway, other, "GET", KEYS)[1]] == ["manager"]
    ours = gateway.create_key("ours alone", "ViewContacts")
    for method in ("GET", "DELETE"):
        assert ask(gateway, other, method, f"{KEYS}/ours%20alone")[0] == 404
    assert ask(gateway, ours, "GET", "/v4/contacts")[0] == 200
    gateway.keys("delete", "ours alone")


def test_a_key_that_was_changed_while_its_call_was_on_its_way_makes_nothing(gateway: Gateway) -> None:
    """The head of a call is admitted; then the owner changes the stolen key; then the body arrives."""
    email = "stolen@example.com"
    stolen = account_with_key(gateway, email, "ModifyAccessTokens")
    body = json.dumps({"Name": "mine now", "AccessLevel": ["ModifyAccessTokens"]}).encode()
    with socket.create_connection(("127.0.0.1", gateway.ports[0]), timeout=30) as connection:
        head = f"POST {KEYS} HTTP/1.1\r\nHost: x\r\n{HEADER}: {stolen}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        until(lambda: gateway.status()["slots_taken"] == 1)
        gateway.keys("change", "manager", account=email)
        connection.sendall(body[10:])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 403
        assert json.loads(answer.read())["Error"]
    assert [key["name"] for key in all_keys(gateway, email)] == ["manager"]


# -- identity fields ---------------------------------------------------------------------------------------


def test_identity_fields_are_believed_on_no_way_that_others_have(gateway: Gateway, manager: str) -> None:
    owner_key = gateway.listed("manager")
    account = "forger@example.com"
    forger = account_with_key(gateway, account, "ViewAccessTokens")
    forged = {
        "X-Keystile-Account": OWNER,
        "X-Keystile-Key": owner_key["id"],
        "X-Keystile-Scopes": ", ".join(MANAGER),
        "X-Keystile-Presented": "0" * 64,
        "X-Keystile-Address": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
    }
    variants = [
        forged,
        {name.replace("-", "_"): value for name, value in forged.items()},
        {name.lower(): value for name, value in forged.items()},
    ]
    before = all_keys(gateway)
    for fields in variants:
        # The public listener: with somebody's own key he stays who he is; without one he is nobody.
        status, said = gateway.call("GET", KEYS, headers={HEADER: forger, **fields})
        assert (status, [key["Name"] for key in json.loads(said)]) == (200, ["manager"])
        assert gateway.call("GET", KEYS, headers=fields)[0] == 401
        assert gateway.call("DELETE", f"{KEYS}/manager", headers={HEADER: forger, **fields})[0] == 403
        # The management address: these calls are not there, and the fields mean nothing.
        for method, path in (("GET", KEYS), ("DELETE", f"{KEYS}/manager"), ("GET", "/keys"), ("GET", "/api/keys")):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.management, timeout=30)
            status, said = answered(connection, method, path, headers=fields)
            connection.close()
            assert status >= 300
            assert owner_key["hint"].encode() not in said
    assert all_keys(gateway) == before


def test_the_socket_is_for_its_owner_only_and_serves_nothing_else(gateway: Gateway) -> None:
    place = gateway.directory / "keystile.db.management"
    assert place.stat().st_mode & 0o777 == 0o600
    for path in ("/", "/health", "/metrics", "/keys", "/api/openapi.json", "/v4/contacts", "/v4/security"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(os.path.relpath(place))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 404


def test_the_audit_table_tells_which_key_did_it_and_from_where(gateway: Gateway) -> None:
    email = "audited@example.com"
    key = account_with_key(gateway, email, "ModifyAccessTokens")
    payload = {"Name": "by api", "AccessLevel": []}
    assert ask(gateway, key, "POST", KEYS, payload, X_Forwarded_For="192.0.2.9")[0] == 201
    with closing(sqlite3.connect(gateway.directory / "keystile.db")) as store:
        row = store.execute("SELECT actor, origin FROM audit WHERE key_name = 'by api'").fetchone()
    assert row == (email, f"API key 'manager' (…{key[-5:]}) from 127.0.0.1")


# -- many at once, and a management process that dies ------------------------------------------------------


def test_two_clients_at_once_make_what_the_rules_allow(gateway: Gateway, python: Client) -> None:
    key = account_with_key(gateway, "crowd@example.com", "ViewAccessTokens", "ModifyAccessTokens")

    def make(name: str) -> int:
        try:
            python.make(key, "apikeys", {"Name": name, "AccessLevel": []})
        except Failed as refused:
            return refused.status
        return 201

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, ["same"] * 8)) == [201] + [409] * 7
        assert sorted(pool.map(make, [f"key {number}" for number in range(20)])) == [201] * 13 + [409] * 7
    assert len(python.every(key, "apikeys")) == 15


def test_management_may_be_killed_while_these_calls_run(gateway: Gateway, manager: str) -> None:
    stop = threading.Event()
    ordinary: list[int] = []
    calls: list[int] = []

    def again(statuses: list[int], path: str) -> None:
        while not stop.is_set():
            statuses.append(ask(gateway, manager, "GET", path)[0])

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(again, ordinary, "/v4/contacts"), pool.submit(again, calls, KEYS)]
        for _ in range(3):
            had = len(calls)
            [management] = gateway.pids("management")
            os.kill(management, signal.SIGKILL)
            until(lambda had=had: len(calls) > had + 3, within=30)  # type: ignore[misc]
        stop.set()
        for each in work:
            each.result(30)
    assert set(ordinary) == {200}
    assert len(ordinary) > 10
    # What was in flight at the kill may be lost, all else waits in the queue and is answered.
    assert set(calls) <= {200, 502}
    assert calls.count(502) <= 3


def test_a_call_made_while_no_management_runs_waits_for_it(gateway: Gateway, manager: str) -> None:
    ask(gateway, manager, "GET", KEYS)
    [management] = gateway.pids("management")
    os.kill(management, signal.SIGKILL)
    until(lambda: management not in gateway.pids("management"))
    assert ask(gateway, manager, "GET", KEYS)[0] == 200
    assert ask(gateway, manager, "POST", KEYS, {"Name": "after", "AccessLevel": []})[0] == 201
    assert ask(gateway, manager, "DELETE", f"{KEYS}/after") == (200, None)


def test_no_secret_that_was_shown_lies_anywhere(gateway: Gateway, manager: str) -> None:
    """Runs last: of all that the tests above made."""
    status, made = ask(gateway, manager, "POST", KEYS, {"Name": "seen once", "AccessLevel": []})
    assert status == 201
    secrets = [*gateway.secrets, made["Token"]]
    assert len(secrets) > 5
    files = [path for path in gateway.directory.iterdir() if path.is_file() and path.name != "gateway.yaml"]
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
    assert gateway.run("routes").out.count("management") >= 10
