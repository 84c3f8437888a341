"""The judge sees what it must see: each fault is planted in an account that is otherwise whole, and is told."""

from __future__ import annotations

from math import inf

import pytest

from tests.chaos.facts import Facts
from tests.chaos.judge import Account, judge, timeline
from tests.chaos.kinds import CUT, LEFT, NO_CONNECTION
from tests.chaos.ledger import Entry, Ledger
from tests.chaos.rules import TOO_MANY, Column
from tests.chaos.seen import Records, Seen
from tests.chaos.story import EVENTS, Excuse, Story

ADDRESS = "127.0.1.1"
RELAY, PID = b"a" * 20, 77


class Told:
    """A ledger, what servers saw, and a story, to be judged together."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.records = Records()
        self.story = Story()
        self.doomed: frozenset[int] = frozenset()

    def sent(
        self, kind: str, outcome: str = "200", *, at: float = 10.0, until: float = 10.1, problem: str = ""
    ) -> Entry:
        entry = self.ledger.begin(kind, at, ADDRESS)
        entry.client = (ADDRESS, 4000 + entry.number)
        entry.problem = problem
        if outcome:
            self.ledger.end(entry, until, outcome)
        return entry

    def seen(self, entry: Entry, server: str = "calm", *, surely: float = 0.0, until: float = 0.0) -> None:
        ended = min(entry.ended, entry.sent + 1)
        one = Seen(server, entry.number, ADDRESS, "GET", RELAY, entry.sent, surely or ended, until or ended)
        self.records.seen.append(one)

    def answered(self, kind: str, server: str = "calm", *, at: float = 10.0, until: float = 10.1) -> Entry:
        entry = self.sent(kind, at=at, until=until)
        self.seen(entry, server)
        return entry

    def happened(self, what: str, began: float, ended: float) -> None:
        event = self.story.begin(what, began)
        event.ended = ended
        event.pid = PID if EVENTS[what].field == "processes" else 0

    def judged(self) -> Account:
        pids = {RELAY: PID}
        return judge(
            self.ledger, self.records, self.story, Facts(self.ledger, self.records, self.story, pids, self.doomed)
        )


def only_fault(told: Told) -> str:
    """The one thing that remains."""
    account = told.judged()
    assert account.is_whole
    [fault] = account.remainder
    return fault.text


def test_a_whole_account_has_no_remainder() -> None:
    told = Told()
    for _ in range(20):
        told.answered("GET, kept connection")
    told.sent("wrong key", "401")
    account = told.judged()
    assert (account.sent, account.column(Column.ANSWERED), account.highest) == (21, 21, 20)
    assert account.is_whole
    assert not account.remainder


# -- planted faults --------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_is_told() -> None:
    told = Told()
    told.seen(told.sent("GET, kept connection", ""))
    assert "no answer" in only_fault(told)


def test_an_answer_that_comes_twice_is_told() -> None:
    told = Told()
    entry = told.answered("GET, kept connection")
    told.ledger.end(entry, 10.2, "200")
    assert "ended twice" in only_fault(told)


def test_another_requests_answer_is_told() -> None:
    told = Told()
    told.seen(told.sent("GET, kept connection", "wrong: 200 to request 4"))
    assert "wrong: 200 to request 4" in only_fault(told)


def test_the_twenty_first_in_flight_is_told_over_all_servers_together() -> None:
    told = Told()
    for _ in range(11):
        told.answered("GET, kept connection")
    for _ in range(10):
        told.answered("GET, kept, shaky upstream", "shaky1")
    assert only_fault(told) == f"21 requests of {ADDRESS} were in flight at once"


def test_one_whose_end_is_not_known_exactly_is_not_held_against_anybody() -> None:
    told = Told()
    for _ in range(20):
        told.answered("GET, kept connection", at=10.0, until=11.0)
    left = told.sent("leaves before the answer", LEFT, at=9.0, until=9.5)
    told.seen(left, surely=9.4, until=10.5)
    assert not told.judged().remainder


@pytest.mark.parametrize("again", ["calm", "shaky1"])
def test_a_request_that_must_not_be_repeated_and_was_seen_twice_is_told(again: str) -> None:
    told = Told()
    told.seen(told.answered("POST with length"), again)
    assert any("was seen 2 times" in fault.text for fault in told.judged().remainder)


def test_an_idempotent_request_may_be_seen_twice_only_where_its_upstream_failed() -> None:
    told = Told()
    told.seen(told.answered("GET, kept, shaky upstream", "shaky1"), "shaky2")
    assert "was seen 2 times" in only_fault(told)
    told.happened("server: close", 9.9, 10.05)
    assert not told.judged().remainder


def test_a_post_is_not_to_be_seen_twice_even_where_its_upstream_failed() -> None:
    told = Told()
    told.happened("server: close", 9.9, 10.05)
    told.seen(told.answered("POST, shaky upstream", "shaky1"), "shaky2")
    assert "was seen 2 times" in only_fault(told)


def test_a_request_that_was_refused_and_yet_forwarded_is_told() -> None:
    told = Told()
    told.seen(told.sent("key that was deleted", "401"))
    assert "and yet seen" in only_fault(told)


def test_a_key_that_was_deleted_and_still_opens_is_told() -> None:
    told = Told()
    told.answered("key that was deleted")
    assert "key that was deleted" in only_fault(told)


def test_an_answer_that_no_server_has_given_is_told() -> None:
    told = Told()
    told.sent("GET, kept connection")
    assert "no server has seen it" in only_fault(told)


def test_a_request_at_a_server_of_another_upstream_is_told() -> None:
    told = Told()
    told.answered("GET, kept connection", "shaky1")
    assert "none of its upstream's" in only_fault(told)


def test_a_request_that_nobody_sent_and_bytes_of_none_are_told() -> None:
    told = Told()
    told.records.seen.append(Seen("calm", 99, ADDRESS, "GET", RELAY, 10.0, 10.1, 10.1))
    told.records.surplus.append(10.2)
    texts = [fault.text for fault in told.judged().remainder]
    assert texts == ["calm saw a request that nobody sent (99)", "a server got bytes that belong to no request"]


def test_a_request_under_another_address_is_told() -> None:
    told = Told()
    told.answered("GET, kept connection")
    told.records.seen[0].address = "127.0.9.9"
    assert "comes from 127.0.9.9" in only_fault(told)


# -- what excuses, and what does not ---------------------------------------------------------------------


def test_a_cut_is_explained_by_the_death_of_its_relay_and_of_no_other() -> None:
    told = Told()
    entry = told.sent("GET, kept connection", CUT)
    entry.relay = RELAY
    assert "cut" in only_fault(told)
    told.happened("relay: kill -9", 10.05, 10.3)
    assert told.judged().column(Column.INSIDE) == 1
    entry.relay = b"b" * 20
    told.story.events[0].accepted = set()
    assert "cut" in only_fault(told)


def test_a_new_connection_was_inside_if_the_dead_relay_had_accepted_it() -> None:
    told = Told()
    entry = told.sent("GET, new connection", CUT)
    told.happened("relay: stopped, looked into, kill -9", 10.05, 10.3)
    told.story.events[0].accepted = {entry.client}
    assert told.judged().column(Column.INSIDE) == 1
    told.story.events[0].accepted = {("127.0.1.2", 1)}
    assert "cut" in only_fault(told)


def test_of_a_handshake_that_failed_no_port_is_known_and_the_moment_decides() -> None:
    told = Told()
    told.sent("GET over TLS, new", NO_CONNECTION).client = (ADDRESS, 0)
    told.happened("relay: stopped, looked into, kill -9", 10.05, 10.3)
    told.story.events[0].accepted = {("127.0.1.2", 1)}
    assert told.judged().column(Column.INSIDE) == 1
    told.story.events[0].began = 11.0
    assert told.judged().unexplained == 1


def test_a_relay_that_died_of_being_stopped_excuses_like_one_that_was_killed() -> None:
    told = Told()
    told.sent("GET, kept connection", CUT).relay = RELAY
    told.doomed = frozenset({PID})
    assert told.judged().column(Column.INSIDE) == 1


def test_a_relay_stopped_in_the_mutex_excuses_who_waited_for_it_and_nobody_else() -> None:
    told = Told()
    told.happened("relay: stopped for a moment", 9.5, 10.3)
    told.story.events[0].pid = PID
    told.sent("GET, kept connection", "503", problem="overloaded")
    assert told.judged().unexplained == 1
    told.doomed = frozenset({PID})
    assert told.judged().column(Column.REFUSED) == 1
    told.story.events[0].began = told.story.events[0].ended = 5.0
    assert told.judged().unexplained == 1


@pytest.mark.parametrize("event", [row.name for row in EVENTS.values() if not row.excuses])
@pytest.mark.parametrize("outcome", [CUT, NO_CONNECTION, "502", "503", "504", "500", "429"])
def test_events_that_excuse_nothing_excuse_nothing(event: str, outcome: str) -> None:
    told = Told()
    told.happened(event, 9.0, 11.0)
    told.sent("GET, kept, shaky upstream", outcome, problem="upstream-broken")
    assert told.judged().unexplained == 1


def test_reloads_and_upgrades_excuse_nothing() -> None:
    assert not any(row.excuses for row in EVENTS.values() if row.field == "configuration")


def test_a_502_is_explained_by_a_failure_of_its_own_upstream_only() -> None:
    told = Told()
    told.sent("GET, kept, shaky upstream", "502", problem="upstream-broken")
    assert "502 (upstream-broken)" in only_fault(told)
    told.happened("server: refuses", 9.9, 10.05)  # the other server took it all
    assert "502 (upstream-broken)" in only_fault(told)
    told.happened("server: garbage", 9.9, 10.05)
    assert told.judged().column(Column.REFUSED) == 1
    told.sent("GET, kept connection", "502", problem="upstream-broken")
    assert told.judged().unexplained == 1


def test_a_server_that_failed_may_be_left_out_a_little_longer_and_no_more() -> None:
    told = Told()
    told.happened("server: garbage", 1.0, 7.0)
    told.sent("GET, kept, lone upstream", "503", problem="no-server")
    assert told.judged().column(Column.REFUSED) == 1
    told.story.events[0].ended = 4.0
    assert told.judged().unexplained == 1


def test_a_skipped_event_excuses_nothing() -> None:
    told = Told()
    told.sent("GET, kept, shaky upstream", "502", problem="upstream-broken")
    told.happened("server: garbage", 9.9, 10.05)
    told.story.events[0].skipped = "why"
    assert told.judged().unexplained == 1


@pytest.mark.parametrize(("others", "explained"), [(19, False), (20, True)])
def test_a_429_needs_twenty_of_its_address_in_flight(others: int, explained: bool) -> None:
    told = Told()
    for _ in range(others):
        told.answered("crowd of 26", at=10.0, until=11.0)
    told.sent("crowd of 26", "429", at=10.4, until=10.5, problem=TOO_MANY)
    assert told.judged().unexplained == (not explained)


def test_twenty_one_after_the_other_are_not_twenty_at_once() -> None:
    told = Told()
    for number in range(30):
        told.answered("crowd of 26", at=10.0 + number, until=10.9 + number)
    told.sent("crowd of 26", "429", at=12.0, until=20.0, problem=TOO_MANY)
    assert told.judged().unexplained == 1


def test_a_kind_that_has_fewer_callers_than_slots_may_never_be_refused_for_the_cap() -> None:
    told = Told()
    for _ in range(25):
        told.answered("crowd of 26", at=10.0, until=11.0)
    told.sent("GET, kept connection", "429", at=10.4, until=10.5, problem=TOO_MANY)
    assert told.judged().unexplained == 1


def test_a_removed_doorbell_excuses_keys_that_were_changed_and_only_for_a_moment() -> None:
    told = Told()
    told.happened("doorbell: removed", 9.0, 9.0)
    entry = told.answered("key that was deleted")
    entry.note = "key k1"
    assert not told.judged().remainder
    told.story.events[0].began = told.story.events[0].ended = 1.0
    assert told.judged().unexplained == 1


def test_each_excuse_is_some_events() -> None:
    assert {excuse for row in EVENTS.values() for excuse in row.excuses} == set(Excuse)


def test_the_time_line_tells_what_went_on_around() -> None:
    told = Told()
    told.sent("GET, kept connection", CUT)
    told.happened("reload: limits", 9.5, inf)
    told.happened("store: locked", 1.0, 2.0)
    [fault] = told.judged().remainder
    assert timeline(fault, told.story) == ["-0.500 to …: reload: limits"]
