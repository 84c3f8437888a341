"""How SMTP credentials are shown: as JSON for programs, as lines and tables for people.

Law: a secret is shown by ``show_created`` (``smtp create`` and ``smtp change``), once, on standard output, and by
nothing else. The names in the JSON are promised to scripts: add some, change none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keystile.cli.terminal import iso, moment_for_people, show_json, show_table, styled

if TYPE_CHECKING:
    from keystile.keys.smtp import SmtpCreated, SmtpCredential


def created_as_json(created: SmtpCreated) -> dict[str, object]:
    """A credential with its secret."""
    facts = _as_json(created.credential)
    return {"id": facts.pop("id"), "name": facts.pop("name"), "secret": created.secret, **facts}


def listed_as_json(credential: SmtpCredential) -> dict[str, object]:
    """A credential in a list: also whose it is, and when it was last used."""
    return {
        "account": credential.account_email,
        **_as_json(credential),
        "last_used": iso(credential.last_used_at),
        "last_used_from": credential.last_used_from,
    }


def _as_json(credential: SmtpCredential) -> dict[str, object]:
    return {
        "id": credential.id,
        "name": credential.name,
        "hint": credential.hint,
        "scope": credential.scope,
        "allowed_networks": list(credential.networks.texts),
        "expires": iso(credential.expires),
        "created": iso(credential.created),
    }


def show_created(created: SmtpCreated, *, as_json: bool) -> None:
    """Show a credential with its secret, this once."""
    if as_json:
        show_json(created_as_json(created))
        return
    credential = created.credential
    print(styled(created.secret, "bold"))
    print()
    for name, value in (
        ("account", credential.account_email),
        ("name", credential.name),
        ("allowed from", ", ".join(credential.networks.texts) or "everywhere"),
        ("expires (UTC)", moment_for_people(credential.expires, "never")),
    ):
        print(f"  {name.ljust(13)}  {value}")
    print()
    print(styled("This is the only time that the secret is shown. Keep it like a password.", "yellow"))


def show_kept(credential: SmtpCredential, what: str, *, as_json: bool) -> None:
    """Say in one line what (``edited``, ``deleted``, ``verified``) was done to a credential."""
    if as_json:
        show_json(listed_as_json(credential))
    else:
        print(f"{what} {credential.name!r} (…{credential.hint}) of {credential.account_email}")


def show_credentials(credentials: Sequence[SmtpCredential]) -> None:
    """Show a table of SMTP credentials."""
    rows = [
        (
            credential.account_email,
            credential.name,
            f"…{credential.hint}",
            ", ".join(credential.networks.texts) or "everywhere",
            moment_for_people(credential.expires, "never"),
            _last_use(credential),
        )
        for credential in credentials
    ]
    heads = ("ACCOUNT", "NAME", "HINT", "ALLOWED FROM", "EXPIRES (UTC)", "LAST USED (UTC)")
    show_table(heads, rows, "no SMTP credentials yet")


def _last_use(credential: SmtpCredential) -> str:
    if credential.last_used_at is None:
        return "never"
    when = moment_for_people(credential.last_used_at, "")
    return when if credential.last_used_from is None else f"{when} from {credential.last_used_from}"
