"""What calls may send: the shapes of bodies, and so their schemas in the document.

Law: names and types. Rules stand in the domain; bounds that are repeated here are taken from there. A member that
is not named is refused. Moments are RFC 3339; members are called as in ``keystile keys list --json``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from keystile.keys.facts import MAX_NETWORKS, MAX_OVERLAP, MAX_SCOPES
from keystile.keys.naming import MAX_EMAIL_LENGTH, MAX_NAME_LENGTH
from keystile.keys.scopes import MAX_LENGTH as MAX_SCOPE_LENGTH
from keystile.management.api.moments import moment

LONGEST_NETWORK = 100
"""Characters of one address, network or range; two whole IPv6 addresses and what stands between have 81."""
LONGEST_SECRET = 1024


class Shape(BaseModel):
    """Any body: nothing is converted (``"1"`` is no number), nothing unknown is passed over."""

    # Deferred: each is made ready by the first call that sends it, and no start waits for all of them.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True
    )


def _moment_or_null(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("a moment is a string like 2026-12-31T18:00:00Z, or null")
    return moment(value)


Expires = Annotated[
    float | None,  # Unix seconds
    BeforeValidator(_moment_or_null),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time", "description": "When it ends; null: never."}),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=MAX_EMAIL_LENGTH),
    Field(examples=["somebody@example.com"], json_schema_extra={"format": "email"}),
]
# As keys/scopes.py has it: visible ASCII but for the quote, the comma and the backslash.
Scope = Annotated[str, StringConstraints(pattern=rf"^[!#-+\-.-\[\]-~]{{1,{MAX_SCOPE_LENGTH}}}$")]
Scopes = Annotated[
    list[Scope],
    Field(max_length=MAX_SCOPES, description="Permissions; GET /api/scopes lists those that routes use."),
]
Network = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_NETWORK),
    Field(json_schema_extra={"format": "ip-network"}),
]
Networks = Annotated[
    list[Network],
    Field(
        max_length=MAX_NETWORKS,
        description="Addresses, CIDR networks or ranges FIRST-LAST that it may be used from; empty: everywhere.",
        examples=[["192.0.2.7", "198.51.100.0/24", "2001:db8::1-2001:db8::ff"]],
    ),
]


class Facts(Shape):
    """What an API key may and may not do."""

    scopes: Scopes = []
    allowed_networks: Networks = []
    expires: Expires = None


class CreateKey(Facts):
    """A new API key."""

    name: Name


class ImportKey(CreateKey):
    """An API key that was issued elsewhere, by the SHA-256 of its secret."""

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$")]
    hint: Annotated[
        str, StringConstraints(pattern=r"^[!-~]{5}$"), Field(description="The secret's last five characters.")
    ]


def _without_defaults(schema: dict[str, Any]) -> None:
    # What a patch leaves out stays as it is: a default would say that it is set to that.
    for member in schema["properties"].values():
        member.pop("default", None)


class _Patch(Shape):
    """A merge patch (RFC 7396): what is not named stays as it is. Only ``expires`` may be null."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def given(self, *names: str) -> dict[str, Any]:
        """Of these members, those that were sent."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class EditKey(_Patch):
    """A merge patch of an API key."""

    name: Name = ""
    scopes: Scopes = []
    allowed_networks: Networks = []
    expires: Expires = None


class ChangeKey(Shape):
    """How to change an API key."""

    overlap: Annotated[
        float, Field(ge=0, le=MAX_OVERLAP, description="Seconds for which the old secret goes on working.")
    ] = 0.0


class CreateSmtp(Shape):
    """A new SMTP credential."""

    name: Annotated[Email, Field(description="The user name of the mail client: an e-mail address.")]
    allowed_networks: Networks = []
    expires: Expires = None


class EditSmtp(_Patch):
    """A merge patch of an SMTP credential."""

    name: Email = ""
    allowed_networks: Networks = []
    expires: Expires = None


class ChangeSmtp(Shape):
    """How to change an SMTP credential: there is nothing to choose, the old secret ends at once."""


class VerifySmtp(Shape):
    """What a mail client presented to the mail relay."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_SECRET)]
    secret: Annotated[str, StringConstraints(max_length=LONGEST_SECRET), Field(repr=False)]
    address: Annotated[
        str | None,
        StringConstraints(max_length=LONGEST_NETWORK),
        Field(description="The mail client's IP address; null where it is not known: then no restricted one passes."),
    ] = None


class CheckNetworks(Shape):
    """Texts that somebody means as networks."""

    allowed_networks: Annotated[
        list[Annotated[str, StringConstraints(max_length=LONGEST_NETWORK)]], Field(max_length=MAX_NETWORKS)
    ]


class CreateAccount(Shape):
    """A new account."""

    email: Email
    operator: Annotated[bool, Field(description="May see and manage everybody's accounts and keys.")] = False


class CreateLink(Shape):
    """How to make a password link: there is nothing to choose."""


class CreateToken(Shape):
    """A new management token."""

    name: Name
    expires: Expires = None
