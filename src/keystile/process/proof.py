"""``python -m keystile.process.proof FD``: can this version take up the state of a gateway that runs?

Law: it looks, and changes nothing. Executed by the running supervisor from the code that lies on disk, with all that it
would hand over; says on standard output, in JSON, which ``version`` this is, and its ``fault`` (or null).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from keystile import __version__
from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.process import handover, snapshot
from keystile.process.charge import Charge
from keystile.process.handover import NotUnderstood, State
from keystile.process.memory import CounterPages
from keystile.process.supervisor import Parts
from keystile.storage import migrate
from keystile.storage.errors import StoreUnreadable
from keystile.storage.passwords import passwords_of


def look(fd: int) -> State:
    """The state, if all in it is understood here. Raises NotUnderstood, or whatever is wrong with it."""
    state = handover.read(fd)
    Charge.from_json(state.charge).made()
    parts = Parts(**state.parts)
    for module in (parts.relay.partition(":")[0], parts.relay_process, parts.management_process):
        importlib.import_module(module)
    _attach(state)
    return state


def _attach(state: State) -> None:
    """Open what is shared as a supervisor would."""
    SlotTable.attach(os.dup(state.files.slots)).close()
    CounterPages.attach(os.dup(state.files.counters)).close()
    ServerTable.attach(os.dup(state.files.servers)).close()
    if state.files.before >= 0:
        snapshot.read(state.files.before)
    store = snapshot.read(state.files.snapshot).settings.store
    for path, series in ((store, migrate.STORE), (passwords_of(store), migrate.PASSWORDS)):
        migrate.must_let_go_on(path, series)


def main() -> int:
    """Say what came of it."""
    said: dict[str, Any] = {"version": __version__, "fault": None}
    try:
        look(int(sys.argv[1]))
    except (NotUnderstood, StoreUnreadable) as error:
        said["fault"] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it would befall the gateway; people are told
        said["fault"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
