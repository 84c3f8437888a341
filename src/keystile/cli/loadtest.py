"""``keystile loadtest``: make load by a scenario, show how it goes, and write a report with a verdict.

Law: this file reads the command line and arranges; what a run is stands in ``loadtest/``. The load tester is an extra
(``pip install 'keystile[loadtest]'``), so nothing of it is imported before it is known to be there.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from keystile.cli import options, show_loadtest
from keystile.cli.loadtest_site import site
from keystile.cli.terminal import CommandFailed, colourful, show_json, show_table

if TYPE_CHECKING:
    from keystile.loadtest.objectives import Objective
    from keystile.loadtest.records import Record
    from keystile.loadtest.scenarios import Scenario

_USUAL: Final = "steady"
_COMPARE: Final = "compare"
_OBJECTIVES: Final = "for example p99=50ms, failed=0.1%%, throughput=95%%, cap=exact; NAME=none takes one away"


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``loadtest``."""
    parser = commands.add_parser(
        "loadtest", parents=[file_option], help="make load by a scenario, and write a report with a verdict"
    )
    add = parser.add_argument
    add("scenario", nargs="?", default=_USUAL, help="see --list; or compare, with two .json files of reports")
    add("records", nargs="*", type=Path, metavar="FILE.json", help="what compare compares: before and after")
    add("--list", action="store_true", help="say which scenarios there are")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--demo", action="store_true", help="load a gateway that is started for it (usual without --url)"
    )
    where.add_argument("--url", help="load the gateway at this address, such as http://127.0.0.1:8080")
    add("--key-file", type=Path, metavar="FILE", help="keys for --url, one a line; else in KEYSTILE_LOADTEST_KEYS")
    add("--i-may-load", metavar="HOST", help="say that you may load this host, which is not in a private network")
    add("--ca", type=Path, metavar="FILE", help="certificates to trust for https, instead of the system's")
    add("--writes", action="store_true", help="with --url: also call operations that change data")
    add("--held-path", metavar="PATH", help="with --url: a path that takes a second or longer, for at-once")
    add("--users", type=_users, metavar="N", help="how many callers at most (up to 1000)")
    add("--rate", type=_rate, metavar="N", help="requests a second of all together (up to 20000)")
    add("--seconds", type=_seconds, metavar="N", help="how long (up to 600)")
    add("--objective", action="append", default=[], metavar="NAME=LIMIT", help=_OBJECTIVES)
    add("--report", type=Path, metavar="FILE.html", help="where the report goes; its numbers go beside it, as .json")
    options.add_json(parser)
    parser.set_defaults(run=run, wrong=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run a scenario or compare two reports; 0 where all objectives were kept, else 1."""
    if arguments.list:
        return _list(arguments.json)
    if arguments.scenario == _COMPARE:
        return _compare(arguments)
    if arguments.records:
        _refuse(arguments, "only compare takes files of reports")
    from keystile.loadtest import running

    scenario, objectives = _chosen(arguments)
    if not running.is_installed():
        raise CommandFailed(running.MISSING)
    with _ending_as_ctrl_c():
        record = _run(arguments, scenario, objectives)
    page = show_loadtest.write(record, arguments.report or Path(show_loadtest.file_name(record)))
    if arguments.json:
        show_json(show_loadtest.for_programs(record, page))
    else:
        show_loadtest.show(record, page)
    return 0 if record.passed else 1


@contextmanager
def _ending_as_ctrl_c() -> Iterator[None]:
    """While the block lasts, SIGTERM ends it as Ctrl-C does: with everything cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse(arguments: argparse.Namespace, why: str) -> NoReturn:
    """End as argparse does where the command line is wrong."""
    arguments.wrong(why)
    raise SystemExit(2)


def _list(as_json: bool) -> int:
    from keystile.loadtest.scenarios import SCENARIOS

    if as_json:
        show_json(
            [{"name": each.name, "what": each.what, "objectives": each.objectives} for each in SCENARIOS.values()]
        )
        return 0
    show_table(("SCENARIO", "WHAT IT DOES"), [(each.name, each.what) for each in SCENARIOS.values()], "")
    return 0


def _chosen(arguments: argparse.Namespace) -> tuple[Scenario, tuple[Objective, ...]]:
    """The scenario and what must be kept; a word that nobody knows ends with exit code 2."""
    from keystile.loadtest.objectives import BadObjective, settle
    from keystile.loadtest.scenarios import SCENARIOS

    scenario = SCENARIOS.get(arguments.scenario)
    if scenario is None:
        _refuse(
            arguments, f"there is no scenario {arguments.scenario!r}; there are {', '.join(SCENARIOS)}, and compare"
        )
    try:
        return scenario, settle(scenario.objectives, arguments.objective)
    except BadObjective as error:
        _refuse(arguments, str(error))


def _run(arguments: argparse.Namespace, scenario: Scenario, objectives: tuple[Objective, ...]) -> Record:
    """Make load, and sum up what came of it."""
    from keystile.loadtest import preparing, running, summing
    from keystile.loadtest.progress import Display

    wishes = preparing.Wishes(arguments.users, arguments.rate, arguments.seconds, arguments.writes, arguments.held_path)
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with site(arguments, scenario) as (where, seen):
        try:
            plan, notes = preparing.prepare(scenario, wishes, where)
            objectives, unseen = preparing.visible(objectives, arguments.objective, plan, where)
        except preparing.CannotRun as error:
            raise CommandFailed(str(error)) from None
        notes = (*notes, *unseen)
        show_loadtest.announce(scenario, where, notes)
        display = Display(sys.stderr, plan.seconds, renews=colourful(sys.stderr))
        try:
            yielded = running.run(plan, display.show)
        except running.RunFailed as error:
            raise CommandFailed(str(error)) from None
        finally:
            display.finish()
    chosen = preparing.adjusted(scenario, wishes)
    return summing.record(chosen, plan, yielded, seen(), objectives, notes, summing.told_now(began))


def _compare(arguments: argparse.Namespace) -> int:
    """Compare two runs; 1 where the second is worse."""
    from keystile.loadtest import comparison, records, report

    if len(arguments.records) != 2:
        _refuse(arguments, "compare takes two files: before.json after.json")
    try:
        before, after = map(records.load, arguments.records)
    except records.BadRecord as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from None
    found = comparison.compare(before, after)
    page = show_loadtest.save(arguments.report or Path("loadtest-compare.html"), report.comparison_page(found), None)
    if arguments.json:
        show_json(comparison.for_programs(found, str(page)))
    else:
        show_table(
            ("", "OBJECTIVE", "BEFORE", "AFTER", "RATIO"), [*map(comparison.row, found.changes)], "no objectives"
        )
        print(f"{comparison.verdict(found)}; the comparison is {page}")
    return 1 if found.is_worse else 0


# -- numbers on the command line -----------------------------------------------------------------------------


def _users(text: str) -> int:
    from keystile.loadtest.scenarios import MOST_USERS

    return int(_within(text, 1, MOST_USERS, whole=True))


def _rate(text: str) -> float:
    from keystile.loadtest.scenarios import MOST_RATE

    return _within(text, 0.1, MOST_RATE)


def _seconds(text: str) -> float:
    from keystile.loadtest.scenarios import LONGEST

    return _within(text, 1, LONGEST)


def _within(text: str, least: float, most: float, *, whole: bool = False) -> float:
    pattern = "[0-9]{1,9}" if whole else r"[0-9]{1,9}(\.[0-9]{1,6})?"
    if not re.fullmatch(pattern, text) or not least <= float(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
    return float(text)
