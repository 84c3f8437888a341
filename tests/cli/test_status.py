import pytest

from keystile.process import control
from tests.cli.conftest import Run

STATUS = {
    "processes": [{"role": "supervisor", "pid": 10}, {"role": "management", "pid": 11}, {"role": "relay", "pid": 12}],
    "configuration": 1,
    "slots_taken": 3,
    "listeners": [{"address": "127.0.0.1:8080", "tls": False}, {"address": "127.0.0.1:8443", "tls": True}],
    "upstream_servers": [
        {"upstream": "api", "server": "a:80", "state": "used"},
        {"upstream": "api", "server": "unix:/run/b", "state": "down"},
    ],
    "store": "/var/lib/keystile/keystile.db",
}


def test_without_a_gateway_it_says_so_and_fails(run: Run) -> None:
    said = run("status", "--json")
    assert (said.code, said.out) == (1, "")
    assert "no gateway answers" in said.err


def test_programs_get_what_the_supervisor_answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ask", lambda store: STATUS)
    assert run("status", "--json").json == STATUS


def test_people_get_a_table_and_facts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ask", lambda store: STATUS)
    assert run("status").out == (
        "ROLE        PID\n"
        "supervisor  10\n"
        "management  11\n"
        "relay       12\n"
        "\n"
        "configuration     1\n"
        "slots taken       3\n"
        "listeners         127.0.0.1:8080, 127.0.0.1:8443 (TLS)\n"
        "upstream servers  api a:80 (used), api unix:/run/b (down)\n"
        "store             /var/lib/keystile/keystile.db\n"
    )
