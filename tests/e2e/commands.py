"""Commands without a start of Python for each: one process has read the program, and a copy of it runs each command.

Law: what a command does is the program's, from its words to its exit code, with standard files of its own; only the
start of the interpreter is left out (tests/cli/test_main.py has that). What has been read is what lay on disk at the
first command.

``python -m tests.e2e.commands FD``: answers on a socket of datagrams until that ends. Each carries the words, the
folder and the environment, and four descriptors: standard input, output and error, and where to write the exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from select import select

ROOT = Path(__file__).parents[2]
LONGEST = 1 << 16
"""Bytes of one command with its environment."""
GRACE = 1.0
"""Seconds that a command has to itself when nobody waits for it any more."""


def run_command(words: Sequence[str], stdin: str, folder: Path, timeout: float) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``keystile WORDS``. Raises TimeoutError."""
    said = json.dumps([list(words), str(folder), dict(os.environ), timeout]).encode()
    if len(said) > LONGEST:
        raise ValueError(f"{len(said)} bytes for a command and its environment; {LONGEST} at most")
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        ended, code = os.pipe()
        with os.fdopen(ended, "rb") as ended_file:
            with os.fdopen(code, "wb"):
                socket.send_fds(_process(), [said], [given.fileno(), out.fileno(), err.fileno(), code])
            if not select([ended_file], [], [], timeout)[0]:
                raise TimeoutError(f"keystile {' '.join(words)} has not ended within {timeout} s")
            answer = ended_file.read()
        for file in (out, err):
            file.seek(0)
        # Nothing was written where a signal has ended it.
        return int(answer or b"-1"), out.read().decode(), err.read().decode()


@cache
def _process() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.e2e.commands", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, start_new_session=True)
    atexit.register(_end, ours, process)
    return ours


def _end(line: socket.socket, process: subprocess.Popen[bytes]) -> None:
    line.close()
    process.wait(10)


def _serve(line: socket.socket) -> None:
    import keystile.app
    import keystile.cli.main
    import keystile.config.load
    import keystile.management.access  # noqa: F401 - what accounts ask for

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        said, files, _, _ = socket.recv_fds(line, LONGEST, 4)
        if not said:
            return
        if os.fork() == 0:
            line.close()
            _run(json.loads(said), files)
        for file in files:
            os.close(file)


def _run(said: tuple[list[str], str, dict[str, str], float], files: list[int]) -> None:
    """Be one command, and end."""
    from keystile.cli.main import main

    words, folder, environment, timeout = said
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in range(3):
        os.dup2(files[number], number)
        os.close(files[number])
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # Nobody waits for it any longer: it ends, and its locks with it. Not before it has been waited for in vain.
    signal.setitimer(signal.ITIMER_REAL, timeout + GRACE)
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(files[3], str(code).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
