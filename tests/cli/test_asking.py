from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystile.cli.asking import ask_gateway
from keystile.cli.terminal import CommandFailed
from keystile.process import control

BROKEN = "upstreams: {api: {servers: [\n"


def answer(store: Path) -> dict[str, Any]:
    return {"store": str(store)}


def test_a_broken_file_is_no_obstacle_while_its_store_can_be_told(gateway_file: Path) -> None:
    gateway_file.write_text("workers: many\nstore: sqlite:///data/keys.db\n")
    assert ask_gateway(gateway_file, answer) == {"store": str(gateway_file.parent / "data" / "keys.db")}


def test_where_it_is_a_guess_whoever_answers_must_be_of_this_file(
    gateway_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway_file.write_text(BROKEN)
    monkeypatch.setattr(control, "ask", lambda store: {"file": str(gateway_file)})
    assert ask_gateway(gateway_file, answer) == {"store": str(gateway_file.parent / "keystile.db")}
    monkeypatch.setattr(control, "ask", lambda store: {"file": "/etc/other.yaml"})
    with pytest.raises(CommandFailed, match=r"runs the gateway of /etc/other\.yaml") as failed:
        ask_gateway(gateway_file, answer)
    assert "can only be guessed" in str(failed.value)


def test_nobody_there_is_said_with_what_keeps_the_file_from_being_read(gateway_file: Path) -> None:
    gateway_file.write_text(BROKEN)
    with pytest.raises(CommandFailed, match="no gateway answers") as failed:
        ask_gateway(gateway_file, answer)
    assert "gateway.yaml:" in str(failed.value)
    gateway_file.unlink()
    with pytest.raises(CommandFailed, match="cannot be read"):
        ask_gateway(gateway_file, answer)
