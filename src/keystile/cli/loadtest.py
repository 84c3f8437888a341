"""``keystile loadtest``: make load by a scenario, show how it goes, and write a report with a verdict.

Law: this file reads the command line and arranges; what a run is stands in ``loadtest/``. The load tester is an extra
(``pip install 'keystile[loadtest]'``), so nothing of it is imported before it is known to be there.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keystile.cli import options
from keystile.cli.settings import read_settings
from keystile.cli.terminal import CommandFailed, colourful, show_json, show_table, styled

if TYPE_CHECKING:
    from keystile.config.model import Settings
    from keystile.loadtest.api import Seen as ApiSeen
    from keystile.loadtest.objectives import Objective
    from keystile.loadtest.preparing import Site
    from keystile.loadtest.records import Record
    from keystile.loadtest.scenarios import Scenario

_USUAL: Final = "steady"
_COMPARE: Final = "compare"
_OBJECTIVES: Final = "for example p99=50ms, failed=0.1%%, throughput=95%%, cap=exact; NAME=none takes one away"
_BUILT_IN: Final = """\
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
routes:
  - {path: /v4/contacts, methods: [GET], scope: ViewContacts, upstream: api}
  - {path: "/v4/contacts/{email}", methods: [GET], scope: ViewContacts, upstream: api}
  - {path: /v4/contacts, methods: [POST], scope: ModifyContacts, upstream: api}
  - {path: /v4/campaigns, methods: [GET], scope: ViewCampaigns, upstream: api}
  - {path: "/v4/campaigns/{name}", methods: [PUT, DELETE], scope: ModifyCampaigns, upstream: api}
"""
"""The routes of a demonstration where there is no gateway.yaml."""


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
        arguments.wrong("only compare takes files of reports")
    from keystile.loadtest import running

    scenario, objectives = _chosen(arguments)
    if not running.is_installed():
        raise CommandFailed(running.MISSING)
    with _ending_as_ctrl_c():
        record = _run(arguments, scenario, objectives)
    page = _write(record, arguments.report or Path(_file_name(record)))
    if arguments.json:
        show_json(_for_programs(record, page))
    else:
        _show(record, page)
    return 0 if record.passed else 1


@contextmanager
def _ending_as_ctrl_c() -> Iterator[None]:
    """While the block lasts, SIGTERM ends it as Ctrl-C does: with everything cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
        arguments.wrong(f"there is no scenario {arguments.scenario!r}; there are {', '.join(SCENARIOS)}, and compare")
    try:
        return scenario, settle(scenario.objectives, arguments.objective)
    except BadObjective as error:
        arguments.wrong(str(error))
        raise  # not reached: the line above ends the process


def _run(arguments: argparse.Namespace, scenario: Scenario, objectives: tuple[Objective, ...]) -> Record:
    """Make load, and sum up what came of it."""
    from keystile.loadtest import preparing, running, summing
    from keystile.loadtest.progress import Display

    wishes = preparing.Wishes(arguments.users, arguments.rate, arguments.seconds, arguments.writes, arguments.held_path)
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with _site(arguments, scenario) as (site, seen):
        try:
            plan, notes = preparing.prepare(scenario, wishes, site)
        except preparing.CannotRun as error:
            raise CommandFailed(str(error)) from None
        _announce(scenario, site, notes)
        display = Display(sys.stderr, plan.seconds, renews=colourful(sys.stderr))
        try:
            yielded = running.run(plan, display.show)
        except running.RunFailed as error:
            raise CommandFailed(str(error)) from None
        finally:
            display.finish()
    chosen = preparing.adjusted(scenario, wishes)
    return summing.record(chosen, plan, yielded, seen(), objectives, notes, summing.told_now(began))


# -- what is called -----------------------------------------------------------------------------------------

Seen = Callable[[], "ApiSeen | None"]


@contextmanager
def _site(arguments: argparse.Namespace, scenario: Scenario) -> Iterator[tuple[Site, Seen]]:
    """What is called, while the block lasts; and, after it, what its API saw."""
    if arguments.url is not None:
        yield _given(arguments), lambda: None
        return
    from keystile.loadtest import ground, target
    from keystile.loadtest.preparing import Site

    settings = _demo_settings(arguments.file)
    try:
        with ground.arranged(settings.operations, settings.keys, settings.limits, scenario.keys) as made:
            where = target.read(f"http://127.0.0.1:{made.port}")
            yield Site(where, settings.operations, made.keys, _field(settings), _cap(settings), True), lambda: made.seen
    except ground.GroundFailed as error:
        raise CommandFailed(str(error)) from None


