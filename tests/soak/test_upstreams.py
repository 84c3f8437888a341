from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.soak.upstreams import Account, soak


async def test_a_server_that_dies_costs_no_get_and_sends_no_post_twice(tmp_path: Path) -> None:
    found = await soak(0.0, 2, 20, tmp_path)
    assert not found.faults()
    assert found.gets[200] > 50
    assert found.posts[200] > 50
    assert found.deaths


def test_what_would_be_wrong_is_noticed() -> None:
    wrong = Account(
        2,
        gets=Counter({200: 5, 502: 1}),
        posts=Counter({502: 1}),
        lost_posts=[("r1", 100.0)],
        seen=Counter({"POST r1": 2, "GET r2": 2}),
        answered_posts={"r3"},
        after=Counter({503: 1}),
    )
    assert len(wrong.faults()) == 7
