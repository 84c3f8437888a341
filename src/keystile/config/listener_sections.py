"""Listeners in gateway.yaml: their addresses and their TLS. Law: as for ``document.py``."""

from __future__ import annotations

from pydantic import ConfigDict

from keystile.config.kinds import (
    Day,
    Flag,
    HstsAge,
    HttpsOrigin,
    LegacyVersion,
    ListenAddress,
    Moment,
    PlainHttp,
    Profile,
    Text,
    Version,
)
from keystile.config.section import Section, needed, setting


class CertificateSection(Section):
    """One certificate of several."""

    certificate: Text = needed(description="PEM file with the certificate and those that sign it.")
    private_key: Text = needed(description="PEM file with the certificate's private key, without a passphrase.")


class RehearsalSection(Section):
    """A time in which older TLS versions are refused for trial."""

    start: Moment = needed(alias="from", description="When it begins, with its zone: 2027-03-01T09:00Z.")
    end: Moment = needed(alias="to", description="When it ends, with its zone: 2027-03-01T09:30Z.")


class LegacySection(Section):
    """Older TLS versions until a given day."""

    minimum_version: LegacyVersion = needed(description="The oldest TLS version until then: 1.0 or 1.1.")
    retire_on: Day = needed(description="The first day, from 00:00 UTC, on which they are refused: 2027-03-31.")
    rehearsals: list[RehearsalSection] = setting(
        [], description="Times before that day in which they are refused for trial."
    )


class ClientCertificatesSection(Section):
    """Certificates that clients show."""

    ca: Text = needed(description="PEM file with the certificates that may sign those of clients.")
    required: Flag = setting(True, description="Refuse clients without one; false to take both.")


class TlsSection(Section):
    """TLS of one address: certificate and private_key, or certificates."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["certificate", "private_key"]}, {"required": ["certificates"]}]}
    )

    certificate: Text | None = setting(None, description="PEM file with the certificate and those that sign it.")
    private_key: Text | None = setting(
        None, description="PEM file with the certificate's private key, without a passphrase."
    )
    certificates: list[CertificateSection] | None = setting(
        None,
        min_length=1,
        description="Several, instead of certificate: chosen by the names in them, the first where no name fits.",
    )
    profile: Profile = setting(
        "intermediate", description="Ciphers and curves after Mozilla's profile of this name; modern is TLS 1.3 only."
    )
    minimum_version: Version = setting("1.2", description="The oldest TLS version that is accepted: 1.2 or 1.3.")
    legacy: LegacySection | None = setting(None, description="Older TLS versions, until a given day.")
    client_certificates: ClientCertificatesSection | None = setting(
        None, description="Certificates that clients show; none are asked for without it."
    )
    hsts: HstsAge = setting(
        None, description="How long browsers shall use https only (Strict-Transport-Security), such as 730d."
    )


class ListenerSection(Section):
    """One address that clients connect to."""

    address: ListenAddress = needed(description='IP address and port; an IPv6 address needs quotes: "[::]:8080".')
    tls: TlsSection | None = setting(None, description="Speak TLS on this address; plain HTTP without it.")
    proxy_protocol: Flag = setting(
        False,
        description="Every connection begins with a PROXY protocol header (version 1 or 2), before TLS, and comes from "
        "one of trusted_proxies; all others are closed.",
    )
    redirect: HttpsOrigin = setting(
        None, description="Without tls only: answer every request with 308 to this origin, https://api.example.com."
    )
    plain_http: PlainHttp = setting(
        "allow",
        description="Without tls only: allow keys that come in clear, or refuse_keys, and report them as exposed.",
    )
