"""What a test needs and a machine may not have.

Law: nothing is skipped in CI, which installs all of it: there, what is missing is a failure.
"""

from __future__ import annotations

import os
from typing import Final, NoReturn

import pytest

IN_CI: Final = bool(os.environ.get("CI"))


def lacks(what: str, *, not_even_in_ci: bool = False) -> NoReturn:
    """Skip the test, saying ``what`` is missing and where it comes from; fail it in CI, unless CI cannot have it."""
    if IN_CI and not not_even_in_ci:
        pytest.fail(f"{what}; .ci/run installs it")
    pytest.skip(what)  # at home the rest is still tested: who works on it needs no other tool, server or browser


def needs(is_there: object, what: str) -> pytest.MarkDecorator:
    """Tests marked so are skipped where ``what`` is said to be missing; in CI they run, and fail by themselves."""
    return pytest.mark.skipif(not is_there and not IN_CI, reason=what)
