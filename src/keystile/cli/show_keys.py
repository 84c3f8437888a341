"""How keys are shown: as JSON for programs, as lines and tables for people.

Law: a secret is shown by ``show_created`` (``keys create`` and ``keys change``), once, on standard output, and by
nothing else. The names in the JSON are promised to scripts: add some, change none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keystile.cli.terminal import iso, moment_for_people, show_json, show_table, styled, warn

if TYPE_CHECKING:
    from keystile.keys.answers import Created
    from keystile.keys.key import ApiKey


def key_as_json(key: ApiKey) -> dict[str, object]:
    """What programs see of a key wherever it is shown; ``expires`` and ``created`` in ISO 8601, UTC."""
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "scopes": sorted(key.scopes),
        "allowed_networks": list(key.networks.texts),
        "expires": iso(key.expires),
        "created": iso(key.created),
    }


def created_as_json(created: Created) -> dict[str, object]:
    """A key with its secret, in the order that ``keys create --json`` promises."""
    facts = key_as_json(created.key)
    return {"id": facts.pop("id"), "name": facts.pop("name"), "key": created.secret, **facts}


def listed_as_json(key: ApiKey) -> dict[str, object]:
    """A key in a list: also whose it is, and what became of it."""
    return {
        "account": key.account_email,
        **key_as_json(key),
        "imported": key.imported,
        "last_used": iso(key.last_used_at),
        "last_used_from": key.last_used_from,
        "old_hint": key.old_hint,
        "old_until": iso(key.old_until),
        "old_last_used": iso(key.old_last_used_at),
        "old_last_used_from": key.old_last_used_from,
    }


def show_created(created: Created, *, as_json: bool) -> None:
    """Show a key with its secret, this once."""
    for warning in created.warnings:
        warn(warning)
    if as_json:
        show_json(created_as_json(created))
        return
    key = created.key
    print(styled(created.secret, "bold"))
    print()
    _show_facts(key)
    print()
    print(styled("This is the only time that the key is shown. Keep it like a password.", "yellow"))


def _show_facts(key: ApiKey) -> None:
    facts = [
        ("account", key.account_email),
        ("name", key.name),
        ("scopes", ", ".join(sorted(key.scopes)) or "none"),
        ("allowed from", ", ".join(key.networks.texts) or "everywhere"),
        ("expires (UTC)", moment_for_people(key.expires, "never")),
    ]
    if key.old_until is not None:
        facts.append(("old secret", f"…{key.old_hint} works until {moment_for_people(key.old_until, '')} (UTC)"))
    for name, value in facts:
        print(f"  {name.ljust(13)}  {value}")


def show_kept(key: ApiKey, warnings: Sequence[str], what: str, *, as_json: bool) -> None:
    """Say in one line what (``edited``, ``imported``, ``deleted``) was done to a key."""
    for warning in warnings:
        warn(warning)
    if as_json:
        show_json(listed_as_json(key))
        return
    print(f"{what} {key.name!r} (…{key.hint}) of {key.account_email}")


def show_keys(keys: Sequence[ApiKey]) -> None:
    """Show a table of keys."""
    rows = [
        (
            key.account_email,
            key.name,
            f"…{key.hint}",
            ", ".join(sorted(key.scopes)) or "none",
            ", ".join(key.networks.texts) or "everywhere",
            moment_for_people(key.expires, "never"),
            _last_use(key),
        )
        for key in keys
    ]
    heads = ("ACCOUNT", "NAME", "HINT", "SCOPES", "ALLOWED FROM", "EXPIRES (UTC)", "LAST USED (UTC)")
    show_table(heads, rows, "no keys yet")


def _last_use(key: ApiKey) -> str:
    said = _used(key.last_used_at, key.last_used_from)
    if key.old_until is None:
        return said
    return f"{said}; old …{key.old_hint}: {_used(key.old_last_used_at, key.old_last_used_from)}"


def _used(at: float | None, address: str | None) -> str:
    return "never" if at is None else f"{moment_for_people(at, '')} from {address}"
