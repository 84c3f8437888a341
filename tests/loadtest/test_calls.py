from __future__ import annotations

from collections import Counter

import pytest

from keystile import app
from keystile.config.model import Needs, Operation
from keystile.loadtest.calls import BODY, LONG_BODY, NUMBER, WEIGHTS, Call, calls_of, key_only, slowly
from keystile.routing.route import Route
from keystile.routing.table import RouteTable
from tests.e2e.running import DOCUMENT

ANY_KEY = Needs()
GATEWAY = DOCUMENT.with_name("elasticemail-gateway.yaml")


def operation(path: str, *methods: str, row: int = 0, websocket: bool = False, needs: Needs = ANY_KEY) -> Operation:
    return Operation(methods, path, needs, "api", "here", row, websocket=websocket)


def test_the_real_apis_operations_are_all_called_and_reading_weighs_most() -> None:
    calls = calls_of(app.load_settings(GATEWAY).operations, "operations")
    weights: Counter[str] = Counter()
    for call in calls:
        weights[call.method] += call.weight

    assert len(calls) == 112
    assert weights["GET"] > 2 * (weights.total() - weights["GET"])
    assert set(weights) <= set(WEIGHTS)


def test_every_target_is_the_operation_that_it_is_made_from() -> None:
    settings = app.load_settings(GATEWAY)
    table = RouteTable(settings.operations)
    for call in calls_of(settings.operations, "operations"):
        found = table.find(call.method.encode(), call.target.replace(NUMBER, "7").encode())
        assert isinstance(found, Route), (call, found)
        assert (found.path, sorted(found.needs.all_of)) == (call.template, list(call.every))


def test_reads_are_nothing_but_get() -> None:
    operations = [operation("/a", "GET", "POST"), operation("/b", "DELETE"), operation("/c")]
    assert [(call.method, call.template) for call in calls_of(operations, "reads")] == [("GET", "/a"), ("GET", "/c")]


def test_without_leave_to_write_nothing_is_written() -> None:
    calls = calls_of([operation("/a"), operation("/b", "PUT")], "operations", writes=False)
    assert {call.method for call in calls} == {"GET"}


def test_calls_that_change_keys_and_websockets_are_never_made() -> None:
    operations = [operation("/v4/security/apikeys", "GET", "POST", row=-1), operation("/events", "GET", websocket=True)]
    assert calls_of(operations, "operations") == ()


def test_the_first_row_of_an_operation_wins() -> None:
    first = operation("/a/{x}", "GET", needs=Needs(all_of=frozenset({"A"})))
    (call,) = calls_of([first, operation("/a/{y}", "GET", needs=Needs(public=True))], "reads")
    assert (call.public, call.every) == (False, ("A",))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v4/contacts/{email}", "/v4/contacts/person{n}@example.com"),
        ("/v4/domains/{domain}", "/v4/domains/mail{n}.example.com"),
        ("/v4/x/{msgid}/y", "/v4/x/10{n}/y"),
        ("/v4/{whatever}", "/v4/sample{n}"),
        ("/v2/*", "/v2/sample{n}"),
        ("/ä/b c", "/%C3%A4/b%20c"),
    ],
)
def test_parameters_get_plausible_values(path: str, target: str) -> None:
    (call,) = calls_of([operation(path, "GET")], "reads")
    assert call.target == target


def test_a_key_may_call_what_its_scopes_allow() -> None:
    call = Call("GET", "/a", "/a", every=("A", "B"), some=("C", "D"))
    assert call.permits(["A", "B", "D"])
    assert not call.permits(["A", "B"])
    assert not call.permits(["A", "C", "D"])
    assert Call("GET", "/a", "/a").permits([])


def test_only_what_writes_has_a_body_and_what_drips_a_long_one() -> None:
    assert Call("GET", "/a", "/a").body == b""
    assert Call("DELETE", "/a", "/a").body == b""
    assert Call("POST", "/a", "/a").body == BODY
    assert key_only("/up", "POST", "drip").body == LONG_BODY


def test_slow_callers_read_slowly_what_others_read() -> None:
    calls = (Call("POST", "/a", "/a"), Call("GET", "/b", "/b"))
    assert [(call.target, call.manner) for call in slowly(calls)] == [("/b", "drip"), ("/b", "sip")]
    assert slowly(calls[:1]) == ()
