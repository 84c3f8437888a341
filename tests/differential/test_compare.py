"""What counts as laxer, and what the table says."""

from __future__ import annotations

import pytest

from tests.differential.compare import Row, differs, laxer, markdown, stricter
from tests.differential.seen import Seen, requests_in, statuses_in

REFUSED = Seen((), (400,), True)
SILENT = Seen((), (), True)
SERVED = Seen(("GET /any/a",), (200,), False)
SMUGGLED = Seen(("GET /any/a", "GET /any/smuggled"), (200, 200), False)


def row(ours: Seen, *others: Seen) -> Row:
    return Row("family", "name", {"Keystile": ours, **{f"other{i}": seen for i, seen in enumerate(others)}})


@pytest.mark.parametrize(
    ("ours", "others", "lax"),
    [
        (REFUSED, (REFUSED, REFUSED), False),
        (REFUSED, (SERVED, SMUGGLED), False),
        (SERVED, (REFUSED, REFUSED), True),
        (SERVED, (REFUSED, SILENT), True),
        (SERVED, (SERVED, REFUSED), False),
        (SMUGGLED, (SERVED, SERVED), True),
        (SMUGGLED, (SMUGGLED, REFUSED), False),
        (Seen(("GET /any/a",), (400,), True), (REFUSED, REFUSED), True),
        (Seen((), (200,), True), (REFUSED, REFUSED), True),
    ],
)
def test_laxer_is_what_lets_through_more_than_every_other(ours: Seen, others: tuple[Seen, ...], lax: bool) -> None:
    assert bool(laxer(row(ours, *others))) is lax


def test_a_hidden_request_is_said_even_where_others_let_through_as_many() -> None:
    two = Seen(("GET /any/a", "GET /any/b"), (200, 200), False)
    assert laxer(row(SMUGGLED, two, two)) == ["a hidden request reaches the upstream"]


def test_only_what_differs_is_in_the_table_and_laxer_rows_stand_in_front() -> None:
    rows = [row(REFUSED, REFUSED, SILENT), row(SERVED, REFUSED, REFUSED), row(REFUSED, SMUGGLED, REFUSED)]
    assert [differs(each) for each in rows] == [False, True, True]
    assert [stricter(each) for each in rows] == [False, False, True]
    text = markdown(rows, ["nginx/1", "HAProxy 2"])
    assert "3 rows, 2 with differences; stricter than one of the others in 1; **laxer than both in 1**" in text
    assert "- LAXER: family: name: more requests reach the upstream, it is answered without an error" in text
    assert "| family | name | 200: `GET /any/a` | 400, closed: nothing | 400, closed: nothing |" in text


def test_an_upstream_is_read_as_a_usual_server_reads() -> None:
    chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n"
    sized = b"POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    assert requests_in(chunked + sized + b"GET /c HTTP/1.0\r\n\r\n") == ["POST /a", "POST /b", "GET /c"]
    assert requests_in(chunked[:-1]) == requests_in(sized[:-1]) == []
    assert requests_in(b"nonsense\r\n\r\n") == ["?"]
    assert requests_in(b"GET /a HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"\r\n\r\n") == ["GET /a"]


def test_interim_answers_are_not_counted() -> None:
    assert statuses_in(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.0 400 Bad\r\n\r\n") == (200, 400)
