"""Opening the store for a command: the service and the passwords, or one error.

Law: this file turns what the domain and the store complain about into what a command says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from keystile.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from keystile.config.model import Settings
    from keystile.keys.service import KeyService
    from keystile.storage.passwords import Passwords

Result = TypeVar("Result")


def ask(settings: Settings, question: Callable[[KeyService, Passwords], Awaitable[Result]]) -> Result:
    """Open the store of these settings, put one question, close it. Raises CommandFailed."""
    import asyncio

    async def work() -> Result:
        async with opened(settings) as parts:
            return await question(*parts)

    return asyncio.run(work())


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[KeyService, Passwords]]:
    """The key service and the passwords; a broken rule and a store that fails become CommandFailed."""
    from keystile import app

    with failures(settings):
        async with app.open_keys(settings) as parts:
            yield parts


@contextmanager
def failures(settings: Settings) -> Iterator[None]:
    """Turn a broken rule, and a store that fails, into CommandFailed."""
    from keystile.keys.errors import KeyRuleBroken
    from keystile.storage.errors import StoreError

    try:
        yield
    except KeyRuleBroken as error:
        raise CommandFailed(error.message) from None
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"the store {settings.store_name}: {error}") from error
