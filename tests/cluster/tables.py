"""The account on paper, in Markdown.

Law: text of what was judged; judges nothing.
"""

from __future__ import annotations

from collections import Counter

from tests.cluster.diary import Diary
from tests.cluster.judging import COLUMNS, RULES, Account
from tests.cluster.lateness import outcomes

ROW = "rule"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table; numbers stand at the right by themselves in most readers."""
    lines = [f"| {' | '.join(each)} |" for each in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def tell(title: str, account: Account, diary: Diary, late: dict[str, dict[int, float]]) -> None:
    """Print one part of the account."""
    phases = list(dict.fromkeys(entry.phase for entry in diary.entries))
    sent = Counter(entry.phase for entry in diary.entries)
    columns = {rule.name: rule.column for rule in RULES}
    print(f"### {title}\n")
    rows = []
    for phase in phases:
        by_column: Counter[str] = Counter()
        for (its, rule), number in account.by_rule.items():
            if its == phase:
                by_column[columns[rule]] += number
        left = sent[phase] - by_column.total()
        lived = late.get(phase, {})
        longest = ", ".join(f"host {host}: {seconds * 1000:.0f} ms" for host, seconds in sorted(lived.items()))
        rows.append(
            [phase, f"{sent[phase]:,}", *(f"{by_column[each]:,}" for each in COLUMNS), str(left), longest or "not"]
        )
    print(table(["while", "sent", *COLUMNS, "remainder", "a deleted key still worked on"], rows))
    print()
    by_rule = [[rule.name, *(f"{account.by_rule[phase, rule.name]:,}" for phase in phases)] for rule in RULES]
    print(table([ROW, *phases], [row for row in by_rule if any(each != "0" for each in row[1:])]))
    changes = ", ".join(f"{what}: {number}" for what, number in sorted(outcomes(diary).items()))
    print(f"\nchanges of keys: {changes}; most of one address in hand, as the API saw it: {account.highest}")
