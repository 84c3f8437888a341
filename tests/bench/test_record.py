from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.record import Record, read
from bench.turn import Failure

from tests.bench.examples import RUN, paced, turn


def record() -> Record:
    turns = [turn("haproxy", 20), turn("keystile", 30), paced("direct", 100, 200)]
    return Record([dict(RUN)], turns, [Failure(2, "tls", "caddy", "died")], ["caddy in 429: it leaves out the cap"])


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    written = record()
    written.write(file)
    assert read([file]) == written


def test_a_file_holds_rows_beside_the_raw_turns(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    record().write(file)
    said = json.loads(file.read_text())
    assert said["machine"] == RUN["machine"]
    assert [row["gateway"] for row in said["rows"]] == ["haproxy", "keystile"]
    assert said["rows"][1]["ratio"]["median"] == pytest.approx(1.5)
    assert [row["gateway"] for row in said["latency"]] == ["direct"]
    assert said["turns"][0]["start"] == 0.5


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    written = record()
    written.write(file)
    written.turns.append(turn("keystile", 31, number=2))
    written.write(file)
    assert len(read([file]).turns) == 4
    assert list(tmp_path.iterdir()) == [file]


def test_rounds_of_several_files_are_counted_on(tmp_path: Path) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    Record([dict(RUN)], [turn("haproxy", 20, number=1), turn("haproxy", 20, number=2)]).write(files[0])
    Record([dict(RUN)], [turn("haproxy", 40)], [Failure(1, "tls", "caddy", "died")]).write(files[1])
    whole = read(files)
    assert [each.round for each in whole.turns] == [1, 2, 3]
    assert whole.failures[0].round == 3
    assert len(whole.runs) == 2


def test_versions_and_what_is_left_out_come_from_all_files_and_only_of_who_took_a_turn(tmp_path: Path) -> None:
    later = {**RUN, "gateways": {"keystile": "Keystile 0.2.0", "caddy": "Caddy 2.11.7"}}
    whole = Record([dict(RUN), later], [turn("keystile")])
    assert whole.versions() == {"keystile": "Keystile 0.1.0 / Keystile 0.2.0"}
    assert whole.left_out() == {}
    whole.turns.append(turn("caddy"))
    assert whole.left_out() == {"caddy": ["SHA-256 of the secret", "the cap for each address"]}


def test_a_result_of_an_older_bench_is_read(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    record().write(file)
    said = json.loads(file.read_text())
    del said["failures"], said["skipped"], said["latency"]
    for each in said["turns"]:
        del each["start"], each["load"]["pace"]
    file.write_text(json.dumps(said))
    old = read([file])
    assert (old.turns[0].start, old.turns[0].load.pace, old.failures) == (None, None, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"turns": [{}]}', '{"turns": 3}'])
def test_what_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "else.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"else\.json: not a result of this bench"):
        read([file])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.json"):
        read([tmp_path / "gone.json"])
