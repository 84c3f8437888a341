from __future__ import annotations

import stat
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from keystile.storage.passwords import PasswordRefused, Passwords, decoy, passwords_of
from tests.storage.engines import Engine

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ONLY_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
RIGHT, WRONG = "correct horse", "battery staple"


@pytest.fixture
async def passwords(engine: Engine) -> AsyncIterator[Passwords]:
    passwords = await engine.passwords(QUICK, lambda: 1000.0)
    yield passwords
    await passwords.close()


def hashes(engine: Engine) -> list[str]:
    return [row[0] for row in engine.run_access("SELECT hash FROM passwords")]


@ONLY_SQLITE
async def test_passwords_lie_in_a_file_of_their_own_for_its_owner_alone(passwords: Passwords, engine: Engine) -> None:
    path = passwords_of(engine.path)
    assert path.name == "keystile-passwords.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_password_is_right_or_wrong(passwords: Passwords) -> None:
    await passwords.set_password("a", RIGHT)
    assert await passwords.verify("a", RIGHT)
    assert not await passwords.verify("a", WRONG)
    assert not await passwords.verify("a", "x" * 2000)


async def test_an_account_without_a_password_has_none_that_is_right(passwords: Passwords) -> None:
    assert not await passwords.verify("nobody", RIGHT)
    assert not await passwords.verify(None, "no account has this password")


async def test_a_new_password_takes_the_place_of_the_old_one(passwords: Passwords) -> None:
    await passwords.set_password("a", RIGHT)
    await passwords.set_password("a", WRONG)
    assert await passwords.verify("a", WRONG)
    assert not await passwords.verify("a", RIGHT)


async def test_a_deleted_password_is_gone(passwords: Passwords) -> None:
    await passwords.set_password("a", RIGHT)
    await passwords.delete("a")
    await passwords.delete("a")
    assert not await passwords.verify("a", RIGHT)


@pytest.mark.parametrize("bad", ["", "short", "x" * 1025])
async def test_a_password_too_short_or_too_long_is_refused_without_being_repeated(
    passwords: Passwords, bad: str
) -> None:
    with pytest.raises(PasswordRefused) as caught:
        await passwords.set_password("a", bad)
    assert not bad or bad not in str(caught.value)


async def test_only_an_argon2id_hash_is_kept(passwords: Passwords, engine: Engine) -> None:
    await passwords.set_password("a", RIGHT)
    assert hashes(engine)[0].startswith("$argon2id$")
    assert RIGHT not in str(engine.run_access("SELECT * FROM passwords"))
    if passwords_of(engine.path).exists():
        assert RIGHT.encode() not in passwords_of(engine.path).read_bytes()


async def test_a_hash_of_lower_cost_is_made_anew_when_the_password_is_seen(
    passwords: Passwords, engine: Engine
) -> None:
    await passwords.set_password("a", RIGHT)
    before = hashes(engine)
    dearer = await engine.passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert not await dearer.verify("a", WRONG)
    assert hashes(engine) == before
    assert await dearer.verify("a", RIGHT)
    assert "t=2" in hashes(engine)[0]
    assert await dearer.verify("a", RIGHT)
    await dearer.close()


async def test_a_damaged_hash_is_a_wrong_password(passwords: Passwords, engine: Engine) -> None:
    await passwords.set_password("a", RIGHT)
    engine.run_access("UPDATE passwords SET hash = 'damaged'")
    assert not await passwords.verify("a", RIGHT)


async def test_a_new_password_has_a_new_version_and_a_new_hash_of_the_same_has_not(
    passwords: Passwords, engine: Engine
) -> None:
    await passwords.set_password("a", RIGHT)
    assert await passwords.check("a", RIGHT) == 1
    await passwords.set_password("a", RIGHT)
    assert await passwords.check("a", RIGHT) == 2
    dearer = await engine.passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert await dearer.check("a", RIGHT) == 2
    assert "t=2" in hashes(engine)[0]
    assert await dearer.check("a", RIGHT) == 2
    await dearer.close()


async def test_a_hash_is_not_made_anew_over_a_password_that_was_changed_meanwhile(
    passwords: Passwords, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await passwords.set_password("a", RIGHT)
    dearer = await engine.passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    hashing = dearer._hash

    async def meanwhile(password: str) -> str:
        await passwords.set_password("a", WRONG)
        return await hashing(password)

    monkeypatch.setattr(dearer, "_hash", meanwhile)
    assert await dearer.verify("a", RIGHT)
    assert await passwords.verify("a", WRONG)
    assert not await passwords.verify("a", RIGHT)
    await dearer.close()


async def test_a_password_is_set_only_while_the_version_that_was_looked_at_is_there(passwords: Passwords) -> None:
    assert not await passwords.set_password("a", RIGHT, version=1)
    assert await passwords.set_password("a", RIGHT)
    assert await passwords.set_password("a", WRONG, version=1)
    assert not await passwords.set_password("a", RIGHT, version=1)
    assert await passwords.verify("a", WRONG)


async def test_a_password_is_set_only_while_the_link_is_good(passwords: Passwords, engine: Engine) -> None:
    digest = b"d" * 32
    assert not await passwords.set_password("a", RIGHT, link=digest)
    engine.run_access("INSERT INTO links VALUES (?, 'a', 1000.0)", (digest,))
    assert not await passwords.set_password("a", RIGHT, link=digest)
    engine.run_access("UPDATE links SET expires = 1000.1")
    assert await passwords.set_password("a", RIGHT, link=digest)
    assert not await passwords.set_password("a", WRONG, link=digest)
    assert await passwords.verify("a", RIGHT)


async def test_a_password_may_hold_anything_that_can_be_sent(passwords: Passwords) -> None:
    odd = "\ud800 half a character \0"
    await passwords.set_password("a", odd)
    assert await passwords.verify("a", odd)
    assert not await passwords.verify("a", odd.replace("\ud800", "?"))


async def test_the_first_question_about_an_unknown_account_takes_no_longer(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: str) -> str:
        raise AssertionError("a hash was made")

    monkeypatch.setattr(passwords, "_hash", never)
    assert await passwords.check(None, RIGHT) is None


def test_what_an_unknown_account_is_compared_with_costs_as_much_as_a_password_and_is_none() -> None:
    for hasher in (PasswordHasher(), QUICK, PasswordHasher(time_cost=2, memory_cost=64, hash_len=20, salt_len=10)):
        made_up = decoy(hasher)
        assert extract_parameters(made_up) == extract_parameters(hasher.hash(RIGHT))
        assert not hasher.check_needs_rehash(made_up)
        assert made_up != decoy(hasher)
    with pytest.raises(VerifyMismatchError):  # it is compared to the end, and not refused for how it is written
        QUICK.verify(decoy(QUICK), RIGHT)


async def test_an_account_has_a_password_or_not(passwords: Passwords) -> None:
    assert not await passwords.any()
    await passwords.set_password("a", "long enough")
    assert (await passwords.has("a"), await passwords.has("b")) == (True, False)
    assert await passwords.any()
