from __future__ import annotations

from keystile.keys.errors import KeyRuleBroken


def test_a_broken_rule_has_a_code_for_programs_and_a_message_for_people() -> None:
    fault = KeyRuleBroken("name_taken", "there is one")
    assert (fault.code, fault.message, str(fault)) == ("name_taken", "there is one", "there is one")
