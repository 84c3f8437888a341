from __future__ import annotations

import dataclasses
import math

from keystile.process.charge import Charge

CHARGE = Charge(
    supervisor=1,
    line=3,
    snapshot=4,
    slots=5,
    counters=6,
    channel=7,
    listeners=(8, 9),
    neighbours=(10,),
    place=2,
    factory="math:sqrt",
    openssl=11,
    servers=12,
)


def test_a_charge_survives_the_command_line() -> None:
    assert Charge.from_json(CHARGE.to_json()) == CHARGE


def test_a_factory_is_an_attribute_of_a_module_or_the_module() -> None:
    assert CHARGE.made() is math.sqrt
    assert dataclasses.replace(CHARGE, factory="math").made() is math
