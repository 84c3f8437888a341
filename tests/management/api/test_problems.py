from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any, get_args

import pytest

from keystile.keys.errors import KeyRuleBroken, RuleCode
from keystile.keys.secret import generate
from keystile.management.api.problems import OF_ACCESS, OF_RULE, Problem, answer, of_rule, say
from keystile.management.entry import AccessCode
from keystile.storage.errors import StoreUnreadable
from keystile.storage.passwords import passwords_of
from tests.management.api.checked import Api, User


def test_every_rule_has_its_problem() -> None:
    assert set(OF_RULE) == set(get_args(RuleCode))
    assert set(OF_ACCESS) == set(get_args(AccessCode))


def test_types_are_unique_and_details_are_sentences() -> None:
    assert len({problem.type for problem in Problem}) == len(Problem)
    for problem in Problem:
        assert problem.detail.endswith(".")
        assert 400 <= problem.status < 600


def test_no_problem_repeats_a_key() -> None:
    secret = generate()
    for made in (
        say(Problem.INVALID, f"{secret!r} is not a scope.", field=secret),
        answer(418, "Teapot", secret),
        of_rule(KeyRuleBroken("bad_scope", f"{secret} is none")),
    ):
        assert isinstance(made.body, bytes)
        assert secret not in made.body.decode()


def test_not_found_has_one_body_whatever_is_not_found() -> None:
    codes: tuple[RuleCode, ...] = ("no_such_key", "no_such_account", "no_such_credential")
    assert len({of_rule(KeyRuleBroken(code, f"says {code}")).body for code in codes}) == 1


def test_a_long_name_is_cut() -> None:
    body = say(Problem.INVALID, field="x" * 60_000).body
    assert isinstance(body, bytes)
    assert len(body) < 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/keys/", 404),
        ("GET", "/api/keys/KEY", 404),
        ("GET", "/api/keys/..%2f..%2fme", 404),
        ("GET", "/api//keys", 404),
        ("PUT", "/api/keys", 405),
        ("DELETE", "/api/keys", 405),
        ("GET", "/api/keys/import", 405),
        ("GET", "/api/smtp/verify", 405),
        ("TRACE", "/api/me", 405),
        ("PROPFIND", "/api/me", 405),
        ("POST", "/api/openapi.json", 405),
    ],
)
async def test_what_is_not_there_is_a_problem(api: Api, ann: User, method: str, path: str, status: int) -> None:
    answer = await api.ask(ann, method, path, status=status)
    assert answer.problem == {404: "not-found", 405: "method-not-allowed"}[status]
    assert ("Allow" in answer.headers) == (status == 405)


async def test_head_is_get_without_a_body(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}"
    answer = await api.ask(ann, "HEAD", path, status=200)
    assert (answer.text, answer.headers["ETag"]) == ("", '"1"')
    assert (await api.ask(ann, "HEAD", "/api/keys/0000000000000000", status=404)).text == ""


async def test_a_store_that_cannot_be_used_is_a_problem_for_later(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise StoreUnreadable("the store /srv/keystile.db: disk I/O error")

    monkeypatch.setattr(api.app.services.keys, "list", fails)
    answer = await api.ask(ann, "GET", "/api/keys", status=503)
    assert answer.headers["Retry-After"]
    assert "/srv" not in answer.text
    assert "disk I/O error" in caplog.text


async def test_while_the_store_is_locked_changes_fail_whole_and_what_is_there_can_be_read(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two files in turn; with a token whose use cannot be noted either."""
    monkeypatch.setattr("keystile.storage.connection.BUSY_TIMEOUT", 0.1)
    kept = await api.new_key(ann)
    store = api.app.services.settings.store
    for file in (store, passwords_of(store)):
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert len((await api.get(ann, "/api/keys"))["items"]) == 1
            change = "POST", "/api/keys", {"name": "two"}
            headers = {"Idempotency-Key": f"ours-{file.name}"}
            answer = await api.ask(ann, *change, headers=headers, status=503)
            assert (answer.problem, answer.headers["Retry-After"]) == ("store-unavailable", "1")
            assert str(store.parent) not in answer.text
            if file == store:
                await api.ask(ann, "DELETE", f"/api/keys/{kept['id']}", headers={"If-Match": "*"}, status=503)
        assert [key["id"] for key in (await api.get(ann, "/api/keys"))["items"]] == [kept["id"]]
    await api.new_key(ann, "two")


async def test_a_fault_of_ours_says_nothing_outside_and_everything_in_the_log(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(api.app.services.keys, "list", fails)
    with caplog.at_level(logging.ERROR):
        answer = await api.ask(ann, "GET", "/api/keys", status=500)
    assert "inside" not in answer.text
    assert "the inside" in caplog.text
    assert ann.secret not in caplog.text


async def test_a_host_that_is_not_served_is_a_problem_too(api: Api, ann: User) -> None:
    answer = await api.ask(ann, "GET", "/api/keys", headers={"Host": "evil.example"}, status=421)
    assert answer.problem == "wrong-host"
