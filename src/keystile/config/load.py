"""From gateway.yaml to settings that can be used as they are, or to every fault at once.

Law: the steps of loading, in their order, and nothing else. A step that finds faults hands them on and the
next still runs; only a text that is no YAML at all ends it early.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from keystile.config import files, rows, rules, tls_files, validate
from keystile.config.borrowed import DocumentReader, OperationsChecker
from keystile.config.faults import ConfigurationError, Fault, in_order
from keystile.config.model import Settings
from keystile.config.remarks import remarks
from keystile.config.settle import settle
from keystile.config.written import Written
from keystile.config.yamltext import LARGEST_FILE, BadYaml, Repeated, read


def load(
    path: Path,
    *,
    read_document: DocumentReader,
    check_operations: OperationsChecker,
    contents: dict[Path, bytes] | None = None,
    now: Callable[[], float] = time.time,
) -> Settings:
    """The settings that the file at ``path`` means; raises ConfigurationError with every fault.

    ``contents`` receives the bytes of every file that was read, by absolute path (gateway.yaml itself,
    documents, certificates, keys), so that what was checked can be kept. ``now``: Unix seconds,
    for warnings of what will soon be or is over.
    """
    contents = {} if contents is None else contents
    written, repeated = _written(path, contents)
    document, faults = validate.document(written)
    faults += rules.repeated_names(written, repeated)
    faults += rules.check(written)
    faults += files.check(written)
    faults += tls_files.check(written, contents)
    found = rows.read(written, document, read_document, contents)
    faults += found.faults
    faults += rows.conflicts(written, found.operations, check_operations)
    if faults or document is None:
        raise ConfigurationError(in_order(faults, str(path)))
    warnings = remarks(written, document, found.operations, contents, now())
    return settle(written, document, found, warnings)


def _written(path: Path, contents: dict[Path, bytes]) -> tuple[Written, list[Repeated]]:
    """The file as values with lines; raises ConfigurationError where there are none."""
    text = _text(path, contents)
    try:
        root, repeated = read(text)
    except BadYaml as bad:
        raise _useless(path, bad.line, bad.message) from None
    if root is None or root.is_null:
        raise _useless(path, None, "is empty; it needs upstreams and routes")
    if root.fields is None:
        raise _useless(path, root.line, "is no mapping; write settings as name: value")
    return Written(path, root), repeated


def _text(path: Path, contents: dict[Path, bytes]) -> str:
    try:
        content = files.bounded(path, LARGEST_FILE)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _useless(path, line, "is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise _useless(path, None, f"cannot be read: {files.reason(error)}") from None
    contents[path.absolute()] = content
    return text


def _useless(path: Path, line: int | None, message: str) -> ConfigurationError:
    return ConfigurationError([Fault(str(path), line, "", None, message)])
