"""``python -m tests.differential --write FILE``: the attack rows through nginx, HAProxy and Keystile, side by side.

Law: sends, collects and prints. Exit code 1 where Keystile is laxer than both of the others, 2 where one is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from tests.differential.compare import OURS, Row, laxer, markdown
from tests.differential.seen import Recorder, Seen, look
from tests.differential.servers import found, proxy, version
from tests.relay.running import running
from tests.wire.client_attacks import ATTACKS, Attack

OTHERS = ("nginx", "haproxy")
#: Rows under way at once: most of a row's time is waiting for bytes that do not come.
LANES = 8


async def compare(attacks: Sequence[Attack], lanes: int = LANES) -> list[Row]:
    """Every row through every proxy. Rows with limits of their own keep them with Keystile."""
    seen: list[dict[str, Seen]] = [{} for _ in attacks]
    for name in OTHERS:
        await _through(name, attacks, seen, lanes)
    await _through_keystile(attacks, seen, lanes)
    order = [OURS, *OTHERS]
    return [
        Row(attack.family, attack.name, {name: each[name] for name in order})
        for attack, each in zip(attacks, seen, strict=True)
    ]


async def _through(name: str, attacks: Sequence[Attack], seen: list[dict[str, Seen]], lanes: int) -> None:
    recorders = [Recorder() for _ in range(lanes)]
    for recorder in recorders:
        await recorder.start()
    waiting = list(range(len(attacks)))[::-1]
    with tempfile.TemporaryDirectory() as directory:
        async with proxy(name, [recorder.port for recorder in recorders], Path(directory)) as ports:

            async def lane(port: int, recorder: Recorder) -> None:
                while waiting:
                    index = waiting.pop()
                    sent = attacks[index].sent.replace(b"<key>", b"0" * 96)
                    seen[index][name] = await look(port, sent, recorder)

            await asyncio.gather(*map(lane, ports, recorders))
    for recorder in recorders:
        recorder.close()


async def _through_keystile(attacks: Sequence[Attack], seen: list[dict[str, Seen]], lanes: int) -> None:
    waiting = list(range(len(attacks)))[::-1]

    async def lane() -> None:
        recorder = Recorder()
        await recorder.start()
        while waiting:
            index = waiting.pop()
            attack = attacks[index]
            async with AsyncExitStack() as stack:
                relay = await stack.enter_async_context(running(recorder.port, limits=dict(attack.limits)))
                sent = attack.sent.replace(b"<key>", relay.key())
                seen[index][OURS] = await look(relay.port, sent, recorder)
        recorder.close()

    # Rows with limits of their own need a relay of their own; a fresh one for each is simplest.
    await asyncio.gather(*(lane() for _ in range(lanes)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--write", type=Path, help="the file for the table; default: print it")
    parser.add_argument("--family", help="only this family's rows")
    chosen = parser.parse_args(arguments)
    if missing := [name for name in OTHERS if found(name) is None]:
        print(f"not installed: {', '.join(missing)} (Debian: apt install nginx-light haproxy)", file=sys.stderr)
        return 2
    attacks = [attack for attack in ATTACKS if chosen.family in (None, attack.family)]
    rows = uvloop.run(compare(attacks))
    text = markdown(rows, [version(name) for name in OTHERS])
    if chosen.write:
        chosen.write.write_text(text, encoding="utf-8")
    else:
        print(text)
    lax = [(row, words) for row in rows if (words := laxer(row))]
    for row, words in lax:
        print(f"LAXER: {row.family}: {row.name}: {', '.join(words)}: {row.seen}", file=sys.stderr)
    print(f"{len(rows)} rows, laxer than both in {len(lax)}", file=sys.stderr, flush=True)
    return 1 if lax else 0


if __name__ == "__main__":
    sys.exit(main())
