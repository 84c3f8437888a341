"""A handful of rows through real nginx and HAProxy, where they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential import __main__ as command
from tests.differential.__main__ import OTHERS, compare, main
from tests.differential.compare import laxer
from tests.differential.servers import found, free_ports, version
from tests.lacking import needs
from tests.wire.client_attacks import ATTACKS

MISSING = [name for name in OTHERS if found(name) is None]
installed = needs(not MISSING, f"not installed: {', '.join(MISSING)}")
ROWS = {
    ("CL.TE", "short length"),
    ("TE.TE", "line feed before"),
    ("chunk sizes", "0x"),
    ("duplicate Host", "different"),
    ("TE.0", "POST with a request as chunks"),
    ("good-bad-good", "an empty line between is read over"),
}


@installed
async def test_keystile_is_not_laxer_than_both_on_a_handful_of_rows() -> None:
    rows = await compare([row for row in ATTACKS if (row.family, row.name) in ROWS], lanes=2)
    assert len(rows) == len(ROWS)
    seen = {(row.family, row.name): row.seen for row in rows}
    assert not [row for row in rows if laxer(row)]
    # All three serve what keeps the rules, so that "nothing came through" means something.
    served = seen["TE.0", "POST with a request as chunks"]
    assert {one.reached for one in served.values()} == {("POST /any/a",)}
    assert all(one.reached == () for one in seen["duplicate Host", "different"].values() if one.statuses == (400,))
    assert seen["CL.TE", "short length"]["Keystile"].statuses == (400,)


@installed
def test_the_command_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ATTACKS", [row for row in ATTACKS if (row.family, row.name) in ROWS])
    assert main(["--write", str(tmp_path / "table.md")]) == 0
    text = (tmp_path / "table.md").read_text()
    assert f"through {version('nginx')} and {version('haproxy')} with" in text
    assert "| TE.TE | line feed before | 400, closed: nothing |" in text


def test_it_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "found", lambda name: None)
    assert main([]) == 2
    assert "not installed: nginx, haproxy" in capsys.readouterr().err


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
