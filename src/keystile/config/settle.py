"""From the typed document to the settings: names change, nothing is judged any more.

Law: this file is the only one that knows both shapes, ``document.py``'s (as written) and ``model.py``'s (as used).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

from keystile.config import choices, files
from keystile.config.database import FILES, shown
from keystile.config.document import AccessLogSection, Document, LimitsSection, SlotsSection, WaitingSection
from keystile.config.lender import Lender
from keystile.config.listener_sections import LegacySection, ListenerSection, TlsSection
from keystile.config.log_fields import DEFAULT_FIELDS
from keystile.config.model import (
    AccessLog,
    Breaker,
    Certificate,
    ClientCertificates,
    Database,
    HealthCheck,
    KeyPolicy,
    Legacy,
    Limits,
    Listener,
    Management,
    ManagementRoutes,
    Metrics,
    Rehearsal,
    Retries,
    Server,
    ServerQueue,
    Settings,
    SharedSlots,
    Telemetry,
    Tls,
    Upstream,
    UpstreamTls,
    Waiting,
)
from keystile.config.rows import Rows, cors_of
from keystile.config.upstream_sections import ServerSection, UpstreamSection, UpstreamTlsSection
from keystile.config.written import Written


def settle(written: Written, document: Document, rows: Rows, warnings: tuple[str, ...]) -> Settings:
    """The settings that a document without faults means."""
    management, calls = document.management, document.management_routes
    return Settings(
        file=written.file.absolute(),
        listeners=tuple(_listener(written, one) for one in document.listeners),
        management=Management(*management.address, tls=_tls(written, management.tls), hosts=tuple(management.hosts)),
        workers=document.workers,
        store=files.absolute(written.folder, files.store_file(document.store, document.database.mirror)),
        database=_database(written, document),
        keys=KeyPolicy(document.keys.per_account, tuple(document.keys.headers), document.keys.query_parameter),
        limits=_limits(document.limits),
        trusted_proxies=tuple(document.trusted_proxies),
        client_address_field=document.client_address_field,
        health_path=document.health_path,
        access_log=_access_log(written, document.access_log),
        metrics=Metrics(document.metrics.routes, document.metrics.keys),
        upstreams=tuple(_upstream(written, name, one) for name, one in document.upstreams.items()),
        operations=tuple(rows.operations),
        trust_without_store=document.trust_without_store,
        cors=cors_of(document.cors),
        documents=tuple(dict.fromkeys(rows.documents)),
        management_routes=None if calls is None else ManagementRoutes(calls.prefix),
        slots=_slots(written, document.slots),
        telemetry=Telemetry(**document.telemetry.model_dump()),
        warnings=warnings,
    )


def _database(written: Written, document: Document) -> Database | None:
    if isinstance(document.store, str):
        return None
    options = dict(document.store.options)
    for name in FILES:
        if name in options and options[name] != "system":
            options[name] = str(files.absolute(written.folder, options[name]))
    password = document.database.password_file
    file = None if password is None else files.absolute(written.folder, password)
    return Database(shown(options), tuple(options.items()), file, document.database.host_name)


def _listener(written: Written, section: ListenerSection) -> Listener:
    tls = _tls(written, section.tls)
    return Listener(*section.address, tls, section.proxy_protocol, section.redirect, section.plain_http)


def _tls(written: Written, section: TlsSection | None) -> Tls | None:
    if section is None:
        return None
    clients = section.client_certificates
    return Tls(
        _certificates(written, section),
        "1.3" if section.profile == "modern" else section.minimum_version,
        section.profile,
        None if section.legacy is None else _legacy(section.legacy),
        None if clients is None else ClientCertificates(files.absolute(written.folder, clients.ca), clients.required),
        section.hsts,
    )


def _certificates(written: Written, section: TlsSection) -> tuple[Certificate, ...]:
    pairs = [(one.certificate, one.private_key) for one in section.certificates or ()]
    if section.certificate is not None and section.private_key is not None:
        pairs = [(section.certificate, section.private_key)]
    return tuple(Certificate(*(files.absolute(written.folder, path) for path in pair)) for pair in pairs)


def _legacy(section: LegacySection) -> Legacy:
    rehearsals = sorted((one.start, one.end) for one in section.rehearsals)
    return Legacy(section.minimum_version, section.retire_on, tuple(Rehearsal(*one) for one in rehearsals))


def _limits(section: LimitsSection) -> Limits:
    # The names are the same on both sides but for the one that is a word or a section.
    over = section.over_limit
    waiting = Waiting(over.wait_up_to, over.waiting_per_ip) if isinstance(over, WaitingSection) else None
    return Limits(**section.model_dump(exclude={"over_limit"}), over_limit=waiting)


def _access_log(written: Written, said: AccessLogSection | str | None) -> AccessLog:
    section = said if isinstance(said, AccessLogSection) else AccessLogSection.model_construct(to=said)
    if section.to is None:
        return AccessLog(enabled=False)
    file = None if section.to == "stdout" else files.absolute(written.folder, section.to)
    names = [DEFAULT_FIELDS if name == choices.DEFAULT else (name,) for name in section.fields]
    return AccessLog(True, file, tuple(dict.fromkeys(chain.from_iterable(names))), tuple(section.redact))


def _slots(written: Written, said: SlotsSection | Lender | None) -> SharedSlots | None:
    if not isinstance(said, SlotsSection):
        return None if said is None else _lent_by(written, said, UpstreamTlsSection())
    found = _lent_by(written, said.url, said.tls or UpstreamTlsSection())
    return replace(
        found,
        password_file=None if said.password_file is None else files.absolute(written.folder, said.password_file),
        password_env=said.password_env,
        when_unreachable=said.when_unreachable,
        lease_time=said.lease_time,
        min_replicas=said.min_replicas,
    )


def _lent_by(written: Written, lender: Lender, tls: UpstreamTlsSection) -> SharedSlots:
    (host, port), *more = lender.servers
    return SharedSlots(
        host,
        port,
        lender.database,
        lender.user,
        more=tuple(more),
        sentinel=lender.sentinel,
        tls=_upstream_tls(written, tls) if lender.is_tls else None,
    )


def _upstream(written: Written, name: str, section: UpstreamSection) -> Upstream:
    tls = None if section.tls is None else _upstream_tls(written, section.tls)
    check, breaker = section.health_check, section.breaker
    return Upstream(
        name,
        tuple(_server(written, one) for one in section.servers),
        section.host,
        section.case_insensitive,
        section.ignores_extensions,
        section.undecoded_literals,
        tls,
        section.balance,
        # The names are the same on both sides.
        None if check is None else HealthCheck(**check.model_dump()),
        None if breaker is None else Breaker(**breaker.model_dump()),
        section.slow_start,
        section.max_in_flight,
        ServerQueue(**section.queue.model_dump()),
        Retries(**section.retries.model_dump()),
        section.resolve_every,
    )


def _server(written: Written, one: ServerSection | Server) -> Server:
    server = replace(one.url, weight=one.weight) if isinstance(one, ServerSection) else one
    if server.unix is None:
        return server
    return replace(server, unix=files.absolute(written.folder, str(server.unix)))


def _upstream_tls(written: Written, section: UpstreamTlsSection) -> UpstreamTls:
    def path(name: str | None) -> Path | None:
        return None if name is None else files.absolute(written.folder, name)

    return UpstreamTls(
        path(section.ca),
        section.server_name,
        path(section.certificate),
        path(section.private_key),
        section.minimum_version,
        section.verify,
    )
