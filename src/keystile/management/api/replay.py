"""Idempotency-Key: a request that is sent twice is carried out once (draft-ietf-httpapi-idempotency-key-header).

Law: this file knows the order of three steps and no resource. The record is begun before anything is made, and
ended after:

    claim (on disk, status 0) → carry out (the domain's own transaction, on disk) → end (status, id of what was made)

The two files cannot be committed together, so there is a moment between any two steps, and the process may die in
each. Before *claim* nothing has happened: a repetition begins anew. Between *claim* and *end* nobody can tell whether
it was carried out, so a repetition is told exactly that (409 outcome-unknown) and nothing is made: never two. After
*end* it is answered from what was made. The other order, making first, would make a second key after a crash.
Where several hosts share the store, one that repeats what another has begun says for a while that it is in progress.
What the domain refused has changed nothing, so its claim is given back and the key may be used again.
A secret is never kept, so no repetition can show it; it says so instead.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiohttp import web

from keystile.keys.errors import KeyRuleBroken
from keystile.management.access import Access
from keystile.management.api.operation import Call
from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.entry import AccessRefused
from keystile.storage.errors import StoreError
from keystile.storage.remembered import Remembered

log = logging.getLogger(__name__)

FIELD: Final = "Idempotency-Key"
LONGEST: Final = 255
_KEY: Final = re.compile(rf"[!-~]{{1,{LONGEST}}}")
_GONE: Final = frozenset({"no_such_key", "no_such_credential", "no_such_account", "no_such_token"})
# Those being answered by this process: a record at status 0 that is not among them was cut off.
_pending: WeakKeyDictionary[Access, set[tuple[str, str]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: the answer that shows it, and the id under which a repetition finds it again."""

    answer: web.Response
    reference: str


Make = Callable[[], Awaitable[Made]]
Again = Callable[[str], Awaitable[web.Response]]


async def once(call: Call[Any], make: Make, again: Again) -> web.Response:
    """Answer by ``make``; a repetition (same Idempotency-Key, same request) by ``again``, which is given the id.

    Raises ApiProblem: 422 where the same Idempotency-Key came with another request, 409 while the first one is
    being answered or when nobody knows how it ended.
    """
    name = _name(call.request)
    if name is None:
        return (await make()).answer
    pending = _pending.setdefault(call.parts.access, set())
    mine = (call.identity.account.id, name)
    if mine in pending:
        raise ApiProblem(Problem.IN_PROGRESS, field=FIELD, headers={"Retry-After": "1"})
    pending.add(mine)
    try:
        return await _claimed(call, name, make, again)
    finally:
        pending.discard(mine)


async def _claimed(call: Call[Any], name: str, make: Make, again: Again) -> web.Response:
    asked = _digest(call)
    access = call.parts.access
    known = await access.claim(call.identity.account.id, name, asked)
    if known is not None and known.request == asked and access.is_being_answered(known):
        raise ApiProblem(Problem.IN_PROGRESS, field=FIELD, headers={"Retry-After": "1"})
    if known is not None:
        return await _repeated(known, asked, again)
    try:
        made = await make()
    except (KeyRuleBroken, AccessRefused, ApiProblem):
        # Refused by a rule, so nothing was made. Any other fault may have come after the commit: the claim stays.
        await access.forget(call.identity.account.id, name)
        raise
    await _end(call, name, asked, made)
    return made.answer


async def _end(call: Call[Any], name: str, asked: bytes, made: Made) -> None:
    """Keep what was made. When that fails it is there all the same, and its secret must still be shown."""
    try:
        await call.parts.access.remember(
            call.identity.account.id, name, asked, made.answer.status, made.reference
        )
    except StoreError as fault:
        log.error("an answer to an Idempotency-Key could not be kept, repetitions will be refused: %s", fault)


async def _repeated(known: Remembered, asked: bytes, again: Again) -> web.Response:
    if known.request != asked:
        raise ApiProblem(Problem.KEY_REUSED, field=FIELD)
    if not known.status:
        raise ApiProblem(Problem.OUTCOME_UNKNOWN, field=FIELD)
    try:
        return await again(known.reference)
    except (KeyRuleBroken, AccessRefused) as broken:
        if broken.code not in _GONE:
            raise
        raise ApiProblem(Problem.GONE_SINCE, field=FIELD) from None


def _name(request: web.Request) -> str | None:
    given = request.headers.getall(FIELD, [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        detail = f"An Idempotency-Key is one field of 1 to {LONGEST} visible ASCII characters."
        raise ApiProblem(Problem.MALFORMED, detail, field=FIELD)
    return given[0]


def _digest(call: Call[Any]) -> bytes:
    """What is asked, in one spelling: white space and the order of members make no other request."""
    asked = [call.request.method, call.request.path, call.account, json.loads(call.body.model_dump_json())]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("ascii")).digest()
