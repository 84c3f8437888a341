"""The service, the store and a follower against a model of dictionaries, in any order of calls."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keystile.keys.errors import KeyRuleBroken
from keystile.keys.keyring import Keyring
from keystile.keys.secret import digest
from keystile.keys.service import KeyService
from keystile.storage.follow import KeyFollower
from keystile.storage.sqlite import SqliteStore

BY: dict[str, Any] = {"actor": "operator (command line)", "origin": "console"}
ACCOUNTS = st.sampled_from(["ann@x.org", "bob@x.org"])
NAMES = st.sampled_from(["main", "other", "third"])
EXPIRIES = st.none() | st.integers(-5, 40)
PER_ACCOUNT = 2


@dataclass
class Known:
    secret: str
    expires: float | None
    version: int = 1
    old: str | None = None
    until: float = 0.0


@dataclass
class Model:
    accounts: dict[str, dict[str, Known]] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def working(self, now: float) -> set[str]:
        found: set[str] = set()
        for keys in self.accounts.values():
            for key in keys.values():
                if key.expires is None or now < key.expires:
                    found |= {key.secret} | ({key.old} if key.old and now < key.until else set())
        return found


class ServiceAgainstAModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now, self.model, self.keyring = 1000.0, Model(), Keyring()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "keystile.db"
        self.store = self.runner.run(SqliteStore.open(path))
        self.service = KeyService(self.store, lambda: self.now, per_account=PER_ACCOUNT)
        self.follower = KeyFollower(path, self.keyring, lambda: self.now)
        self.follower.load()

    def teardown(self) -> None:
        self.follower.close()
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def ask(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Return the answer, or the code of the rule that was broken."""
        try:
            return self.runner.run(call)
        except KeyRuleBroken as fault:
            return fault.code

    def missing(self, account: str, name: str) -> str | None:
        if account not in self.model.accounts:
            return "no_such_account"
        return None if name in self.model.accounts[account] else "no_such_key"

    @rule(account=ACCOUNTS)
    def create_account(self, account: str) -> None:
        answer = self.ask(self.service.create_account(account, **BY))
        assert (answer == "account_exists") == (account in self.model.accounts)
        self.model.accounts.setdefault(account, {})

    @rule(account=ACCOUNTS)
    def delete_account(self, account: str) -> None:
        answer = self.ask(self.service.delete_account(account, **BY))
        assert (answer == "no_such_account") == (account not in self.model.accounts)
        self.model.accounts.pop(account, None)

    @rule(account=ACCOUNTS, name=NAMES, expires=EXPIRIES)
    def create(self, account: str, name: str, expires: int | None) -> None:
        at = None if expires is None else self.now + expires
        answer = self.ask(self.service.create(account, name, expires=at, **BY))
        if expires is not None and expires <= 0:
            assert answer == "expiry_in_the_past"
        elif account not in self.model.accounts:
            assert answer == "no_such_account"
        elif len(self.model.accounts[account]) >= PER_ACCOUNT:
            assert answer == "too_many_keys"
        elif name in self.model.accounts[account]:
            assert answer == "name_taken"
        else:
            self.model.accounts[account][name] = Known(answer.secret, at)
            self.model.secrets.add(answer.secret)

    @rule(account=ACCOUNTS, name=NAMES, new_name=NAMES, expires=EXPIRIES, version=st.none() | st.integers(1, 3))
    def edit(self, account: str, name: str, new_name: str, expires: int | None, version: int | None) -> None:
        at = None if expires is None else self.now + expires
        call = self.service.edit(account, name, new_name=new_name, expires=at, version=version, **BY)
        answer = self.ask(call)
        if missing := self.missing(account, name):
            assert answer == missing
            return
        keys = self.model.accounts[account]
        key = keys[name]
        if version not in (None, key.version):
            assert answer == "conflict"
        elif expires is not None and expires <= 0:
            assert answer == "expiry_in_the_past"
        elif new_name != name and new_name in keys:
            assert answer == "name_taken"
        else:
            key.version += (at, new_name) != (key.expires, name)
            assert answer.key.version == key.version
            key.expires = at
            keys[new_name] = keys.pop(name)

    @rule(account=ACCOUNTS, name=NAMES, overlap=st.sampled_from([0, 0, 5, 20]))
    def change(self, account: str, name: str, overlap: int) -> None:
        answer = self.ask(self.service.change(account, name, overlap, **BY))
        if missing := self.missing(account, name):
            assert answer == missing
            return
        key = self.model.accounts[account][name]
        key.old, key.until = (key.secret, self.now + overlap) if overlap else (None, 0.0)
        key.secret = answer.secret
        key.version += 1
        self.model.secrets.add(answer.secret)

    @rule(account=ACCOUNTS, name=NAMES)
    def delete(self, account: str, name: str) -> None:
        answer = self.ask(self.service.delete(account, name, **BY))
        if missing := self.missing(account, name):
            assert answer == missing
        else:
            del self.model.accounts[account][name]

    @rule(seconds=st.integers(1, 15), checked=st.booleans())
    def wait(self, seconds: int, checked: bool) -> None:
        self.now += seconds
        if checked:
            self.follower.check()

    @invariant()
    def the_follower_admits_exactly_the_secrets_that_work(self) -> None:
        if self.follower.words[0] != self.follower.seen:
            assert self.follower.catch_up()
        admitted = {each for each in self.model.secrets if self.keyring.find(digest(each.encode()), self.now)}
        assert admitted == self.model.working(self.now)

    @invariant()
    def the_list_is_the_model(self) -> None:
        listed = {(key.account_email, key.name, key.version, key.expires) for key in self.ask(self.service.list())}
        assert listed == {
            (account, name, key.version, key.expires)
            for account, keys in self.model.accounts.items()
            for name, key in keys.items()
        }


TestServiceAgainstAModel = ServiceAgainstAModel.TestCase
TestServiceAgainstAModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
