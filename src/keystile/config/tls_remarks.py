"""What the TLS settings allow and people should know: what ends soon or has ended, and what nobody verifies.

Law: as in ``remarks.py``: it refuses nothing. The time is given, never asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from keystile.config import files, tls_files, units
from keystile.config.document import Document, SlotsSection
from keystile.config.listener_sections import LegacySection
from keystile.config.moments import shown
from keystile.config.written import Written
from keystile.config.yamltext import Loc

SOON = 30 * 86400.0


def find(written: Written, document: Document, contents: Mapping[Path, bytes], now: float) -> Iterator[tuple[Loc, str]]:
    """Every remark with its place. ``contents``: by absolute path. ``now``: Unix seconds."""
    for index, listener in enumerate(document.listeners):
        if listener.tls is not None and listener.tls.legacy is not None:
            yield from _legacy(("listeners", index, "tls", "legacy"), listener.tls.legacy, now)
    for name, upstream in document.upstreams.items():
        if upstream.tls is not None and not upstream.tls.verify:
            yield (
                ("upstreams", name, "tls", "verify"),
                "DANGER: nobody verifies who the servers are, so whoever is in between reads and alters everything; "
                "name their signer as ca instead",
            )
    if isinstance(document.slots, SlotsSection) and document.slots.tls is not None and not document.slots.tls.verify:
        yield (
            ("slots", "tls", "verify"),
            "DANGER: nobody verifies who the server is, so whoever is in between can lend slots without end, and reads "
            "the password; name its signer as ca instead",
        )
    yield from _expiries(written, contents, now)


def _legacy(place: Loc, legacy: LegacySection, now: float) -> Iterator[tuple[Loc, str]]:
    if legacy.retire_on <= now:
        yield (*place, "retire_on"), "is past: older versions are refused from the first second"
        return
    if legacy.retire_on <= now + SOON:
        yield (*place, "retire_on"), f"older versions are refused for good from {shown(legacy.retire_on)}"
    for index, one in enumerate(legacy.rehearsals):
        if now < one.end and one.start <= now + SOON:
            message = f"older versions are refused from {shown(one.start)} to {shown(one.end)}"
            yield (*place, "rehearsals", index), message


def _expiries(written: Written, contents: Mapping[Path, bytes], now: float) -> Iterator[tuple[Loc, str]]:
    places = [((*place, "certificate"), False) for place in tls_files.places_of_pairs(written)]
    places += [(place, True) for place in tls_files.places_of_signers(written)]
    for loc, signers in places:
        name = written.read(units.text, *loc)
        if name is None or (content := contents.get(files.absolute(written.folder, name))) is None:
            continue
        ends = expiry(content, signers=signers)
        if ends is None:
            yield loc, "holds a certificate whose last day cannot be read"
        elif ends <= now:
            yield loc, f"has expired, on {shown(ends)}"
        elif ends <= now + SOON:
            yield loc, f"expires on {shown(ends)}"


def expiry(content: bytes, *, signers: bool = False) -> float | None:
    """When a PEM file is of no more use, in Unix seconds: its first certificate, or the last of ``signers``.

    None where a certificate cannot be read (OpenSSL takes some that this library does not).
    """
    from cryptography import x509  # here: whoever has no TLS is not to wait for it

    try:
        ends = [one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(content)]
    except ValueError:
        return None
    return max(ends) if signers else ends[0]
