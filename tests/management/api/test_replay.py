from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.management.access import Access
from keystile.storage.errors import StoreError, StoreUnreadable
from tests.management.api.checked import Api, User

ONE = {"Idempotency-Key": "5f0c-1"}
BODY = {"name": "main", "scopes": ["Export"]}


async def test_a_repetition_makes_no_second_key_and_shows_no_secret(api: Api, ann: User) -> None:
    made = (await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)).json
    # The order of members and white space make no other request.
    data = b'{ "scopes" : ["Export"], "name": "main" }'
    for again in (
        await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=200),
        await api.ask(
            ann, "POST", "/api/keys", data=data, headers={**ONE, "Content-Type": "application/json"}, status=200
        ),
    ):
        assert (again.json["key"], again.json["id"]) == (None, made["id"])
        assert "change it" in again.json["note"]
        assert made["key"] not in again.text
        assert again.headers["ETag"] == '"1"'
    assert len((await api.get(ann, "/api/keys"))["items"]) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/keys", {"name": "other", "scopes": ["Export"]}),
        ("/api/keys", {"name": "main"}),
        ("/api/smtp", {"name": "main@example.com"}),
        ("/api/keys/import", {"name": "main", "digest": "ab" * 32, "hint": "ABABA"}),
    ],
)
async def test_another_request_under_the_same_key_is_refused(
    api: Api, ann: User, path: str, body: dict[str, Any]
) -> None:
    await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)
    answer = await api.ask(ann, "POST", path, body, headers=ONE, status=422)
    assert (answer.problem, answer.json["field"]) == ("idempotency-key-reused", "Idempotency-Key")


async def test_two_accounts_may_choose_the_same_idempotency_key(api: Api, ann: User, bob: User) -> None:
    first = (await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)).json
    second = (await api.ask(bob, "POST", "/api/keys", BODY, headers=ONE, status=201)).json
    assert first["account"] != second["account"]


async def test_an_operators_key_for_one_account_is_not_one_for_another(
    api: Api, ann: User, bob: User, operator: User
) -> None:
    await api.ask(operator, "POST", "/api/keys?account=ann@example.com", BODY, headers=ONE, status=201)
    answer = await api.ask(operator, "POST", "/api/keys?account=bob@example.com", BODY, headers=ONE, status=422)
    assert answer.problem == "idempotency-key-reused"


async def test_of_many_at_once_one_creates_and_the_others_say_so(api: Api, ann: User) -> None:
    asked = [api.ask(ann, "POST", "/api/keys", BODY, headers=ONE) for _ in range(20)]
    answers = await asyncio.gather(*asked)
    statuses = sorted(answer.status for answer in answers)
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert {answer.problem for answer in answers if answer.status == 409} <= {"in-progress"}
    assert len((await api.get(ann, "/api/keys"))["items"]) == 1


async def test_what_another_host_is_at_is_in_progress_and_not_unknown(api: Api, ann: User) -> None:
    """The same store under another host's id: as if the first had come there, and was not answered yet."""
    access = api.app.services.access
    access.host = "another host"
    path = "/api/keys"
    await api.ask(ann, "POST", path, BODY, headers=ONE, status=201)
    owner, key = ann.account.id, ONE["Idempotency-Key"]
    asked = await access.recall(owner, key)
    assert asked is not None
    await access.forget(owner, key)
    await access.claim(owner, key, asked.request)
    access.host = "this host"
    answer = await api.ask(ann, "POST", path, BODY, headers=ONE, status=409)
    assert (answer.problem, answer.headers["Retry-After"]) == ("in-progress", "1")
    access.host = "another host"  # which has begun it, and does not know of it any more
    assert (await api.ask(ann, "POST", path, BODY, headers=ONE, status=409)).problem == "outcome-unknown"


async def test_while_the_first_is_being_answered_a_second_is_told_to_wait(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = api.app.services.keys.create

    async def held(*args: Any, **more: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await real(*args, **more)

    monkeypatch.setattr(api.app.services.keys, "create", held)
    first = asyncio.create_task(api.ask(ann, "POST", "/api/keys", BODY, headers=ONE))
    await begun.wait()
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=409)
    assert (answer.problem, answer.headers["Retry-After"]) == ("in-progress", "1")
    go_on.set()
    assert (await first).status == 201


async def test_what_a_rule_refused_may_be_asked_again_under_the_same_key(api: Api, ann: User) -> None:
    await api.ask(ann, "POST", "/api/keys", {"name": "k", "scopes": ["a b"]}, headers=ONE, status=422)
    await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)


