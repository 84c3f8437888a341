from pathlib import Path

from tests.soak.stopped import measure


async def test_others_serve_while_a_relay_is_stopped(tmp_path: Path) -> None:
    found = await measure(1.0, 1, 2, 3, tmp_path)
    assert not found.faults()
    assert found.running
    assert found.new
    assert max(found.stopped) >= 0.9, "what the stopped relay had accepted waits for it"
