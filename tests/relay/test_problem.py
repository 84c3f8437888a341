"""What a refusal says: as JSON that a client can read, of the length that its head tells, however often it is said."""

from __future__ import annotations

import json

from keystile.relay.problem import REMEMBERED, _problems, problem
from keystile.relay.refusal import RETRY_AFTER, Refusal


def said_by(
    refusal: Refusal, request_id: bytes, *, detail: str | None = None, as_service: bool = False
) -> tuple[bytes, bytes]:
    """Head, as far as the request's id, and body."""
    said = problem(refusal, request_id, detail=detail, as_service=as_service)
    return said.head, said.before + request_id + said.after


def test_problem_types_are_urns_and_one_slug_means_one_status() -> None:
    by_slug: dict[str, set[int]] = {}
    for refusal in Refusal:
        head, body = said_by(refusal, b"abc")
        assert json.loads(body)["type"] == f"urn:keystile:problem:{refusal.slug}"
        assert (b"Retry-After: " in head) == (refusal in RETRY_AFTER)
        assert (b"WWW-Authenticate: " in head) == (refusal.status == 401)  # RFC 9110 §15.5.2
        by_slug.setdefault(refusal.slug, set()).add(refusal.status)
    assert all(len(statuses) == 1 for statuses in by_slug.values())


def test_a_detail_of_its_own_replaces_the_usual_one() -> None:
    _, body = said_by(Refusal.BAD_PATH, b"abc", detail='a "quote" and ü')
    assert json.loads(body)["detail"] == 'a "quote" and ü'
    assert body.isascii()


def test_each_answer_has_its_own_id_and_detail_however_often_the_same_is_said() -> None:
    for as_service in (False, True, False):
        for number in range(3):
            for detail in (None, "one", "other"):
                _, body = said_by(Refusal.SCOPE_MISSING, b"r-%d" % number, detail=detail, as_service=as_service)
                said = json.loads(body)
                assert said["request_id"] == f"r-{number}"
                assert said["detail"] == (detail or Refusal.SCOPE_MISSING.detail)
                assert said.get("Error") == (said["detail"] if as_service else None)


def test_what_is_remembered_of_refusals_is_bounded() -> None:
    """Each address that a key may not come from is a detail of its own."""
    for number in range(REMEMBERED * 3):
        _, body = said_by(Refusal.ADDRESS_NOT_ALLOWED, b"abc", detail=f"from {number}")
        assert json.loads(body)["detail"] == f"from {number}"
    assert len(_problems) <= REMEMBERED


def test_ids_of_every_length_give_an_answer_of_that_length() -> None:
    for size in (1, 2, 32, 128, 32):
        head, body = said_by(Refusal.NOT_FOUND, b"i" * size)
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert json.loads(body)["request_id"] == "i" * size


def test_to_the_services_own_clients_the_detail_is_said_in_their_member_too() -> None:
    _, body = said_by(Refusal.INVALID_KEY, b"abc", as_service=True)
    said = json.loads(body)
    assert said["Error"] == said["detail"] == Refusal.INVALID_KEY.detail
