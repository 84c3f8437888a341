"""What is allowed and probably not meant: the warnings of a configuration that can be used.

Law: this file looks at the finished document and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from keystile.config import lender, tls_remarks
from keystile.config.document import Document, PathRow, SlotsSection
from keystile.config.lender import Lender
from keystile.config.model import Operation
from keystile.config.written import Written
from keystile.config.yamltext import Loc, path_of


def remarks(
    written: Written, document: Document, operations: list[Operation], contents: Mapping[Path, bytes], now: float
) -> tuple[str, ...]:
    """Every warning, as a line that begins with its place.

    ``contents``: of the files that are named, by absolute path. ``now``: Unix seconds.
    """
    found = [
        *_unused_upstreams(document),
        *_one_server_alone(document),
        *_plain_listeners(document),
        *_plain_database(document),
        *_plain_lender(document),
        *_trusting_everybody(document),
        *_health_path_hides(document, operations),
        *_rows_that_never_count(document, operations),
        *tls_remarks.find(written, document, contents, now),
    ]
    return tuple(f"{written.file}:{written.root.at(loc)[0]}: {path_of(loc)}: {message}" for loc, message in found)


def _unused_upstreams(document: Document) -> Iterator[tuple[Loc, str]]:
    used = {row.upstream for row in document.routes}
    for name in document.upstreams:
        if name not in used:
            yield ("upstreams", name), "no route leads there"


def _one_server_alone(document: Document) -> Iterator[tuple[Loc, str]]:
    """Settings that do nothing until there is another server: perhaps it is only away for now."""
    for name, upstream in document.upstreams.items():
        if len(upstream.servers) == 1:
            for setting in sorted({"balance", "retries", "slow_start"} & upstream.model_fields_set):
                yield ("upstreams", name, setting), "does nothing as long as there is one server"


def _plain_database(document: Document) -> Iterator[tuple[Loc, str]]:
    if not isinstance(document.store, str) and not document.store.is_protected:
        mode = document.store.get("sslmode")
        yield ("store",), f"sslmode={mode}: whoever is on the way can be the database; leave it out for verify-full"


def _plain_lender(document: Document) -> Iterator[tuple[Loc, str]]:
    """Slots that are lent over a network in clear."""
    section = document.slots if isinstance(document.slots, SlotsSection) else None
    found = section.url if section is not None else document.slots
    if not isinstance(found, Lender) or found.is_tls or all(lender.is_loopback(host) for host, _ in found.servers):
        return
    place: Loc = ("slots", "url") if section is not None else ("slots",)
    if section is not None and (section.password_file or section.password_env):
        yield place, "the password crosses the network in clear, and whoever is on the way can read it; write valkeys://"
    else:
        yield place, "whoever is on the way can lend slots without end, or none; write valkeys:// unless it is trusted"


def _plain_listeners(document: Document) -> Iterator[tuple[Loc, str]]:
    if document.trusted_proxies:
        return  # something in front of the gateway speaks TLS
    for index, listener in enumerate(document.listeners):
        meant = listener.redirect is not None or listener.plain_http == "refuse_keys"
        if listener.tls is None and not meant and not listener.address.loopback:
            yield ("listeners", index), "keys that arrive here have crossed the network in clear; add tls"


def _trusting_everybody(document: Document) -> Iterator[tuple[Loc, str]]:
    for index, network in enumerate(document.trusted_proxies):
        if network.prefixlen == 0:
            yield ("trusted_proxies", index), f"{network} lets every client choose its own address"


def _health_path_hides(document: Document, operations: list[Operation]) -> Iterator[tuple[Loc, str]]:
    for operation in operations:
        if document.health_path is not None and operation.path == document.health_path:
            yield ("health_path",), f"hides {operation.source}, which has the same path"


def _rows_that_never_count(document: Document, operations: list[Operation]) -> Iterator[tuple[Loc, str]]:
    """Rows of which earlier rows take every method; what a document repeats of a row above it is meant."""
    taken: dict[tuple[str, str], str] = {}
    for operation in operations:
        wanted = [(operation.path, method) for method in operation.methods or ("*",)]
        first = [taken.get(one) or taken.get((operation.path, "*")) for one in wanted]
        if all(first) and operation.row >= 0 and isinstance(document.routes[operation.row], PathRow):
            yield ("routes", operation.row), f"never counts, since {first[0]} answers first"
        for one in wanted:
            taken.setdefault(one, operation.source)