def _given(arguments: argparse.Namespace) -> Site:
    """The gateway at --url, with the routes of gateway.yaml."""
    from keystile.loadtest import credentials, target
    from keystile.loadtest.preparing import Site

    try:
        where = target.read(arguments.url, arguments.i_may_load, str(arguments.ca or ""))
        keys = credentials.read(*_key_text(arguments.key_file))
    except (target.BadTarget, credentials.BadKeys) as error:
        raise CommandFailed(str(error)) from None
    settings = read_settings(arguments.file, warnings=False)
    return Site(where, settings.operations, keys, _field(settings), _cap(settings), False)


def _key_text(file: Path | None) -> tuple[str, str]:
    """The text that holds the keys, and what it is called. What stands in the environment no child gets to see."""
    from keystile.loadtest.credentials import ENVIRONMENT

    given = os.environ.pop(ENVIRONMENT, "")
    if file is None:
        return given, ENVIRONMENT
    try:
        return file.read_text(encoding="utf-8"), str(file)
    except (OSError, UnicodeError) as error:
        raise CommandFailed(f"{file}: cannot be read ({error.__class__.__name__})") from None


def _demo_settings(file: Path) -> Settings:
    """The settings whose routes and cap the demonstration has; a few routes where there is no gateway.yaml."""
    if file != options.DEFAULT_FILE or file.exists():
        return read_settings(file, warnings=False)
    with tempfile.TemporaryDirectory(prefix="keystile-loadtest-") as folder:
        written = Path(folder) / file.name
        written.write_text(_BUILT_IN, encoding="utf-8")
        return read_settings(written, warnings=False)


def _field(settings: Settings) -> str:
    return settings.keys.headers[0] if settings.keys.headers else "X-Api-Key"


def _cap(settings: Settings) -> int:
    return settings.limits.concurrent_requests_per_ip


# -- what is said --------------------------------------------------------------------------------------------


def _announce(scenario: Scenario, site: Site, notes: Sequence[str]) -> None:
    whose = " (a demonstration)" if site.is_ours else ""
    print(f"{styled(scenario.name, 'bold', sys.stderr)}: {scenario.what}", file=sys.stderr)
    print(f"load goes to {site.target.url}{whose}", file=sys.stderr)
    for note in notes:
        print(note, file=sys.stderr)


def _file_name(record: Record) -> str:
    """``loadtest-steady-20261128T034600Z.html``."""
    return f"loadtest-{record.scenario}-{re.sub('[-:]', '', record.began)}.html"


def _write(record: Record, page: Path) -> Path:
    """The report, and its numbers beside it."""
    from keystile.loadtest import records, report

    return _save(page, report.page(record), records.write(record))


def _save(page: Path, html: str, numbers: str | None) -> Path:
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
        if numbers is not None:
            page.with_suffix(".json").write_text(numbers, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{page}: {error.strerror}") from None
    return page


def _show(record: Record, page: Path) -> None:
    from keystile.loadtest import wording

    rows = [
        (
            "kept" if each.passed else "MISSED",
            each.objective.name,
            wording.limit(each.objective),
            wording.measured(each),
        )
        for each in record.verdicts
    ]
    show_table(("VERDICT", "OBJECTIVE", "LIMIT", "MEASURED"), rows, "no objectives")
    for note in record.notes:
        print(note)
    verdict = styled("passed", "green") if record.passed else styled("failed", "red")
    print(f"{verdict}; the report is {page}")


def _for_programs(record: Record, page: Path) -> object:
    verdicts = [
        {
            "objective": each.objective.name,
            "limit": each.objective.limit,
            "measured": each.measured,
            "passed": each.passed,
        }
        for each in record.verdicts
    ]
    return {
        "passed": record.passed,
        "report": str(page),
        "numbers": str(page.with_suffix(".json")),
        "verdicts": verdicts,
    }


def _compare(arguments: argparse.Namespace) -> int:
    """Compare two runs; 1 where the second is worse."""
    from keystile.loadtest import comparison, records, report

    if len(arguments.records) != 2:
        arguments.wrong("compare takes two files: before.json after.json")
    try:
        before, after = map(records.load, arguments.records)
    except records.BadRecord as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from None
    found = comparison.compare(before, after)
    page = _save(arguments.report or Path("loadtest-compare.html"), report.comparison_page(found), None)
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
    return int(_within(text, 1, 1000, whole=True))


def _rate(text: str) -> float:
    return _within(text, 0.1, 20_000)


def _seconds(text: str) -> float:
    return _within(text, 1, 600)


def _within(text: str, least: float, most: float, *, whole: bool = False) -> float:
    pattern = "[0-9]{1,9}" if whole else r"[0-9]{1,9}(\.[0-9]{1,6})?"
    if not re.fullmatch(pattern, text) or not least <= float(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
    return float(text)
