"""The one error of the domain: a rule of keys was broken, with a code for programs and a message for people.

Law: whoever shows the error (CLI, API, page) maps the code; nobody parses the message.
"""

from __future__ import annotations

from typing import Literal

RuleCode = Literal[
    "too_many_keys",
    "name_taken",
    "no_such_account",
    "no_such_key",
    "bad_name",
    "bad_scope",
    "bad_network",
    "bad_expiry",
    "bad_overlap",
    "expiry_in_the_past",
    "conflict",
    "bad_digest",
    "bad_hint",
    "digest_taken",
    "account_exists",
    "bad_email",
    "beyond_authority",
    "too_many_credentials",
    "no_such_credential",
]


class KeyRuleBroken(Exception):
    """A rule (of ``service.py``, ``smtp.py``) says no; ``code`` says which, ``message`` is safe to show."""

    def __init__(self, code: RuleCode, message: str) -> None:
        super().__init__(message)
        self.code: RuleCode = code
        self.message = message
