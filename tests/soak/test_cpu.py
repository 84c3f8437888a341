from pathlib import Path

from tests.soak.cpu import measure


async def test_the_cpu_of_a_request_is_known_for_one_relay_and_for_two(tmp_path: Path) -> None:
    turns = await measure(1, 1.0, [1, 2], tmp_path)
    for [turn] in turns.values():
        assert turn.requests > 100
        assert 0 < turn.relays <= turn.all
