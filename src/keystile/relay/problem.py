"""What a refusal says, as the bytes of its answer (RFC 9457): made once for all that are refused alike.

Law: bytes. Which refusal it is, and what it says in detail, others decide. (The refusals stand in a file of their own:
an enumeration like theirs cannot be compiled, and this is said with every one of them.)
"""

from __future__ import annotations

import json
from typing import Final

from keystile.relay.refusal import REASONS, Refusal

#: Answers that are kept: one for each refusal, what it says in detail (an address, missing permissions) and the length
#: of the request's id, which is mostly our own.
REMEMBERED: Final = 512
#: Of an answer, by refusal, detail, the length of the request's id, and whether it is the service's.
_answers: dict[tuple[int, str, int, bool], tuple[bytes, bytes, bytes]] = {}


def problem(
    refusal: Refusal, request_id: bytes, *, detail: str | None = None, as_service: bool = False
) -> tuple[bytes, bytes, bytes]:
    """A refusal's answer in pieces: its head up to the request's id, and its body before and after that.

    The head goes on after the id with CRLF, what else it may say, and an empty line. ``request_id``: letters, digits
    and hyphens; ``detail``: one sentence instead of the usual one; ``as_service``: the member ``Error`` besides, in
    which the service's own calls say what is wrong. A flood of refusals should cost little: what they say is made once.
    """
    said = detail or refusal.detail
    size = len(request_id)
    return _answers.get((refusal.number, said, size, as_service)) or _answer(refusal, said, size, as_service)


def _answer(refusal: Refusal, said: str, size: int, as_service: bool) -> tuple[bytes, bytes, bytes]:
    members: dict[str, object] = {
        "type": f"urn:keystile:problem:{refusal.slug}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": said,
        "request_id": "",
    }
    before = json.dumps(members).removesuffix('"}').encode("ascii")
    after = (f'", "Error": {json.dumps(said)}}}' if as_service else '"}').encode("ascii")
    head = b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nX-Request-Id: " % (
        refusal.status,
        REASONS[refusal.status],
        refusal.lines,
        len(before) + size + len(after),
    )
    if len(_answers) >= REMEMBERED:
        _answers.clear()  # whoever makes us say new things again and again gains nothing and costs no memory
    made = _answers[refusal.number, said, size, as_service] = head, before, after
    return made
