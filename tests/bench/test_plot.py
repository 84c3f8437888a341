from __future__ import annotations

from xml.etree import ElementTree

import pytest
from bench.cases import CASES
from bench.plot import BROKEN, micro, plot
from bench.record import Record
from bench.svg import WIDTH
from bench.turn import Failure, Turn

from tests.bench.examples import RUN, paced, turn
from tests.bench.test_svg import NAMESPACE


def picture(turns: list[Turn], failures: list[Failure] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(plot(Record([dict(RUN)], turns, failures or [])))


def words(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{NAMESPACE}text")]


def widths(root: ElementTree.Element, kind: str) -> list[float]:
    """Of the bars of a class, the legend's left out (it comes first)."""
    bars = [float(box.get("width", "0")) for box in root.iter(f"{NAMESPACE}rect") if box.get("class") == kind]
    return bars[1:] if kind in ("ours", "ours-pale", "other") else bars


def test_a_bar_is_as_long_as_its_cpu_and_parted_as_user_and_system() -> None:
    root = picture([turn("haproxy", 20), turn("keystile", 30)])
    assert widths(root, "ours")[0] / widths(root, "measure")[0] == pytest.approx(1.5, rel=0.01)
    assert widths(root, "ours")[0] / widths(root, "ours-pale")[0] == pytest.approx(0.75, rel=0.01)


def test_figures_and_ratios_stand_beside_the_bars() -> None:
    said = words(picture([turn("haproxy", 20), turn("keystile", 26.4), turn("caddy", 400)]))
    for text in ("same request each time", "26.4 µs", "1.32×", "400 µs", "20×", "1.00×"):
        assert text in said


def test_a_bar_much_longer_than_haproxys_is_broken_and_leaves_the_others_their_length() -> None:
    root = picture([turn("haproxy", 20), turn("keystile", 30), turn("caddy", 2000)])
    longest = max(widths(root, "other-pale"))
    assert longest / widths(root, "measure")[0] == pytest.approx(BROKEN / 0.75, rel=0.01)
    breaks = [line for line in root.iter(f"{NAMESPACE}line") if line.get("class") == "ground-line"]
    assert len(breaks) == 4  # two in the legend, two here


def test_who_has_no_figure_in_a_case_has_a_word_there() -> None:
    turns = [turn(name, case=case) for case in ("same", "429", "tls") for name in ("haproxy", "caddy")]
    turns = [each for each in turns if (each.gateway, each.case) not in (("caddy", "429"), ("caddy", "tls"))]
    said = words(picture([*turns, turn("haproxy", case="log")], [Failure(1, "tls", "caddy", "died")]))
    assert {"cannot do it", "failed", "not measured"} <= set(said)


def test_added_latency_has_its_panel_with_both_ratios() -> None:
    turns = [turn("haproxy"), turn("keystile"), paced("direct", 100, 200), paced("haproxy", 140, 300)]
    said = words(picture([*turns, paced("keystile", 160, 350)]))
    assert "Added latency at 2,000 requests a second" in said
    assert {"0.060 ms", "0.150 ms", "1.50×"} <= set(said)
    assert any("p50 0.10 ms, p99 0.20 ms" in text for text in said)


def test_the_whole_lot_of_cases_stays_on_the_card() -> None:
    names = ("keystile", "haproxy", "nginx-lua", "envoy", "caddy", "traefik", "aiohttp")
    turns = [turn(name, 20.0 * (place + 1), case=case) for case in CASES for place, name in enumerate(names)]
    root = picture([*turns, paced("direct", 100, 200), *(paced(name, 140, 300) for name in names)])
    height = float(root.get("height", "0"))
    for each in root.iter():
        for x in ("x", "x1", "x2", "cx"):
            assert 0 <= float(each.get(x, "0")) <= WIDTH
        for y in ("y", "y1", "y2", "cy"):
            assert 0 <= float(each.get(y, "0")) < height


@pytest.mark.parametrize(
    "turns",
    [
        [turn("keystile")],
        [paced("direct", 100, 200)],
        [paced("direct", 100, 200), paced("haproxy", 90, 200), paced("keystile", 80, 100)],
        [paced("keystile", 80, 100)],
    ],
    ids=["no HAProxy", "nothing but direct", "nothing added", "no direct load"],
)
def test_little_makes_a_picture_too(turns: list[Turn]) -> None:
    assert picture(turns).tag == f"{NAMESPACE}svg"


@pytest.mark.parametrize(
    ("value", "text"), [(9.04, "9.0 µs"), (99.9, "99.9 µs"), (412.3, "412 µs"), (1234, "1.23 ms"), (12_340, "12.3 ms")]
)
def test_a_time_has_three_digits_or_so(value: float, text: str) -> None:
    assert micro(value) == text
