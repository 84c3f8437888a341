"""Every secret that a whole life of calls makes is searched for: in answers, in logs, in every file of the store."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.management.api.checked import Answer, Api, api_client
from tests.management.running import Managed, running

ANY = {"If-Match": "*"}


class Remembering(Api):
    """Keeps every answer."""

    def __init__(self, app: Managed, client: object) -> None:
        super().__init__(app, client)  # type: ignore[arg-type]
        self.answers: list[Answer] = []

    async def ask(self, *args: object, **more: object) -> Answer:
        answer = await super().ask(*args, **more)  # type: ignore[arg-type]
        self.answers.append(answer)
        return answer


async def test_no_secret_stands_anywhere_but_in_the_one_answer_that_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # Management runs without aiohttp's own access log (process/serving.py): it would write queries as they came.
    caplog.set_level(logging.WARNING, "aiohttp.access")
    async with running(tmp_path) as app, api_client() as client:
        api = Remembering(app, client)
        secrets = await _a_whole_life(api)
    files = _contents(tmp_path)
    for secret in secrets:
        shown = [answer for answer in api.answers if secret in answer.text]
        assert len(shown) <= 1
        assert all(answer.status in (200, 201) for answer in shown)
        assert secret not in caplog.text
        assert secret.encode() not in files
        assert secret.lower().encode() not in files


def _contents(directory: Path) -> bytes:
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert files
    return b"".join(file.read_bytes() for file in files)


async def _a_whole_life(api: Remembering) -> list[str]:
    operator = await api.user("operator@example.com", operator=True)
    ann = await api.user("ann@example.com")
    root, session = await api.session(operator.account), await api.session(ann.account)
    once = {"Idempotency-Key": "one"}
    key = (await api.ask(ann, "POST", "/api/keys", {"name": "k"}, headers=once, status=201)).json
    await api.ask(ann, "POST", "/api/keys", {"name": "k"}, headers=once, status=200)
    path = f"/api/keys/{key['id']}"
    await api.ask(ann, "PATCH", path, {"name": "renamed"}, headers=ANY, status=200)
    changed = (await api.ask(ann, "POST", f"{path}/change", {"overlap": 60}, headers=ANY, status=200)).json
    smtp = (await api.ask(ann, "POST", "/api/smtp", {"name": "m@example.com"}, status=201)).json
    renewed = (await api.ask(ann, "POST", f"/api/smtp/{smtp['id']}/change", headers=ANY, status=200)).json
    body = {"name": "m@example.com", "secret": renewed["secret"]}
    await api.ask(operator, "POST", "/api/smtp/verify", body, status=200)
    await api.ask(ann, "POST", "/api/keys", {"name": f"x {key['key']} \u0007"}, status=422)
    await api.ask(ann, "POST", "/api/keys", {"name": "x", "scopes": [f"{key['key']} y"]}, status=422)
    await api.ask(ann, "POST", "/api/keys", {"name": "x", key["key"]: 1}, status=422)
    await api.ask(ann, "GET", f"/api/keys?{key['key']}=1", status=400)
    token = (await api.ask(session, "POST", "/api/tokens", {"name": "t"}, status=201)).json
    new = (await api.ask(root, "POST", "/api/accounts", {"email": "new@example.com"}, status=201)).json
    link = (await api.ask(root, "POST", f"/api/accounts/{new['id']}/password-link", status=201)).json
    for where in ("keys", "smtp", "tokens", "events", "me"):
        await api.get(ann, f"/api/{where}")
    await api.get(root, "/api/status")
    await api.ask(ann, "DELETE", path, status=204)
    return [
        key["key"],
        changed["key"],
        smtp["secret"],
        renewed["secret"],
        token["token"],
        new["link"].rpartition("=")[2],
        link["link"].rpartition("=")[2],
        ann.secret,
        session.secret,
        root.secret,
    ]