@pytest.mark.parametrize("moment", ["before the key", "after the key"])
async def test_a_process_that_dies_in_between_never_leads_to_two_keys(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The claim is on disk before the key is, so whoever asks again learns that the outcome is not known."""
    real = api.app.services.keys.create

    async def dies(*args: Any, **more: Any) -> Any:
        if moment == "after the key":
            await real(*args, **more)
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(api.app.services.keys, "create", dies)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the connection breaks off, as it does with the process
            await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE)
    made = len((await api.get(ann, "/api/keys"))["items"])
    assert made == (moment == "after the key")
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=409)
    assert answer.problem == "outcome-unknown"
    assert len((await api.get(ann, "/api/keys"))["items"]) == made
    # Another Idempotency-Key goes on as if nothing had been: the name says whether it is there.
    await api.ask(ann, "POST", "/api/keys", BODY, headers={"Idempotency-Key": "2"}, status=409 if made else 201)


async def test_when_the_store_fails_the_outcome_stays_unknown(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*args: Any, **more: Any) -> Any:
        raise StoreUnreadable("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(api.app.services.keys, "create", fails)
        await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=503)
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=409)
    assert answer.problem == "outcome-unknown"


async def test_a_key_that_was_made_is_shown_though_its_record_cannot_be_ended(
    api: Api, ann: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(Access, "remember", fails)
    made = (await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)).json
    assert len(made["key"]) == 96
    assert "disk full" in caplog.text
    assert made["key"] not in caplog.text
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=409)
    assert answer.problem == "outcome-unknown"


async def test_a_repetition_after_the_key_is_gone_says_so(api: Api, ann: User) -> None:
    made = (await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=201)).json
    await api.ask(ann, "DELETE", f"/api/keys/{made['id']}", status=204)
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers=ONE, status=409)
    assert answer.problem == "gone-since"


async def test_a_repeated_change_changes_once(api: Api, ann: User) -> None:
    made = await api.new_key(ann)
    path, seen = f"/api/keys/{made['id']}/change", {**ONE, "If-Match": '"1"'}
    changed = (await api.ask(ann, "POST", path, headers=seen, status=200)).json
    again = (await api.ask(ann, "POST", path, headers=seen, status=200)).json
    assert (again["key"], again["version"], again["hint"]) == (None, 2, changed["hint"])
    assert "change it" in again["note"]


async def test_every_create_and_change_knows_repetitions(api: Api, ann: User, operator: User) -> None:
    session, root = await api.session(ann.account), await api.session(operator.account)
    digest = {"digest": "ab" * 32, "hint": "ABABA"}
    smtp = (await api.ask(ann, "POST", "/api/smtp", {"name": "first@example.com"}, status=201)).json
    change = f"/api/smtp/{smtp['id']}/change"
    rows: list[tuple[User, str, dict[str, Any], str]] = [
        (ann, "/api/keys", {"name": "a"}, "key"),
        (ann, "/api/keys/import", {"name": "b", **digest}, "key"),
        (ann, "/api/smtp", {"name": "ann@example.com"}, "secret"),
        (ann, change, {}, "secret"),
        (session, "/api/tokens", {"name": "c"}, "token"),
        (root, "/api/accounts", {"email": "new@example.com"}, "link"),
    ]
    for number, (who, path, body, secret) in enumerate(rows):
        headers = {"Idempotency-Key": f"row-{number}"}
        if path == change:
            headers["If-Match"] = "*"
        first = (await api.ask(who, "POST", path, body, headers=headers)).json
        again = await api.ask(who, "POST", path, body, headers=headers, status=200)
        assert again.json[secret] is None
        assert again.json["id"] == first["id"]
        if isinstance(first.get(secret), str):
            assert first[secret] not in again.text


@pytest.mark.parametrize("bad", ["", "a b", "ü", "x" * 256])
async def test_an_idempotency_key_is_visible_ascii(api: Api, ann: User, bad: str) -> None:
    answer = await api.ask(ann, "POST", "/api/keys", BODY, headers={"Idempotency-Key": bad}, status=400)
    assert answer.json["field"] == "Idempotency-Key"
