"""``python -m tests.deploy.confined UNIT COMMAND...``: a command under the system call filters of a systemd unit.

Law: does with libseccomp what systemd does of SystemCallFilter, MemoryDenyWriteExecute and RestrictAddressFamilies
(systemd.exec(5)), to itself, and becomes the command. Everything else in the unit is left out: nothing of systemd runs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.deploy.reading import unit

ALLOW = 0x7FFF0000
NO = 0x00050000  # SCMP_ACT_ERRNO, and the error
EQUAL, GREATER, MASKED = 4, 6, 7  # enum scmp_compare
WRITE, EXEC, SHM_EXEC = 2, 4, 0o100000
# What systemd allows whatever a list says: without these no program starts or ends.
ALWAYS = ("@default", "execve", "exit", "exit_group", "rt_sigreturn")


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``: the argument ``arg`` compared with ``a`` (under MASKED a mask, with ``b`` the value)."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class Filter:
    """One filter of libseccomp; ``default`` for what no rule names."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *comparisons: Comparison) -> None:
        """One rule; a call that this architecture does not have is left out. Raises OSError."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (Comparison * len(comparisons))(*comparisons)
            add = self._library.seccomp_rule_add_array
            _good(add(self._context, ctypes.c_uint32(action), number, len(comparisons), array), name)

    def load(self) -> None:
        """In force for this process from now on, and for all that it starts. Raises OSError."""
        _good(self._library.seccomp_load(self._context), "seccomp_load")


def members(name: str) -> set[str]:
    """The calls of a set such as @system-service, as the systemd that is installed has it; or the call itself."""
    if not name.startswith("@"):
        return {name}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in said.splitlines()[1:]]
    return {call for line in lines if line and not line.startswith("#") for call in members(line)}


def allowed(lines: Iterable[str]) -> set[str]:
    """What is left when SystemCallFilter has these values one after the other."""
    calls = {call for name in ALWAYS for call in members(name)}
    for line in lines:
        named = {call for name in line.removeprefix("~").split() for call in members(name)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls | {call for name in ALWAYS[1:] for call in members(name)}


def confine(settings: dict[str, list[str]]) -> None:
    """Put the filters of these settings in force. Raises OSError."""
    (number,) = settings["SystemCallErrorNumber"]
    calls = allowed(settings["SystemCallFilter"])
    more = Filter(ALLOW)
    if settings["MemoryDenyWriteExecute"] == ["yes"]:
        more.add(NO | errno.EPERM, "mmap", Comparison(2, MASKED, WRITE | EXEC, WRITE | EXEC))
        more.add(NO | errno.EPERM, "mprotect", Comparison(2, MASKED, EXEC, EXEC))
        more.add(NO | errno.EPERM, "pkey_mprotect", Comparison(2, MASKED, EXEC, EXEC))
        more.add(NO | errno.EPERM, "shmat", Comparison(2, MASKED, SHM_EXEC, SHM_EXEC))
    families = {int(getattr(socket, name)) for line in settings["RestrictAddressFamilies"] for name in line.split()}
    for family in set(range(max(families))) - families:
        more.add(NO | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family, 0))
    more.add(NO | errno.EAFNOSUPPORT, "socket", Comparison(0, GREATER, max(families), 0))
    more.load()
    # The last of all: it may forbid what loading a filter takes.
    calls_filter = Filter(NO | int(getattr(errno, number)))
    for call in sorted(calls):
        calls_filter.add(ALLOW, call)
    calls_filter.load()


def _good(code: int, what: str) -> None:
    if code < 0:
        raise OSError(-code, f"{what}: {os.strerror(-code)}")


if __name__ == "__main__":
    confine(unit(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
