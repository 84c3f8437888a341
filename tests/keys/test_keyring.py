from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keystile.keys.keyring import Keyring, KeyRow


def of(text: str) -> bytes:
    return sha256(text.encode()).digest()


def row(key_id: str = "k", secret: str = "new", **facts: Any) -> KeyRow:
    plain = KeyRow(key_id, "ann@x.org", "main", "A B", "10.0.0.0/8", None, of(secret))
    return plain._replace(**facts)


def overlapping(until: float, **facts: Any) -> KeyRow:
    return row(old_digest=of("old"), old_until=until, **facts)


def test_a_key_is_found_by_the_digest_of_its_secret() -> None:
    held = Keyring([row()]).find(of("new"), 0.0)
    assert held is not None
    assert (held.id, held.account, held.name, held.scopes) == ("k", "ann@x.org", "main", frozenset("AB"))
    assert held.networks.allows(ip_address("10.1.2.3"))
    assert not held.networks.allows(ip_address("192.0.2.1"))


def test_an_unknown_digest_finds_nothing() -> None:
    assert Keyring([row()]).find(of("other"), 0.0) is None


def test_a_key_ends_at_the_second_of_its_expiry() -> None:
    keyring = Keyring([row(expires=100.0)])
    assert keyring.find(of("new"), 99.9)
    assert keyring.find(of("new"), 100.0) is None


def test_both_secrets_work_until_the_end_of_the_overlap() -> None:
    keyring = Keyring([overlapping(100.0)])
    old, new = keyring.find(of("old"), 99.9), keyring.find(of("new"), 99.9)
    assert old is not None
    assert new is not None
    assert (old.id, old.scopes, old.networks, old.expires) == (new.id, new.scopes, new.networks, new.expires)
    assert (old.digest, new.digest) == (of("old"), of("new"))  # by which its use is told
    assert keyring.find(of("old"), 100.0) is None
    assert keyring.find(of("new"), 100.0)


def test_an_old_secret_ends_with_its_key() -> None:
    assert Keyring([overlapping(100.0, expires=50.0)]).find(of("old"), 60.0) is None


def test_an_overlap_that_has_ended_is_forgotten() -> None:
    keyring = Keyring([overlapping(100.0)])
    assert not keyring.drop_ended(99.0)
    assert keyring.find(of("old"), 0.0)
    assert keyring.drop_ended(100.0)
    assert keyring.find(of("old"), 0.0) is None


def test_an_edited_key_takes_the_place_of_the_one_before() -> None:
    keyring = Keyring([overlapping(100.0)])
    before = keyring.find(of("new"), 0.0)
    keyring.put(row(secret="newer", scopes="C"))
    after = keyring.find(of("newer"), 0.0)
    assert after is not None
    assert after is not before
    assert after.scopes == {"C"}
    assert keyring.find(of("new"), 0.0) is keyring.find(of("old"), 0.0) is None
    assert len(keyring) == 1


def test_a_removed_key_is_gone_with_both_secrets() -> None:
    keyring = Keyring([overlapping(100.0)])
    keyring.remove("k")
    keyring.remove("never was")
    assert [keyring.find(of("new"), 0.0), keyring.find(of("old"), 0.0), keyring.get("k")] == [None] * 3
    assert len(keyring) == 0


def test_a_digest_that_moved_to_another_key_stays_when_the_first_is_removed_late() -> None:
    keyring = Keyring([row("a", "shared")])
    keyring.put(row("b", "shared"))
    keyring.remove("a")
    held = keyring.find(of("shared"), 0.0)
    assert held is not None
    assert held.id == "b"


def test_a_load_that_fails_on_the_way_changes_nothing() -> None:
    def broken() -> Iterator[KeyRow]:
        yield row("other", "else")
        raise OSError

    keyring = Keyring([row()])
    with pytest.raises(OSError):  # noqa: PT011
        keyring.load_rows(broken())
    assert keyring.find(of("new"), 0.0)
    assert keyring.find(of("else"), 0.0) is None


def test_what_keys_have_in_common_is_held_once() -> None:
    keyring = Keyring([row("a", "1"), row("b", "2")])
    first, second = keyring.get("a"), keyring.get("b")
    assert first is not None
    assert second is not None
    assert first.scopes is second.scopes
    assert first.networks is second.networks


def test_values_of_keys_long_edited_do_not_pile_up() -> None:
    keyring = Keyring()
    for number in range(5000):
        keyring.put(row(scopes=f"S{number}"))
    assert len(keyring._shared._scopes) < 1100


def test_the_repr_of_a_key_shows_no_digest() -> None:
    held = Keyring([row()]).get("k")
    assert repr(held) == "<HeldKey k ann@x.org 'main'>"


@dataclass
class Known:
    digest: str
    expires: float | None
    old: str | None
    until: float


SECRETS = [f"s{number}" for number in range(12)]


@dataclass
class Model:
    keys: dict[str, Known] = field(default_factory=dict)

    def owner(self, secret: str, now: float) -> str | None:
        for key_id, known in self.keys.items():
            alive = known.expires is None or now < known.expires
            if alive and (known.digest == secret or (known.old == secret and now < known.until)):
                return key_id
        return None


class KeyringAgainstAModel(RuleBasedStateMachine):
    """A keyring does what a list that is searched from end to end would do."""

    def __init__(self) -> None:
        super().__init__()
        self.keyring, self.model, self.now = Keyring(), Model(), 0.0

    @rule(
        key_id=st.sampled_from("abc"),
        secrets=st.permutations(SECRETS),
        expires=st.none() | st.integers(0, 50),
        until=st.none() | st.integers(0, 50),
    )
    def put(self, key_id: str, secrets: list[str], expires: int | None, until: int | None) -> None:
        others = [known for other, known in self.model.keys.items() if other != key_id]
        taken = {known.digest for known in others} | {known.old for known in others}
        new, old = [secret for secret in secrets if secret not in taken][:2]
        facts: dict[str, Any] = {"expires": expires}
        if until is not None:
            facts |= {"old_digest": of(old), "old_until": until}
        self.keyring.put(row(key_id, new, **facts))
        overlap = (old, float(until)) if until is not None else (None, 0.0)
        self.model.keys[key_id] = Known(new, expires, *overlap)

    @rule(key_id=st.sampled_from("abc"))
    def remove(self, key_id: str) -> None:
        self.keyring.remove(key_id)
        self.model.keys.pop(key_id, None)

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.keyring.drop_ended(self.now)

    @invariant()
    def finds_the_same(self) -> None:
        for secret in SECRETS:
            held = self.keyring.find(of(secret), self.now)
            assert (held.id if held else None) == self.model.owner(secret, self.now)

    @invariant()
    def counts_the_same(self) -> None:
        assert len(self.keyring) == len(self.model.keys)


TestKeyringAgainstAModel = KeyringAgainstAModel.TestCase
TestKeyringAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
