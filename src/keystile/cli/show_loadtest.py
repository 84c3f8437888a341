"""What a load test says: what it is about to do, how it went, and the files that hold the whole.

Law: words and files; nothing is measured or judged here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keystile.cli.terminal import CommandFailed, show_table, styled

if TYPE_CHECKING:
    from keystile.loadtest.preparing import Site
    from keystile.loadtest.records import Record
    from keystile.loadtest.scenarios import Scenario


def announce(scenario: Scenario, site: Site, notes: Sequence[str]) -> None:
    """Say what is about to be loaded, and what has to be known about it."""
    whose = " (a demonstration)" if site.is_ours else ""
    print(f"{styled(scenario.name, 'bold', sys.stderr)}: {scenario.what}", file=sys.stderr)
    print(f"load goes to {site.target.url}{whose}", file=sys.stderr)
    for note in notes:
        print(note, file=sys.stderr)


def file_name(record: Record) -> str:
    """``loadtest-steady-20261128T034600Z.html``."""
    return f"loadtest-{record.scenario}-{re.sub('[-:]', '', record.began)}.html"


def write(record: Record, page: Path) -> Path:
    """The report, and its numbers beside it."""
    from keystile.loadtest import records, report

    return save(page, report.page(record), records.write(record))


def save(page: Path, html: str, numbers: str | None) -> Path:
    """Write a page, and numbers beside it where there are any. Raises CommandFailed."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
        if numbers is not None:
            page.with_suffix(".json").write_text(numbers, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{page}: {error.strerror}") from None
    return page


def show(record: Record, page: Path) -> None:
    """Print verdicts, remarks, and where the report is."""
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


def for_programs(record: Record, page: Path) -> object:
    """What ``--json`` prints: figures in seconds, shares and requests a second."""
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
