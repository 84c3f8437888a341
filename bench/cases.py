"""The cases: which load, and what is switched on in the gateways meanwhile.

Law: a table. A new case is a new row here and, where it asks for something new, a field that the gateways read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Case:
    """``load``: the same request again and again, or none like the one before. ``log``: access log on.

    ``tls``: the client comes over TLS. ``anew``: a new connection for every request.
    """

    name: str
    title: str
    load: Literal["same", "varied"]
    log: bool = False
    tls: bool = False
    anew: bool = False


CASES = {
    case.name: case
    for case in (
        Case("same", "same request each time", "same"),
        Case("varied", "every request different", "varied"),
        Case("log", "same request, access log on", "same", log=True),
        Case("varied-log", "every request different, access log on", "varied", log=True),
        Case("tls", "same request, TLS kept alive", "same", tls=True),
        Case("tls-new", "a new TLS connection for each request", "same", tls=True, anew=True),
    )
}
