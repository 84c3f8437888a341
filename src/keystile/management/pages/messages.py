"""What a page says after something has been done: fixed texts behind fixed codes.

Law: a redirect carries the code (``?done=key-deleted``), never a text, so that no link can put words on our pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DONE: Final[Mapping[str, str]] = {
    "key-created": "The API key has been created.",
    "key-edited": "The API key has been saved.",
    "key-unchanged": "Nothing was different, so nothing has been changed.",
    "key-changed": "The API key has been changed.",
    "key-deleted": "The API key has been deleted. It is refused from now on.",
    "password-changed": "Your password has been changed, and every other session has ended.",
    "password-set": "The password has been set. You can sign in with it now.",
    "signed-out": "You have signed out.",
    "sessions-ended": "Every other session has ended.",
    "token-created": "The management token has been created.",
    "token-deleted": "The management token has been deleted.",
    "account-created": "The account has been created.",
    "account-deleted": "The account and its keys have been deleted.",
}
