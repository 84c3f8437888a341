"""From the typed document to the settings: names change, nothing is judged any more.

Law: this file is the only one that knows both shapes, ``document.py``'s (as written) and ``model.py``'s (as used).
"""

from __future__ import annotations

from keystile.config import files
from keystile.config.document import Document, LimitsSection, TlsSection, UpstreamSection, WaitingSection
from keystile.config.model import (
    AccessLog,
    KeyPolicy,
    Limits,
    Listener,
    Management,
    ManagementRoutes,
    Settings,
    Tls,
    Upstream,
    Waiting,
)
from keystile.config.rows import Rows, cors_of
from keystile.config.written import Written


def settle(written: Written, document: Document, rows: Rows, warnings: tuple[str, ...]) -> Settings:
    """The settings that a document without faults means."""
    management, calls = document.management, document.management_routes
    return Settings(
        file=written.file.absolute(),
        listeners=tuple(
            Listener(*one.address, tls=_tls(written, one.tls), proxy_protocol=one.proxy_protocol)
            for one in document.listeners
        ),
        management=Management(*management.address, tls=_tls(written, management.tls), hosts=tuple(management.hosts)),
        workers=document.workers,
        store=files.absolute(written.folder, document.store),
        keys=KeyPolicy(document.keys.per_account, tuple(document.keys.headers), document.keys.query_parameter),
        limits=_limits(document.limits),
        trusted_proxies=tuple(document.trusted_proxies),
        client_address_field=document.client_address_field,
        health_path=document.health_path,
        access_log=_access_log(written, document.access_log),
        upstreams=tuple(_upstream(name, one) for name, one in document.upstreams.items()),
        operations=tuple(rows.operations),
        trust_without_store=document.trust_without_store,
        cors=cors_of(document.cors),
        documents=tuple(dict.fromkeys(rows.documents)),
        management_routes=None if calls is None else ManagementRoutes(calls.prefix),
        warnings=warnings,
    )


def _tls(written: Written, section: TlsSection | None) -> Tls | None:
    if section is None:
        return None
    return Tls(
        files.absolute(written.folder, section.certificate),
        files.absolute(written.folder, section.private_key),
        section.minimum_version,
    )


def _limits(section: LimitsSection) -> Limits:
    # The names are the same on both sides but for the one that is a word or a section.
    over = section.over_limit
    waiting = Waiting(over.wait_up_to, over.waiting_per_ip) if isinstance(over, WaitingSection) else None
    return Limits(**section.model_dump(exclude={"over_limit"}), over_limit=waiting)


def _access_log(written: Written, place: str | None) -> AccessLog:
    if place is None:
        return AccessLog(enabled=False)
    return AccessLog(file=None if place == "stdout" else files.absolute(written.folder, place))


def _upstream(name: str, section: UpstreamSection) -> Upstream:
    return Upstream(name, tuple(section.servers), section.host, section.case_insensitive)
