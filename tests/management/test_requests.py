from __future__ import annotations

import json

import pytest

from keystile.config.model import Metrics
from keystile.management import requests
from keystile.management.metrics import exposition
from keystile.management.requests import RequestCounts

BOTH = Metrics(routes=True, keys=True)


def shown(counts: RequestCounts, wanted: Metrics = BOTH) -> list[str]:
    return [line for line in exposition(counts.samples(wanted)).splitlines() if line and line[0] != "#"]


def test_sums_of_several_relays_are_added_up_under_route_status_and_refusal() -> None:
    counts = RequestCounts()
    rows = [["GET", "/v4/{id}", 200, "", 5], ["GET,POST", "/b", 403, "scope_missing", 1]]
    for _ in range(2):
        counts.add_routes(json.dumps(rows).encode())
    counts.add_routes(json.dumps([["", "", 401, "no_key", 1], ["*", "/c/*", 0, "", 1]]).encode())
    assert shown(counts) == [
        'keystile_route_requests_total{method="GET",route="/v4/{id}",status="200",refusal="none"} 10',
        'keystile_route_requests_total{method="GET,POST",route="/b",status="403",refusal="scope_missing"} 2',
        'keystile_route_requests_total{method="none",route="none",status="401",refusal="no_key"} 1',
        'keystile_route_requests_total{method="*",route="/c/*",status="none",refusal="none"} 1',
    ]


def test_keys_are_told_only_where_that_is_asked_for_and_so_are_routes() -> None:
    counts = RequestCounts()
    counts.add_usage(json.dumps([["a1", 5, "", 2], ["a1", 6, "", 3], ["a1", 6, "scope-missing", 1]]).encode())
    counts.add_routes(json.dumps([["GET", "/a", 200, "", 1]]).encode())
    assert shown(counts, Metrics(routes=False, keys=False)) == []
    assert len(shown(counts, Metrics())) == 1
    assert shown(counts, Metrics(routes=False, keys=True)) == [
        'keystile_key_requests_total{key="a1",problem="none"} 5',
        'keystile_key_requests_total{key="a1",problem="scope-missing"} 1',
    ]


def test_however_much_is_called_there_are_no_more_lines_than_may_be_and_no_request_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "MOST", 3)
    counts = RequestCounts()
    for _ in range(2):
        for number in range(9):
            counts.add_routes(json.dumps([["GET", f"/{number}", 200, "", 1]]).encode())
    lines = shown(counts)
    assert len(lines) == 4
    assert lines[-1] == 'keystile_route_requests_total{method="other",route="other",status="other",refusal="other"} 12'
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == 18


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"5", b"[5]", b"[[]]", b'[["GET","/a","x","",1]]', b'[["GET","/a",200,"",[]]]']
)
def test_what_is_no_sum_is_left_out_whole(payload: bytes, caplog: pytest.LogCaptureFixture) -> None:
    counts = RequestCounts()
    counts.add_routes(payload)
    assert shown(counts) == []
    assert "cannot be read" in caplog.text


def test_a_thousand_routes_with_ten_statuses_are_ten_thousand_lines_and_not_one_more() -> None:
    counts = RequestCounts()
    routes = [f"/v4/things/{number}/{{id}}" for number in range(1200)]
    rows = [["GET", route, status, "", 1] for route in routes for status in range(200, 210)]
    for first in range(0, len(rows), 400):
        counts.add_routes(json.dumps(rows[first : first + 400]).encode())
    assert len(shown(counts)) == requests.MOST + 1


def test_what_is_kept_goes_on_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST", 2)
    counts, following = RequestCounts(), RequestCounts()
    for number in range(4):
        counts.add_routes(json.dumps([["GET", f"/{number}", 0, "", 2]]).encode())
        counts.add_usage(json.dumps([[f"k{number}", 5, "", 1]]).encode())
    following.add_routes(json.dumps([["GET", "/else", 200, "", 1]]).encode())
    following.restore(json.loads(json.dumps(counts.kept())))
    assert shown(following) == shown(counts)
    for each in (counts, following):
        each.add_routes(json.dumps([["GET", "/0", 0, "", 1], ["GET", "/3", 0, "", 1]]).encode())
    assert shown(following) == shown(counts)
