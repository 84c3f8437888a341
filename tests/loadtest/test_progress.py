from __future__ import annotations

import io

from keystile.loadtest.progress import Display, bar, line
from keystile.loadtest.told import Progress


def moment(at: float, ended: int = 0, **more: int) -> Progress:
    counts = {"refused": 0, "wrong": 0, "open": 3, **more}
    return Progress(at, ended, counts["refused"], counts["wrong"], counts["open"], 0.0021, 0.0543)


def test_a_moment_is_told_in_one_line() -> None:
    told = line(moment(4.0, 1400, refused=12, wrong=2), moment(3.0, 400), 10)
    assert told == "4/10 s · 1,000 requests/s · p50 2.1 ms · p99 54.3 ms · 12 refused · 2 failed · 3 in flight"


def test_what_is_not_known_is_left_out() -> None:
    told = line(Progress(0.0, 0, 0, 0, 0, None, None), None, 10)
    assert told == "0/10 s · 0 requests/s · 0 refused · 0 in flight"


def test_on_a_terminal_one_line_renews_itself_and_goes_at_the_end() -> None:
    stream = io.StringIO()
    display = Display(stream, 10, renews=True)
    for at in range(1, 5):
        display.show(moment(at / 4))
    display.finish()
    said = stream.getvalue()
    assert "\n" not in said
    assert said.count("\r\x1b[K") == 5
    assert said.endswith("\r\x1b[K")


def test_elsewhere_a_plain_line_comes_every_three_seconds() -> None:
    stream = io.StringIO()
    display = Display(stream, 10, renews=False)
    for at in range(40):
        display.show(moment(at / 4))
    display.finish()
    said = stream.getvalue()
    assert "\x1b" not in said
    assert [each.split("/")[0] for each in said.splitlines()] == ["0", "3", "6", "9"]


def test_the_bar_fills_and_never_overflows() -> None:
    assert [bar(share).count("#") for share in (-1, 0, 0.5, 1, 7)] == [0, 0, 10, 20, 20]
    assert {len(bar(share)) for share in (-1, 0, 0.33, 1, 7)} == {22}
