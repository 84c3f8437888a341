"""From a TLS policy of the settings, and the files it names, to what an entrance goes by.

Law: settings and contents in, contexts out. What is wrong with a file is said with its name, and nothing is made
of half of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keystile.config.model import Certificate, Legacy, Tls
from keystile.relay.entrance import Terms
from keystile.wire import tls as contexts
from keystile.wire import tls_policy
from keystile.wire.certificates import certificate_facts, check_certificate, share_a_name
from keystile.wire.tls import ClientCertificates, Pair
from keystile.wire.tls_gate import Certificates, CertificateSet
from keystile.wire.tls_policy import Policy, Version, is_retired

Contents = Callable[[Path], bytes]


class UnusableCertificate(OSError):
    """A certificate or its key cannot serve; the message names the files and says why."""


def terms_of(tls: Tls, contents: Contents, now: float, *, is_new: Callable[[Path], bool] | None = None) -> Terms:
    """What ``tls`` comes to at ``now`` (Unix seconds). Raises UnusableCertificate, or another OSError.

    ``is_new``: of which files the dates count too. A relay has to come back with what is in force, expired or not.

    Certificates for the same names (of several kinds of keys) answer together. Contexts for versions that are retired
    are not made at all.
    """
    policy = _policy(tls)
    clients = _clients(tls, contents)
    by_names: dict[tuple[str, ...], list[Pair]] = {}
    for one in tls.certificates:
        pair = Pair(contents(one.certificate), contents(one.private_key))
        _check(one, pair, now if is_new is not None and is_new(one.certificate) else None)
        by_names.setdefault(certificate_facts(pair.chain).names, []).append(pair)
    sets = [_set(tls, policy, names, pairs, clients, now) for names, pairs in by_names.items()]
    return Terms(policy, Certificates.of(sets))


def _check(one: Certificate, pair: Pair, now: float | None) -> None:
    faults = check_certificate(pair.chain, pair.private_key, now)
    if faults:
        raise UnusableCertificate(f"{one.certificate} with {one.private_key}: {'; '.join(faults)}")


def check_names(tls: Tls, contents: Contents, in_force: Contents) -> None:
    """A file whose certificate has changed must be for one of the names that it was for, or it is another's.

    Raises UnusableCertificate. ``in_force`` raises KeyError for files that are newly named.
    """
    for one in tls.certificates:
        try:
            before = certificate_facts(in_force(one.certificate)).names
        except KeyError:
            continue
        names = certificate_facts(contents(one.certificate)).names
        if not share_a_name(names, before):
            said = f"the certificate is for {', '.join(names)}, and not for any of {', '.join(before)}"
            remedy = "name a new file in the settings if that is meant"
            raise UnusableCertificate(f"{one.certificate}: {said}; {remedy}")


def _set(
    tls: Tls,
    policy: Policy,
    names: tuple[str, ...],
    pairs: list[Pair],
    clients: ClientCertificates | None,
    now: float,
) -> CertificateSet:
    modern = contexts.profile_context(pairs, "modern" if tls.minimum_version == "1.3" else tls.profile, clients)
    legacy = None if is_retired(policy, now) else contexts.legacy_context(pairs, clients)
    return CertificateSet(names, modern, legacy)


def _policy(tls: Tls) -> Policy:
    return Policy(Version.of(tls.minimum_version), None if tls.legacy is None else _legacy(tls.legacy))


def _legacy(legacy: Legacy) -> tls_policy.Legacy:
    rehearsals = tuple(tls_policy.Rehearsal(each.start, each.end) for each in legacy.rehearsals)
    return tls_policy.Legacy(Version.of(legacy.minimum_version), legacy.retire_at, rehearsals)


def _clients(tls: Tls, contents: Contents) -> ClientCertificates | None:
    asked = tls.client_certificates
    return None if asked is None else ClientCertificates(contents(asked.ca).decode("ascii"), asked.required)


