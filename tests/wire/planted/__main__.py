"""``python -m tests.wire.planted [FAMILY …]``: does each family of the attack suite notice its planted faults?

Law: prints a table. Exit code 1 where a fault goes unnoticed by its own family's rows, where it does not apply to the
source any more, or where rows fail without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.wire.planted.faults import FAULTS
from tests.wire.planted.plant import DoesNotApply, Found, look_for, unchanged


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.planted", description=__doc__)
    parser.add_argument("families", nargs="*", help="default: all")
    chosen = parser.parse_args(arguments).families
    wrong: list[str] = []
    faults = [fault for fault in FAULTS if not chosen or fault.family in chosen]
    print(f"| {'family':28} | rows | {'fault':74} | noticed by |\n|---|---|---|---|")
    for fault in faults:
        try:
            found = look_for(fault)
        except DoesNotApply as error:
            wrong.append(str(error))
            continue
        print(f"| {fault.family:28} | {found.rows:4} | {fault.why:74} | {found.row or 'NOBODY'} |", flush=True)
        if found.row is None:
            wrong.append(f"{fault.family}: nobody noticed: {fault.why}\n{found.said}")
    wrong += [complaint for family in dict.fromkeys(fault.family for fault in faults) if (complaint := _clean(family))]
    print(f"\n{len(faults)} faults in {len({fault.family for fault in faults})} families")
    print("\n".join(f"WRONG: {each}" for each in wrong) or "each was noticed by its own family's rows", flush=True)
    return 1 if wrong else 0


def _clean(family: str) -> str:
    """What is wrong without any fault: the proof above would be worth nothing."""
    found: Found = unchanged(family)
    if found.rows and found.row is None:
        return ""
    return f"{family}: fails without a fault: {found.row}\n{found.said}"


if __name__ == "__main__":
    sys.exit(main())
