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


class Problem:
    """A refusal's answer in pieces: its head up to the request's id, and its body before and after that.

    The head goes on after the id with CRLF, what else it may say, and an empty line. ``said`` is the detail, ``size``
    the length of the ids that it is for, ``as_service`` whether it is for the service's own clients.
    """

    __slots__ = ("after", "as_service", "before", "head", "said", "size")

    def __init__(self, refusal: Refusal, said: str, size: int, as_service: bool) -> None:
        members: dict[str, object] = {
            "type": f"urn:keystile:problem:{refusal.slug}",
            "title": refusal.title,
            "status": refusal.status,
            "detail": said,
            "request_id": "",
        }
        self.said = said
        self.size = size
        self.as_service = as_service
        self.before: bytes = json.dumps(members).removesuffix('"}').encode("ascii")
        self.after: bytes = (f'", "Error": {json.dumps(said)}}}' if as_service else '"}').encode("ascii")
        self.head: bytes = b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nX-Request-Id: " % (
            refusal.status,
            REASONS[refusal.status],
            refusal.lines,
            len(self.before) + size + len(self.after),
        )


_problems: dict[tuple[int, str, int, bool], Problem] = {}
#: Of each refusal, by its number, the last one: a flood mostly says the same.
_last: list[Problem | None] = [None] * len(Refusal)


def problem(refusal: Refusal, request_id: bytes, *, detail: str | None = None, as_service: bool = False) -> Problem:
    """What ``refusal`` says. A flood of refusals should cost little: it is made once.

    ``request_id``: letters, digits and hyphens; ``detail``: one sentence instead of the usual one; ``as_service``: the
    member ``Error`` besides, in which the service's own calls say what is wrong.
    """
    number: int = refusal.number
    said = detail or refusal.detail
    size = len(request_id)
    last = _last[number]
    if last is not None and last.size == size and last.as_service == as_service and last.said == said:
        return last
    found = _problems.get((number, said, size, as_service))
    if found is None:
        if len(_problems) >= REMEMBERED:
            _problems.clear()  # whoever makes us say new things again and again gains nothing and costs no memory
        found = _problems[number, said, size, as_service] = Problem(refusal, said, size, as_service)
    _last[number] = found
    return found
