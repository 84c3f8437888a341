"""``keystile diff``: what a reload would change in the running gateway.

Law: this file shows what management has found (``process/difference.py``) and compares nothing. Exit code 0 whether
something differs or not, 1 where that could not be found out: no gateway answers, or the file is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keystile.cli import options
from keystile.cli.asking import ask_gateway
from keystile.cli.routes import scopes_for_people
from keystile.cli.terminal import CommandFailed, moment_for_people, printable, show_json, styled

_OPENINGS = {
    "public": "becomes public",
    "less": "needs less than before",
    "other": "lets in keys that it did not",
}
_NEEDS_RESTART = "  (needs a restart)"


def add(commands: options.Commands, file_option: argparse.ArgumentParser) -> None:
    """Add ``diff``."""
    parser = commands.add_parser(
        "diff",
        parents=[file_option],
        help="what a reload would change in the running gateway",
        description="The running gateway compares the file, and the documents and certificates it names, with the "
        "configuration that is in force. Operations that would let somebody in who is refused now are marked with !.",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print."""
    file: Path = arguments.file
    from keystile.process import control

    answer = ask_gateway(file, lambda store: control.ask_for_difference(store, file))
    if arguments.json:
        show_json(answer)
        return 0 if answer["fault"] is None else 1
    if answer["fault"] is not None:
        raise CommandFailed(f"a reload would change nothing, because of this:\n{answer['fault']}")
    _show(answer)
    return 0


def _show(answer: Mapping[str, Any]) -> None:
    if not answer["differs"]:
        print(f"nothing differs from configuration {answer['number']}")
        return
    print(styled(f"compared with configuration {answer['number']}:", "bold"))
    for text, style in _lines(answer):
        print(styled(printable(text), style) if style else printable(text))
    for text in _summary(answer):
        print(f"\n{text}")


def _lines(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each with its style, or none."""
    for one in answer["settings"]:
        yield _setting("", one), ""
    for parts, removed in (("listeners", ""), ("upstreams", "; requests in flight to it finish")):
        for one in answer[parts]:
            if one["what"] != "changed":
                yield f"{parts}.{one['name']}: {one['what']}{removed if one['what'] == 'removed' else ''}", ""
            for inner in one["settings"]:
                yield _setting(f"{parts}.{one['name']}.", inner), ""
    for one in answer["routes"]:
        yield _route(one), "red" if one["opening"] else ""
    for one in answer["files"]:
        yield _file(one), ""


def _setting(prefix: str, one: Mapping[str, Any]) -> str:
    return f"{prefix}{one['path']}: {one['was']} → {one['now']}{_NEEDS_RESTART if one['restart'] else ''}"


def _route(one: Mapping[str, Any]) -> str:
    was, now = one["was"], one["now"]
    needed, needs = _needs(was), _needs(now)
    told = needs if needed == needs else f"{needed} → {needs}"
    if was and now:
        told += "".join(_end(name, was, now) for name in ("upstream", "cors", "websocket"))
    mark = f"  ! {_OPENINGS[one['opening']]}" if one["opening"] else ""
    return f"routes: {one['method']} {one['path']}: {told}{_by_another_row(one)}{mark}"


def _needs(end: Mapping[str, Any] | None) -> str:
    return "(refused)" if end is None else scopes_for_people(end["scopes"])


def _end(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "" if was[name] == now[name] else f", {name} {_told(was[name])} → {_told(now[name])}"


def _told(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _by_another_row(one: Mapping[str, Any]) -> str:
    """Where the operation's own row goes and a wider one is left, or the other way."""
    for end, word in (("was", "was"), ("now", "falls")):
        if one[end] and _shape(one[end]["row"]) != _shape(one["path"]):
            return f" ({word} under {one[end]['row']})"
    return ""


def _shape(path: str) -> list[str]:
    return ["{}" if part.startswith("{") else part for part in path.split("/")]


def _file(one: Mapping[str, Any]) -> str:
    was, now = one["was"], one["now"]
    if was is None and now is None:
        return f"{one['kind']} {one['file']}: {one['what']}"
    return f"{one['kind']} {one['file']}: {_certificate(was)} → {_certificate(now)}"


def _certificate(facts: Mapping[str, Any] | None) -> str:
    if facts is None:
        return "none"
    return f"{', '.join(facts['names'])} until {moment_for_people(facts['ends'], '')}"


def _summary(answer: Mapping[str, Any]) -> Iterator[str]:
    marked = [one for one in answer["routes"] if one["opening"]]
    if marked:
        public = sum(one["opening"] == "public" for one in marked)
        yield styled(f"{_operations(len(marked))} let in whoever is refused now; {public} without any key", "red")
    if answer["restart"]:
        names = ", ".join(answer["restart"])
        yield f"A reload takes nothing of this: {names} cannot change while the gateway runs."


def _operations(count: int) -> str:
    return "1 operation would" if count == 1 else f"{count} operations would"
