from __future__ import annotations

import json
from typing import get_args

import pytest
from aiohttp import web

from keystile.keys.errors import KeyRuleBroken, RuleCode
from keystile.keys.secret import generate
from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.service_calls import errors


def said(refused: errors.Refused) -> dict[str, object]:
    made = errors.answer(refused, "abc")
    assert isinstance(made.body, bytes)
    assert made.content_type == "application/problem+json"
    members: dict[str, object] = json.loads(made.body)
    assert members["status"] == made.status
    return members


@pytest.mark.parametrize("code", get_args(RuleCode))
def test_every_rule_has_an_answer_that_clients_know(code: RuleCode) -> None:
    members = said(errors.of_rule(KeyRuleBroken(code, "because")))
    assert members["status"] in (400, 403, 404, 409, 412)
    assert members["Error"] == members["detail"]


@pytest.mark.parametrize(
    ("code", "status"),
    [("bad_name", 400), ("bad_expiry", 400), ("name_taken", 409), ("too_many_keys", 409), ("beyond_authority", 403),
     ("no_such_key", 404), ("too_many_credentials", 409)],
)  # fmt: skip
def test_the_statuses_of_the_rules(code: RuleCode, status: int) -> None:
    assert errors.of_rule(KeyRuleBroken(code, "because")).kind.status == status


def test_what_another_has_and_what_nobody_has_look_the_same() -> None:
    one = said(errors.of_rule(KeyRuleBroken("no_such_key", "a@b.c has no key named 'x'")))
    assert one == said(errors.of_rule(KeyRuleBroken("no_such_account", "there is no account a@b.c")))


def test_no_text_repeats_a_secret() -> None:
    secret = generate()
    members = said(errors.of_rule(KeyRuleBroken("name_taken", f"there is already one named {secret}")))
    assert secret not in str(members)
    assert f"[key …{secret[-5:]}]" in str(members["Error"])


def test_who_is_nobody_is_told_how_to_be_somebody_and_who_must_wait_how_long() -> None:
    unknown: web.Response = errors.answer(errors.Refused(errors.INVALID_KEY), "")
    assert unknown.headers["WWW-Authenticate"] == 'ApiKey realm="keystile"'
    busy = errors.answer(errors.of_problem(Problem.STORE_UNAVAILABLE), "")
    assert busy.headers["Retry-After"] == "1"


def test_what_reading_a_body_found_names_the_member() -> None:
    found = errors.of_api(ApiProblem(Problem.INVALID, "A member is given twice.", field="Name"))
    assert (found.kind.status, found.detail) == (400, "A member is given twice. (Name)")
