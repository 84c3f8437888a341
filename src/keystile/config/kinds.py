"""The kinds of values in gateway.yaml: for each a parser, and what an editor is told about it.

Law: this file binds ``units.py``, ``addresses.py``, ``tokens.py``, ``templates.py`` and ``choices.py`` to
pydantic; it parses nothing itself. A pattern here is at most as strict as its parser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from keystile.config import addresses, choices, lender, moments, templates, tokens, units
from keystile.config.database import DatabaseUrl
from keystile.config.log_fields import FIELDS
from keystile.config.model import MANAGEMENT_UPSTREAM, Network, Server


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A type that ``read`` makes of one value (ValueError with what would be right); ``schema`` is for editors."""

    read: Callable[[object], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Replaces what pydantic would do by itself."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What editors check."""
        return dict(self.schema)


def whole(least: int, most: int) -> Read:
    """A whole number from ``least`` to ``most``."""
    return Read(units.whole(least, most), {"type": "integer", "minimum": least, "maximum": most})


def _words(*words: str) -> Read:
    return Read(choices.one_of(*words), {"enum": list(words)})


def _text(**schema: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, **schema}


def _any_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


_NULL: dict[str, Any] = {"type": "null"}
_DURATION = {"type": "string", "pattern": f"^{units.DURATION}$", "examples": ["250ms", "10s", "5m"]}
_SIZE = {"type": "string", "pattern": f"^{units.SIZE}$", "examples": ["32KiB", "25MiB"]}
_RATE = {"type": "string", "pattern": f"^{units.SIZE}/s$", "examples": ["512B/s", "16KiB/s"]}
_SHARE = {"type": "string", "pattern": "^[0-9]{1,3}%$", "examples": ["50%"]}
_COUNT = {"type": "integer", "minimum": 0}

Text = Annotated[str, Read(units.text, _text())]
Flag = Annotated[bool, Read(units.flag, {"type": "boolean"})]
OnlyTrue = Annotated[Literal[True], Read(choices.only_true, {"const": True})]
Duration = Annotated[float, Read(units.duration, _DURATION)]
DurationOrZero = Annotated[float, Read(units.duration_or_zero, _DURATION)]
WholeSeconds = Annotated[int, Read(units.whole_seconds, _any_of(_DURATION, {**_COUNT, "maximum": 86400}))]
HeadSize = Annotated[int, Read(units.size_between(1024, 16 << 20, "from 1KiB to 16MiB"), _any_of(_SIZE, _COUNT))]
SizeOrNone = Annotated[int | None, Read(units.size_or_none, _any_of({"const": "none"}, _SIZE, _COUNT, _NULL))]
RateOrNone = Annotated[float | None, Read(units.rate_or_none, _any_of({"const": "none"}, _RATE, _NULL))]
LagOrNone = Annotated[float | None, Read(units.lag_or_none, _any_of({"const": "none"}, _DURATION, _NULL))]
MemoryOrNone = Annotated[int | None, Read(units.memory_or_none, _any_of({"const": "none"}, _SIZE, _COUNT, _NULL))]
BufferSize = Annotated[int, Read(units.size_between(1 << 20, 1 << 40, "from 1MiB to 1TiB"), _any_of(_SIZE, _COUNT))]
Connections = Annotated[
    int | None, Read(units.connections, _any_of({"const": "auto"}, {**_COUNT, "minimum": 1, "maximum": 1_000_000}))
]
Workers = Annotated[int, Read(units.workers, _any_of({"const": "auto"}, {**_COUNT, "minimum": 1, "maximum": 64}))]
ListenAddress = Annotated[addresses.Address, Read(addresses.address, _text(pattern=":[0-9]{1,5}$"))]
Cidr = Annotated[Network, Read(addresses.network, _text())]
ServerUrl = Annotated[Server, Read(addresses.server, _text(pattern="^(https?://[^/?#]+/?|unix:.*[^/])$"))]
Share = Annotated[float, Read(units.share, _SHARE)]
ShareOrNone = Annotated[float, Read(units.share_or_none, _SHARE)]
MostInFlight = Annotated[int | None, Read(units.most_in_flight, _any_of({"const": "none"}, _COUNT, _NULL))]
Statuses = Annotated[
    tuple[tuple[int, int], ...], Read(units.statuses, _any_of(_text(examples=["200-399", "200-299, 304"]), _COUNT))
]
ProbePath = Annotated[str, Read(templates.probe_path, _text(pattern="^/"))]
BalanceChoice = Annotated[
    Literal["round_robin", "least_in_flight", "hash_key", "hash_address"],
    _words("round_robin", "least_in_flight", "hash_key", "hash_address"),
]
HostName = Annotated[str, Read(addresses.host_name, _text())]
ServerName = Annotated[str | None, Read(addresses.server_name, _any_of(_text(), _NULL))]
HttpsOrigin = Annotated[
    str | None, Read(addresses.https_origin, _any_of(_text(pattern=r"^https://[^/?#@]+$"), _NULL))
]
Origin = Annotated[str, Read(addresses.origin, _text(pattern=r"^(\*|https?://[^/?#]+)$"))]
FieldName = Annotated[str, Read(tokens.field_name, _text())]
KeyField = Annotated[str, Read(tokens.key_field, _text())]
Parameter = Annotated[str | None, Read(tokens.query_parameter, _any_of(_text(), _NULL))]
Scope = Annotated[str, Read(tokens.scope, _text(maxLength=200))]
Method = Annotated[str, Read(tokens.method, _text(examples=["GET", "POST"]))]
UpstreamName = Annotated[str, Read(tokens.upstream_name, _text(**{"not": {"const": MANAGEMENT_UPSTREAM}}))]
Template = Annotated[str, Read(templates.template, _text(pattern="^/"))]
Prefix = Annotated[str, Read(templates.prefix, {"type": "string"})]
CallsPrefix = Annotated[str, Read(templates.calls_prefix, {"type": "string", "examples": ["/v4/security"]})]
PlainPath = Annotated[str | None, Read(templates.health_path, _any_of(_text(pattern="^/"), _NULL))]
Pattern = Annotated[str | None, Read(tokens.description_pattern, _any_of(_text(), _NULL))]
ScopeSource = Annotated[str | None, Read(tokens.scope_source, _any_of(_text(pattern="^(security$|x-)"), _NULL))]
Version = Annotated[Literal["1.2", "1.3"], Read(choices.tls_version, {"enum": ["1.2", "1.3", 1.2, 1.3]})]
LegacyVersion = Annotated[Literal["1.0", "1.1"], Read(choices.legacy_version, {"enum": ["1.0", "1.1", 1.0, 1.1]})]
Profile = Annotated[Literal["intermediate", "modern"], Read(choices.profile, {"enum": ["intermediate", "modern"]})]
PlainHttp = Annotated[Literal["allow", "refuse_keys"], _words("allow", "refuse_keys")]
Day = Annotated[float, Read(moments.day, _text(pattern=f"^{moments.DAY}$", examples=["2027-03-31"]))]
Moment = Annotated[float, Read(moments.moment, _text(examples=["2027-03-01T09:00Z"]))]
HstsAge = Annotated[float | None, Read(units.hsts_age, _any_of(_DURATION, _NULL))]
Refuse = Annotated[Literal["refuse"], Read(choices.over_limit, {"const": "refuse"})]
AddressField = Annotated[Literal["X-Forwarded-For", "Forwarded"], _words("X-Forwarded-For", "Forwarded")]
HostChoice = Annotated[Literal["upstream", "preserve"], _words("upstream", "preserve")]
AllOrAny = Annotated[Literal["all", "any"], _words("all", "any")]
Store = Annotated[
    str | DatabaseUrl,
    Read(choices.store, _any_of(_text(pattern="^sqlite:///."), _text(pattern="^postgres(ql)?://[^:/@]*@?[^@]+/."))),
]
FilePath = Annotated[str, Read(units.text, _text())]
NameOfHost = Annotated[str | None, Read(choices.name_of_host, _any_of(_text(maxLength=64), _NULL))]
FilePathOrNone = Annotated[str | None, Read(units.text_or_none, _any_of(_text(), _NULL))]
_LENDER = _text(pattern="^(valkey|redis)s?(\\+sentinel)?://[^/]", examples=["valkeys://10.0.0.5:6379"])
SlotsPlace = Annotated[lender.Lender | None, Read(lender.slots, _any_of({"const": "host"}, _LENDER))]
LenderUrl = Annotated[lender.Lender, Read(lender.lender, _LENDER)]
WhenUnreachable = Annotated[Literal["per_host", "refuse"], _words("per_host", "refuse")]
LeaseTime = Annotated[float, Read(lender.lease_time, _DURATION)]
Variable = Annotated[str, Read(lender.variable, _text(pattern="^[A-Za-z_][A-Za-z0-9_]*$"))]
LogField = Annotated[str, Read(choices.log_field, {"enum": [choices.DEFAULT, *FIELDS]})]
Redacted = Annotated[str, Read(tokens.redacted_parameter, _text(examples=["token", "*secret*"]))]
TraceChoice = Annotated[Literal["pass", "begin", "off"], Read(choices.trace, {"enum": ["pass", "begin", "off", False]})]
Otlp = Annotated[str | None, Read(choices.otlp, _any_of(_text(pattern="^https?://"), _NULL))]
AccessLogPlace = Annotated[str | None, Read(choices.access_log, _any_of(_text(), {"const": False}))]
NoCors = Annotated[Literal[False] | None, Read(choices.cors_off, {"enum": [False, None]})]
