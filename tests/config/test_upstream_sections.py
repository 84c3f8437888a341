from __future__ import annotations

import pytest
from pydantic import ValidationError

from keystile.config.upstream_sections import ServerSection, UpstreamSection, kind_of_server

PLAIN = "http://127.0.0.1:9000"


def test_a_server_is_written_alone_or_with_a_share_of_its_own() -> None:
    assert [kind_of_server(each) for each in (PLAIN, {"url": PLAIN})] == ["<url>", "<server>"]
    upstream = UpstreamSection.model_validate({"servers": [PLAIN, {"url": PLAIN, "weight": 3}]})
    assert [type(each) is ServerSection for each in upstream.servers] == [False, True]


def test_servers_are_taken_in_turn_and_left_out_where_nothing_else_is_said() -> None:
    upstream = UpstreamSection.model_validate({"servers": [PLAIN]})
    assert (upstream.balance, upstream.health_check, upstream.max_in_flight) == ("round_robin", None, None)
    assert upstream.breaker is not None
    assert UpstreamSection.model_validate({"servers": [PLAIN], "breaker": None}).breaker is None


@pytest.mark.parametrize("wrong", [[], [PLAIN] * 101, [{"url": PLAIN, "weight": 0}], [5]])
def test_what_are_no_servers_is_refused(wrong: list[object]) -> None:
    with pytest.raises(ValidationError):
        UpstreamSection.model_validate({"servers": wrong})
