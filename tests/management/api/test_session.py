from __future__ import annotations

from tests.management.api.checked import Api, User


async def test_who_asks_learns_who_they_are(api: Api, ann: User, operator: User) -> None:
    await api.new_key(ann)
    me = await api.get(ann, "/api/me")
    assert (me["account"]["email"], me["account"]["operator"]) == ("ann@example.com", False)
    assert me["signed_in_by"] == "token"
    assert (me["keys"], me["keys_allowed"], me["smtp_credentials"]) == (1, 15, 0)
    assert (me["address"], me["csrf"]) == ("127.0.0.1", None)
    assert (await api.get(operator, "/api/me"))["account"]["operator"]


async def test_a_session_learns_what_its_changes_must_carry(api: Api, ann: User) -> None:
    session = await api.session(ann.account)
    me = await api.get(session, "/api/me")
    headers = {"Cookie": session.headers["Cookie"], "X-CSRF-Token": me["csrf"]}
    await api.ask(None, "POST", "/api/keys", {"name": "k"}, headers=headers, status=201)


async def test_signing_out_ends_the_session_and_no_other(api: Api, ann: User) -> None:
    first, second = await api.session(ann.account), await api.session(ann.account)
    answer = await api.ask(first, "DELETE", "/api/session", status=204)
    assert answer.headers["Set-Cookie"].startswith('keystile=""; ')
    await api.ask(first, "GET", "/api/me", status=401)
    for who in (second, ann):
        await api.get(who, "/api/me")
