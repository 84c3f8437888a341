from __future__ import annotations

import logging

import pytest

from keystile.management.api.openapi import operations
from keystile.management.api.operation import Caller, Operation
from keystile.management.api.problems import Problem
from keystile.management.api.query import ACCOUNT
from tests.management.api.checked import Api, User

ROWS = operations()


def _id(row: Operation) -> str:
    return row.name


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_a_rows_problems_follow_from_what_it_reads(row: Operation) -> None:
    found = row.all_problems()
    assert {Problem.MALFORMED, Problem.WRONG_HOST, Problem.STORE_UNAVAILABLE, Problem.INTERNAL_ERROR} <= found
    assert (Problem.UNAUTHENTICATED in found) == (row.caller is not Caller.ANYBODY)
    assert (Problem.TOO_LARGE in found) == (row.body is not None)
    assert (Problem.IF_MATCH_NEEDED in found) == bool(row.if_match)
    assert (Problem.KEY_REUSED in found) == row.idempotent
    assert (Problem.NOT_FOUND in found) == ("{id}" in row.path or ACCOUNT in row.query)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_a_row_that_changes_something_is_not_open_to_anybody(row: Operation) -> None:
    assert row.is_safe or row.caller is not Caller.ANYBODY


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_a_parameter_that_a_row_does_not_read_is_refused(api: Api, operator: User, row: Operation) -> None:
    path = row.path.replace("{id}", "0" * 16)
    who = await api.session(operator.account) if row.caller is not Caller.OPERATOR_TOKEN else operator
    answer = await api.ask(who, row.method, f"{path}?debug=1", status=400)
    assert answer.json["field"] == "debug"


@pytest.mark.parametrize("row", [row for row in ROWS if row.body is not None], ids=_id)
async def test_a_member_that_a_body_does_not_have_is_refused_and_named(
    api: Api, operator: User, row: Operation
) -> None:
    path = row.path.replace("{id}", "0" * 16)
    who = await api.session(operator.account) if row.caller is not Caller.OPERATOR_TOKEN else operator
    answer = await api.ask(who, row.method, path, {"debug": 1}, headers={"If-Match": "*"}, status=422)
    assert row.body is not None
    # The first member that is wrong: one that is needed and missing, or the one that there is not.
    needed = {name for name, member in row.body.model_fields.items() if member.is_required()}
    assert answer.json["field"] in {"debug", *needed}


async def test_no_log_line_of_ours_holds_what_a_call_carried(
    api: Api, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = await api.new_key(ann)
        await api.ask(ann, "POST", "/api/keys", data=b'{"name": "' + made["key"].encode() + b'"', status=415)
    assert made["key"] not in caplog.text
    assert ann.secret not in caplog.text
