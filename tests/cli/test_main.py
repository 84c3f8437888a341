import argparse
import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keystile import __version__
from keystile.cli import check
from keystile.cli.main import build_parser, main
from keystile.cli.terminal import CommandFailed
from keystile.relay import exchange

KIND = "" if exchange.__file__.endswith(".py") else " (compiled)"
COMMANDS = {
    "serve": set(),
    "check": set(),
    "routes": set(),
    "status": set(),
    "logs": set(),
    "diff": set(),
    "reload": set(),
    "upgrade": set(),
    "demo": set(),
    "loadtest": set(),
    "backup": set(),
    "store": {"copy"},
    "accounts": {"create", "password", "link", "setup-link", "list", "delete"},
    "keys": {"create", "list", "edit", "change", "delete", "import"},
    "tls": {"self-signed"},
    "smtp": {"create", "list", "edit", "change", "delete", "verify"},
}


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def test_the_commands_are_those_that_operators_know() -> None:
    commands = subcommands(build_parser())
    assert {name: set(subcommands(parser)) for name, parser in commands.items()} == COMMANDS


def test_every_command_takes_a_file() -> None:
    for parser in subcommands(build_parser()).values():
        for each in (parser, *subcommands(parser).values()):
            assert "-c" in each.format_help()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["keys"],
        ["keys", "create"],
        ["keys", "create", "--account", "ann@example.com"],
        ["keys", "create", "--account", "a@example.com", "--name", "x", "--expires", "soon"],
        ["keys", "edit", "--account", "a@example.com", "--name", "x", "--scope", "A", "--no-scopes"],
        ["smtp", "create", "--account", "a@example.com"],
        ["smtp", "edit", "--account", "a@example.com", "--name", "m@x.org", "--allow", "::1", "--allow-everywhere"],
        ["smtp", "verify", "--name", "m@x.org", "--address", "here"],
        ["accounts", "create"],
        ["serve", "--port", "1"],
        ["logs", "--status", "6xx"],
        ["logs", "--since", "yesterday"],
        ["loadtest", "nonsense"],
        ["loadtest", "steady", "a.json"],
        ["loadtest", "compare", "a.json"],
        ["loadtest", "--seconds", "601"],
        ["loadtest", "--users", "0"],
        ["loadtest", "--rate", "20001"],
        ["loadtest", "--objective", "p98=50ms"],
        ["loadtest", "--demo", "--url", "http://127.0.0.1:8080"],
    ],
)
def test_a_wrong_command_line_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: keystile" in capsys.readouterr().err


def test_a_failure_is_one_line_and_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise CommandFailed("it is broken")

    monkeypatch.setattr(check, "run", fail)
    assert main(["check", "-c", str(tmp_path / "gateway.yaml")]) == 1
    assert capsys.readouterr() == ("", "keystile: it is broken\n")


def test_an_interrupt_is_130_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupt)
    assert main(["check"]) == 130
    assert capsys.readouterr() == ("", "")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"keystile {__version__}{KIND}\n"


@pytest.mark.parametrize(("file", "told"), [("slots.py", ""), ("slots.cpython-311-x86_64-linux-gnu.so", " (compiled)")])
def test_a_compiled_copy_says_so(
    file: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.machinery.ModuleSpec("keystile.limits.slots", None, origin=f"/keystile/limits/{file}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == spec.name else None)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"keystile {__version__}{told}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from keystile.cli.main import build_parser; build_parser().format_help();"
        "heavy = ('aiohttp', 'yaml', 'pydantic', 'uvloop', 'aiosqlite', 'ssl', 'locust');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "keystile", "check", "--schema"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "keystile", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"keystile {__version__}{KIND}\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files_are_nobody_elses_numbers(closed: str) -> None:
    """A file that was opened as 1 would get what is printed."""
    code = (
        "import os, sys; from keystile.cli.main import main; code = main(['check', '--schema']);"
        "opened = os.open('/dev/zero', os.O_RDONLY); print('x'); sys.exit(code or opened < 3)"
    )
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))


WRITTEN = """\
upstreams: {api: {servers: ["http://127.0.0.1:9"]}}
routes: [{path: /x, scope: A, upstream: api}]
store: sqlite:///zoë.db  # ключи
"""
NO_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "POSIX"}, NO_LOCALE])
def test_names_in_any_script_are_read_and_shown_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    file = tmp_path / "Zoë ключи" / "gateway ü.yaml"
    file.parent.mkdir()
    file.write_text(WRITTEN, encoding="utf-8")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}

    def run(*words: str) -> str:
        command = [os.fsencode(word) for word in (sys.executable, "-m", "keystile", *words, "-c", str(file))]
        done = subprocess.run(
            command, input=b"correct horse\n", capture_output=True, check=False, env={**bare, **locale}
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    run("accounts", "create", "ann@example.org", "--password-stdin")
    run("keys", "create", "--account", "ann@example.org", "--name", "ключи Zoë")
    assert "ключи Zoë" in run("keys", "list")
    assert (file.parent / "zoë.db").exists()
