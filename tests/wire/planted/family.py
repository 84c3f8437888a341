"""``python -m tests.wire.planted.family NAME``: the attack rows of one family, until the first that fails.

Law: chooses rows and shortens waits, nothing else. Exit code as pytest's; the last line names the row that failed.
"""

from __future__ import annotations

import sys

import pytest

from tests.wire import judge

FILES = ("tests/wire/test_attacks.py", "tests/wire/test_websocket_attacks.py", "tests/wire/test_caller_attacks.py")
#: Seconds to wait for an answer that does not come: a fault may well mean that.
PATIENCE = 1.5


class OnlyFamily:
    """A plugin: only rows whose names begin with the family's."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.failed: list[str] = []
        self.chosen = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if f"[{self.family}: " in item.name]
        self.chosen = len(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid.partition(f"[{self.family}: ")[2][:-1])


def main(family: str) -> int:
    """Run the rows."""
    judge.WAIT = PATIENCE
    only = OnlyFamily(family)
    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    code = pytest.main([*options, *FILES], plugins=[only])
    print(f"rows {only.chosen} failed {only.failed[0] if only.failed else '-'}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
