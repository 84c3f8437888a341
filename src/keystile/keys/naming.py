"""Names of keys and e-mail addresses of accounts: what is valid, and the one way each is spelt.

Law: this file knows texts only; whether a name is taken is for the service to say.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_LENGTH = 100
MAX_EMAIL_LENGTH = 254
# Control characters, half characters, and line and paragraph ends would break logs, tables and fields.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# RFC 5322 dot-atom @ host name (RFC 1123). One label is enough: admin@localhost is an account.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def key_name(text: str) -> str:
    """Return the name of a key, trimmed and in Unicode's form C, so that what looks equal is equal.

    Raises ValueError when it is empty, above 100 characters, or holds control characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValueError("a key needs a name")
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"a name has at most {MAX_NAME_LENGTH} characters; this one has {len(name)}")
    if any(unicodedata.category(character) in _REFUSED for character in name):
        raise ValueError(f"{name!r} holds control characters")
    return name


def email_address(text: str) -> str:
    """Return the e-mail address trimmed and in lower case: the one spelling under which an account is found.

    Raises ValueError when it is none, or is not ASCII.
    """
    address = text.strip().lower()
    if len(address) > MAX_EMAIL_LENGTH or not address.isascii() or not _EMAIL.fullmatch(address):
        raise ValueError(f"{text!r} is not an e-mail address (ASCII only)")
    return address
