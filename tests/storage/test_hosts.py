from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from keystile.storage.errors import StoreUnreadable
from keystile.storage.hosts import (
    UNHEARD,
    Host,
    HostSays,
    differences,
    id_file_of,
    id_of,
    known_id,
    new_id,
    states_of,
)

ONE = HostSays("1" * 16, "one", "r1", "0.1.0", "source", 3, "aaaa", "by each host", "ok", (), 60.0)


def host(says: HostSays, silent: float = 0.0) -> Host:
    return Host(says, 2, since=940.0, heard=1000.0 - silent, asked=1000.0)


def test_an_id_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    mirror = tmp_path / "keystile-mirror.db"
    assert known_id(mirror) is None
    made = id_of(mirror)
    assert id_of(mirror) == known_id(mirror) == made
    assert stat.S_IMODE(id_file_of(mirror).stat().st_mode) == 0o600
    new_id(mirror)
    assert id_of(mirror) not in ("", made)
    assert [each.name for each in tmp_path.iterdir()] == ["keystile-mirror.db.host"]


def test_of_many_who_make_one_at_once_all_get_the_same(tmp_path: Path) -> None:
    for number in range(5):
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(id_of, [tmp_path / f"{number}.db"] * 8))) == 1


def test_a_file_that_holds_something_else_is_replaced(tmp_path: Path) -> None:
    mirror = tmp_path / "m.db"
    for content in (b"", b"\xff\xfe", b"../../etc/passwd\n"):
        id_file_of(mirror).write_bytes(content)
        assert known_id(mirror) is None
        made = id_of(mirror)
        assert known_id(mirror) == made


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadable, match="away"):
        id_of(tmp_path / "away" / "m.db")


def test_a_host_is_compared_with_this_one_and_one_that_is_silent_is_told_so() -> None:
    two = replace(ONE, id="2" * 16, name="two", program="0.2.0", settings="bbbb", slots="by valkey://v:6379/0 (refuse)")
    here, there, gone = states_of([host(ONE), host(two), host(ONE, UNHEARD + 0.1)], ONE.id)
    assert here.here
    assert (here.other_program, here.other_settings, here.other_slots) == (False, False, False)
    assert (there.here, there.other_program, there.other_settings, there.other_slots) == (False, True, True, True)
    assert [each.is_heard for each in (here, there, gone)] == [True, True, False]
    assert [each.is_heard for each in states_of([host(ONE), host(two)], ONE.id, UNHEARD + 0.1)] == [False, False]


def test_before_this_host_is_known_nobody_differs_from_it() -> None:
    (state,) = states_of([host(ONE)], None)
    assert (state.here, state.other_program, state.other_settings) == (False, False, False)


def test_a_sentence_tells_in_what_hosts_differ_the_most_common_first_and_of_silent_ones_nothing() -> None:
    two = replace(ONE, id="2", name="two")
    other = replace(ONE, id="3", name="three", program="0.2.0", settings="bbbb")
    silent = host(replace(ONE, id="4", name="four", program="0.0.9", settings="cccc"), UNHEARD + 1)
    assert differences(states_of([host(ONE), host(two), silent], ONE.id)) == ()
    assert differences(states_of([host(other), host(ONE), host(two), silent], ONE.id)) == (
        "Different programs: 0.1.0 (source) on one, two; 0.2.0 (source) on three.",
        "Different configurations: aaaa on one, two; bbbb on three.",
    )
    compiled = replace(two, build="compiled")
    assert differences(states_of([host(ONE), host(compiled)], ONE.id)) == (
        "Different programs: 0.1.0 (source) on one; 0.1.0 (compiled) on two.",
    )
    apart = replace(two, slots="by valkey://v:6379/0 (refuse)")
    assert differences(states_of([host(ONE), host(apart)], ONE.id)) == (
        "Different counts of slots: by each host on one; by valkey://v:6379/0 (refuse) on two.",
    )


def test_a_host_that_is_cut_off_says_so_and_not_that_all_others_are_away() -> None:
    two = replace(ONE, id="2", name="two", settings="bbbb")
    known = [host(ONE), host(two)]
    assert differences(states_of(known, ONE.id, UNHEARD + 5)) == (
        "This host was last heard of 20 s ago: it does not reach the database, so how the others do is not known here.",
    )
    (cut_off, *_) = differences(states_of([host(ONE, UNHEARD + 5), host(two)], ONE.id))
    assert cut_off.startswith("This host was last heard of 20 s ago")  # as "keystile status" sees it
