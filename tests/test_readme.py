"""That the README is true where a machine can tell: refusals, commands, links.

To write the table of refusals again: ``python -m tests.test_readme``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from keystile.cli.main import build_parser
from keystile.relay.refusal import RETRY_AFTER, Refusal

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- refusals, from relay/refusal.py -->\n", "<!-- /refusals -->\n"


def refusals() -> str:
    """The table of refusals, one row for each."""
    rows = [
        f"| {each.status} | `{each.slug}` | {each.title} | {each.detail}{_again(each)} |" for each in Refusal
    ]
    return "\n".join(["| status | problem type | title | detail |", "| --- | --- | --- | --- |", *rows, ""])


def _again(refusal: Refusal) -> str:
    seconds = RETRY_AFTER.get(refusal)
    return f" (Retry-After: {seconds})" if seconds else ""


def test_the_table_of_refusals_is_the_one_that_the_code_has() -> None:
    assert README.read_text().partition(BEGIN)[2].partition(END)[0] == refusals()


def test_every_command_and_option_is_in_the_readme() -> None:
    text = README.read_text()

    def missing(parser: argparse.ArgumentParser, path: str) -> list[str]:
        found: list[str] = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    found += [] if re.search(rf"\b{name}\b", text) else [f"{path} {name}"]
                    found += missing(inner, f"{path} {name}")
            else:
                longest = max(action.option_strings, key=len, default="")
                known = longest in text or longest in ("--help", "--version", "--config")
                found += [] if known else [f"{path} {longest}"]
        return found

    assert missing(build_parser(), "keystile") == []


def test_every_link_leads_somewhere() -> None:
    for page in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), (page, target)


if __name__ == "__main__":
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}{refusals()}{END}{rest.partition(END)[2]}")
