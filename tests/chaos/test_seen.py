from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.seen import in_flight, most_at_once, read

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).map(tuple), max_size=12)


def test_what_a_server_wrote_is_read_and_what_it_had_when_it_was_killed_has_no_end(tmp_path: Path) -> None:
    file = tmp_path / "shaky1.seen"
    file.write_text(
        "b 1.0 1 501 127.0.1.1 GET aa\ne 1.5 1\nb 2.0 2 502 127.0.1.1 POST aa\nx 2.2 2.6 2\n"
        "b 3.0 3 503 127.0.1.2 GET bb\nb 4.0 1 504 127.0.1.1 GET cc\ne 4.5 1\ns 5.0 0\n"
    )
    records = read([file])
    found = [(each.request, each.began, each.surely_until, each.until) for each in records.seen]
    assert found == [(501, 1.0, 1.5, 1.5), (502, 2.0, 2.2, 2.6), (503, 3.0, 3.0, float("inf")), (504, 4.0, 4.5, 4.5)]
    assert {each.server for each in records.seen} == {"shaky1"}
    assert records.surplus == [5.0]
    assert [each.began for each in records.by_request()[502]] == [2.0]


@given(SPANS)
def test_the_most_at_once_is_what_counting_at_every_moment_finds(spans: list[tuple[int, int]]) -> None:
    counted = max((sum(began <= at < ended for began, ended in spans) for at in range(21)), default=0)
    assert most_at_once(spans)[0] == counted


def test_those_in_flight_are_counted_for_each_address(tmp_path: Path) -> None:
    file = tmp_path / "calm.seen"
    lines = [f"b 1.{n} {n} {n} 127.0.1.{n % 2} GET aa\n" for n in range(1, 8)]
    file.write_text("".join(lines) + "".join(f"e 2.{n} {n}\n" for n in range(1, 8)))
    assert in_flight(read([file]).seen) == {"127.0.1.1": (4, 1.7), "127.0.1.0": (3, 1.6)}
