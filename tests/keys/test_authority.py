"""Attacks of one credential on others, and a model of what it may do."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystile.keys.authority import Authority
from keystile.keys.errors import KeyRuleBroken
from keystile.keys.key import ApiKey, Credential, Permits
from keystile.keys.networks import EVERYWHERE, Networks
from keystile.keys.secret import digest
from keystile.keys.service import KeyService
from keystile.keys.smtp import SmtpService
from keystile.storage.sqlite import SqliteStore

BY: dict[str, Any] = {"actor": "key manager", "origin": "192.0.2.1"}
ANN, BOB = "ann@x.org", "bob@x.org"
MANAGES = "ModifyAccessTokens"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Ground:
    """Ann's acting key ``manager`` among weaker, equal and stronger credentials; and Bob, with a key."""

    store: SqliteStore
    keys: KeyService
    smtp: SmtpService
    clock: Clock
    manager: ApiKey
    secret: str

    @property
    def within(self) -> Authority:
        return Authority.of(self.manager)

    async def everything(self) -> object:
        events = [(event.what, event.key_id) for event in await self.keys.events()]
        return await self.store.keys(), await self.store.smtp_credentials(), events


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    clock = Clock()
    async with await SqliteStore.open(tmp_path / "keystile.db") as store:
        keys, smtp = KeyService(store, clock), SmtpService(store, clock)
        for email in (ANN, BOB):
            await keys.create_account(email, **BY)
        made = await keys.create(ANN, "manager", [MANAGES, "Export", "SendSmtp"], ["10.0.0.0/8"], 5000.0, **BY)
        await keys.create(ANN, "weak", ["Export"], ["10.1.0.0/16"], 4000.0, **BY)
        await keys.create(ANN, "scopes", ["Export", "Billing"], ["10.1.0.0/16"], 4000.0, **BY)
        await keys.create(ANN, "networks", ["Export"], ["10.1.0.0/16", "11.0.0.1"], 4000.0, **BY)
        await keys.create(ANN, "everywhere", ["Export"], [], 4000.0, **BY)
        await keys.create(ANN, "longer", ["Export"], ["10.1.0.0/16"], 5001.0, **BY)
        await keys.create(ANN, "for-ever", ["Export"], ["10.1.0.0/16"], None, **BY)
        await keys.create(BOB, "bobs", ["Export"], ["10.1.0.0/16"], 4000.0, **BY)
        await smtp.create(ANN, "weak@x.org", ["10.1.0.0/16"], 4000.0, **BY)
        await smtp.create(ANN, "strong@x.org", **BY)
        await smtp.create(BOB, "bobs@x.org", ["10.1.0.0/16"], 4000.0, **BY)
        yield Ground(store, keys, smtp, clock, made.key, made.secret)


Attack = Callable[[Ground, Any], Awaitable[object]]
NEAR = ["10.1.0.0/16"]
ATTACKS: dict[str, tuple[Attack, str]] = {
    # What it makes
    "make: one scope more": (lambda g, w: g.keys.create(ANN, "n", ["Export", "Billing"], NEAR, 4000.0, **w), "Billing"),
    "make: a scope in other case": (lambda g, w: g.keys.create(ANN, "n", ["EXPORT"], NEAR, 4000.0, **w), "EXPORT"),
    "make: everywhere": (lambda g, w: g.keys.create(ANN, "n", ["Export"], [], 4000.0, **w), "everywhere"),
    "make: one address more": (
        lambda g, w: g.keys.create(ANN, "n", ["Export"], [*NEAR, "9.255.255.255"], 4000.0, **w),
        "9.255.255.255",
    ),
    "make: every IPv6 address": (lambda g, w: g.keys.create(ANN, "n", [], [*NEAR, "::/0"], 4000.0, **w), "::/0"),
    "make: another mapped address": (
        lambda g, w: g.keys.create(ANN, "n", [], ["::ffff:11.0.0.1"], 4000.0, **w),
        "11.0.0.1",
    ),
    "make: later": (lambda g, w: g.keys.create(ANN, "n", [], NEAR, 5000.5, **w), "expires"),
    "make: for ever": (lambda g, w: g.keys.create(ANN, "n", [], NEAR, None, **w), "expires"),
    "make: in another account": (lambda g, w: g.keys.create(BOB, "n", [], NEAR, 4000.0, **w), "account"),
    "import: one scope more": (
        lambda g, w: g.keys.import_key(ANN, "n", "ab" * 32, "12345", ["Billing"], NEAR, 4000.0, **w),
        "Billing",
    ),
    "import: everywhere and for ever": (
        lambda g, w: g.keys.import_key(ANN, "n", "ab" * 32, "12345", **w),
        "everywhere",
    ),
    # What it makes of a weaker one
    "edit: widen only the networks": (
        lambda g, w: g.keys.edit(ANN, "weak", networks=[*NEAR, "0.0.0.0"], **w),
        "0.0.0.0",
    ),
    "edit: take the restriction": (lambda g, w: g.keys.edit(ANN, "weak", networks=[], **w), "everywhere"),
    "edit: only the expiry, to never": (lambda g, w: g.keys.edit(ANN, "weak", expires=None, **w), "expires"),
    "edit: only the expiry, to later": (lambda g, w: g.keys.edit(ANN, "weak", expires=5001.0, **w), "expires"),
    "edit: one scope more": (lambda g, w: g.keys.edit(ANN, "weak", scopes=["Export", "Billing"], **w), "Billing"),
    # Itself
    "edit itself: one scope more": (
        lambda g, w: g.keys.edit(ANN, "manager", scopes=[MANAGES, "Export", "SendSmtp", "Billing"], **w),
        "Billing",
    ),
    "edit itself: everywhere": (lambda g, w: g.keys.edit(ANN, "manager", networks=[], **w), "everywhere"),
    "edit itself: for ever": (lambda g, w: g.keys.edit(ANN, "manager", expires=None, **w), "expires"),
    # Stronger ones: whoever may change one has its new secret
    **{
        f"{act}: a key with more {name}": (attack, told)
        for name, told in {
            "scopes": "Billing",
            "networks": "11.0.0.1",
            "everywhere": "everywhere",
            "longer": "expires",
            "for-ever": "expires",
        }.items()
        for act, attack in {
            "change": (lambda g, w, name=name: g.keys.change(ANN, name, **w)),
            "change with overlap": (lambda g, w, name=name: g.keys.change(ANN, name, 60.0, **w)),
            "delete": (lambda g, w, name=name: g.keys.delete(ANN, name, **w)),
            "rename": (lambda g, w, name=name: g.keys.edit(ANN, name, new_name="mine", **w)),
            "narrow": (
                lambda g, w, name=name: g.keys.edit(ANN, name, scopes=[], networks=NEAR, expires=2000.0, **w)
            ),
        }.items()
    },
    # Another account's
    "delete: a key of another account": (lambda g, w: g.keys.delete(BOB, "bobs", **w), "account"),
    "change: a key of another account": (lambda g, w: g.keys.change(BOB, "bobs", **w), "account"),
    "edit: a key of another account": (lambda g, w: g.keys.edit(BOB, "bobs", scopes=[], **w), "account"),
    # SMTP credentials
    "make: an SMTP credential everywhere": (lambda g, w: g.smtp.create(ANN, "n@x.org", [], 4000.0, **w), "everywhere"),
    "make: an SMTP credential for ever": (lambda g, w: g.smtp.create(ANN, "n@x.org", NEAR, None, **w), "expires"),
    "make: one in another account": (lambda g, w: g.smtp.create(BOB, "n@x.org", NEAR, 4000.0, **w), "account"),
    "edit: an SMTP credential, everywhere": (
        lambda g, w: g.smtp.edit(ANN, "weak@x.org", networks=[], **w),
        "everywhere",
    ),
    "edit: an SMTP credential, for ever": (lambda g, w: g.smtp.edit(ANN, "weak@x.org", expires=None, **w), "expires"),
    "change: a stronger SMTP credential": (lambda g, w: g.smtp.change(ANN, "strong@x.org", **w), "everywhere"),
    "delete: a stronger SMTP credential": (lambda g, w: g.smtp.delete(ANN, "strong@x.org", **w), "everywhere"),
    "narrow: a stronger SMTP credential": (
        lambda g, w: g.smtp.edit(ANN, "strong@x.org", networks=NEAR, expires=2000.0, **w),
        "everywhere",
    ),
    "delete: an SMTP credential of another account": (lambda g, w: g.smtp.delete(BOB, "bobs@x.org", **w), "account"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_key_makes_or_alters_another_beyond_itself(ground: Ground, attack: str) -> None:
    before = await ground.everything()
    act, told = ATTACKS[attack]
    with pytest.raises(KeyRuleBroken) as caught:
        await act(ground, {"within": ground.within, **BY})
    assert caught.value.code == "beyond_authority"
    assert told in caught.value.message
    assert await ground.everything() == before


async def test_what_lies_within_may_be_made_and_altered(ground: Ground) -> None:
    w: dict[str, Any] = {"within": ground.within, **BY}
    await ground.keys.create(ANN, "same", [MANAGES, "Export", "SendSmtp"], ["10.0.0.0/8"], 5000.0, **w)
    await ground.keys.create(ANN, "mapped", [" Export "], ["::ffff:10.255.255.255"], 4000.0, **w)
    await ground.keys.import_key(ANN, "old", "ab" * 32, "12345", ["Export"], NEAR, 4000.0, **w)
    await ground.keys.edit(ANN, "weak", scopes=["Export", "SendSmtp"], networks=["10.0.0.0/8"], expires=5000.0, **w)
    await ground.keys.change(ANN, "weak", 60.0, **w)
    await ground.keys.delete(ANN, "weak", **w)
    await ground.smtp.create(ANN, "n@x.org", NEAR, 4000.0, **w)
    await ground.smtp.edit(ANN, "n@x.org", networks=["10.0.0.0/8"], expires=5000.0, **w)
    await ground.smtp.change(ANN, "n@x.org", **w)
    await ground.smtp.delete(ANN, "n@x.org", **w)
    await ground.keys.change(ANN, "manager", **w)
    await ground.keys.edit(ANN, "manager", expires=4500.0, **w)
    await ground.keys.delete(ANN, "manager", within=replace(ground.within, expires=4500.0), **BY)


async def test_a_key_without_send_smtp_makes_and_alters_no_smtp_credential(ground: Ground) -> None:
    plain = (await ground.keys.create(ANN, "plain", [MANAGES, "Export"], **BY)).key
    w: dict[str, Any] = {"within": Authority.of(plain), **BY}
    for act in (
        ground.smtp.create(ANN, "n@x.org", **w),
        ground.smtp.edit(ANN, "weak@x.org", new_name="m@x.org", **w),
        ground.smtp.change(ANN, "weak@x.org", **w),
        ground.smtp.delete(ANN, "weak@x.org", **w),
    ):
        with pytest.raises(KeyRuleBroken, match="lacks the scope SendSmtp"):
            await act
    await ground.smtp.create(ANN, "n@x.org", **BY)  # the account itself may always


# -- between admission and commit ----------------------------------------------------------------------------


async def refused(ground: Ground, within: Authority) -> str | None:
    """Return what a harmless call by this authority is told, None when it is done."""
    try:
        await ground.keys.create(ANN, "harmless", [], NEAR, 1500.0, within=within, **BY)
    except KeyRuleBroken as fault:
        return f"{fault.code}: {fault.message}"
    await ground.keys.delete(ANN, "harmless", **BY)
    return None


async def test_a_key_that_was_deleted_acts_no_more(ground: Ground) -> None:
    assert await refused(ground, ground.within) is None
    await ground.keys.delete(ANN, "manager", **BY)
    assert await refused(ground, ground.within) == "beyond_authority: the key that asks is no key of this account"


async def test_a_delete_that_is_ahead_in_the_line_stops_a_call_that_was_admitted(ground: Ground) -> None:
    """Both at once: the delete has the store first."""
    within, told = ground.within, asyncio.Event()

    async def delete() -> None:
        async with ground.store.change() as tx:
            told.set()
            await asyncio.sleep(0)
            await tx.remove_key(ground.manager.id)

    async def create() -> None:
        await told.wait()
        await ground.keys.create(ANN, "harmless", [], NEAR, 1500.0, within=within, **BY)

    done = await asyncio.gather(delete(), create(), return_exceptions=True)
    assert isinstance(done[1], KeyRuleBroken)
    assert "harmless" not in [key.name for key in await ground.keys.list(ANN)]


@pytest.mark.parametrize(
    "narrower", [{"scopes": [MANAGES, "SendSmtp"]}, {"scopes": ["Export"]}, {"networks": NEAR}, {"expires": 4999.0}]
)
async def test_a_key_that_was_narrowed_no_longer_acts_with_what_it_held(ground: Ground, narrower: Any) -> None:
    await ground.keys.edit(ANN, "manager", **narrower, **BY)
    assert "altered meanwhile" in str(await refused(ground, ground.within))
    assert await refused(ground, Authority.of(await ground.keys.find(ANN, ground.manager.id))) is None


async def test_a_key_that_was_widened_acts_with_what_it_held(ground: Ground) -> None:
    await ground.keys.edit(ANN, "manager", scopes=[MANAGES, "Export", "SendSmtp", "Billing"], expires=None, **BY)
    assert await refused(ground, ground.within) is None
    with pytest.raises(KeyRuleBroken, match="Billing"):
        await ground.keys.create(ANN, "n", ["Billing"], NEAR, 1500.0, within=ground.within, **BY)


async def test_a_key_that_has_expired_acts_no_more(ground: Ground) -> None:
    ground.clock.now = 1400.0
    assert await refused(ground, ground.within) is None
    ground.clock.now = 5000.0
    with pytest.raises(KeyRuleBroken, match="has expired"):
        await ground.keys.delete(ANN, "weak", within=ground.within, **BY)


async def test_a_secret_that_was_changed_acts_only_while_its_overlap_lasts(ground: Ground) -> None:
    within = replace(ground.within, presented=digest(ground.secret.encode()))
    assert await refused(ground, within) is None
    await ground.keys.change(ANN, "manager", 60.0, **BY)
    assert await refused(ground, within) is None
    ground.clock.now += 60.0
    assert "altered meanwhile" in str(await refused(ground, within))
    await ground.keys.change(ANN, "manager", **BY)
    assert "altered meanwhile" in str(await refused(ground, within))


async def test_the_secret_of_another_key_is_none_of_the_acting_one(ground: Ground) -> None:
    other = await ground.keys.create(ANN, "other", **BY)
    within = replace(ground.within, presented=digest(other.secret.encode()))
    assert "altered meanwhile" in str(await refused(ground, within))


async def test_a_key_acts_only_from_where_it_may_be_used(ground: Ground) -> None:
    assert await refused(ground, replace(ground.within, address=ip_address("10.2.0.1"))) is None
    assert await refused(ground, replace(ground.within, address=ip_address("::ffff:10.2.0.1"))) is None
    assert await refused(ground, replace(ground.within, address=ip_address("192.0.2.1"))) is not None


def test_an_authority_shows_no_digest() -> None:
    assert "presented" not in repr(Authority("k", frozenset(), EVERYWHERE, None, b"\x01" * 32))


def test_a_message_stays_short_whatever_was_asked() -> None:
    own = Authority("k", frozenset(), Networks.parse(["10.0.0.1"]), None)
    wide = Networks.parse(f"192.0.2.{number}" for number in range(200))
    (scopes, networks) = own.exceeded_by(Authority("k", frozenset(f"S{n}" for n in range(256)), wide, None))
    assert scopes.endswith("and 246 more")
    assert networks.endswith("and 190 more")


# -- a model --------------------------------------------------------------------------------------------------

# Few of each, so that all kinds of relation come up. Networks by the set of the last numbers of 10.0.0.0-10.0.0.3.
SCOPES = st.frozensets(st.sampled_from(["A", "B", "SendSmtp"]))
ADDRESSES = st.frozensets(st.integers(0, 3))
EXPIRIES = st.sampled_from([None, 2000.0, 3000.0])


@dataclass(frozen=True)
class Facts:
    scopes: frozenset[str]
    numbers: frozenset[int]
    expires: float | None

    @property
    def networks(self) -> Networks:
        return Networks.parse(f"10.0.0.{number}" for number in sorted(self.numbers))

    def within(self, own: Facts) -> bool:
        """By brute force: there is no call that this permits and the other does not."""
        calls = {
            (scope, number, at)
            for scope in (*self.scopes, "no scope at all")
            for number in self.numbers or range(5)  # 4 is everywhere else
            for at in (1999.0, 2999.0, 3001.0)
            if self.expires is None or at < self.expires
        }
        return all(
            (scope in own.scopes or scope == "no scope at all")
            and (not own.numbers or number in own.numbers)
            and (own.expires is None or at < own.expires)
            for scope, number, at in calls
        )


FACTS = st.builds(Facts, SCOPES, ADDRESSES, EXPIRIES)


@settings(max_examples=500)
@given(FACTS, FACTS)
def test_an_authority_is_exceeded_exactly_if_some_call_is_permitted_beyond_it(own: Facts, other: Facts) -> None:
    authority = Authority("k", own.scopes, own.networks, own.expires)
    assert (authority.exceeded_by(other) == ()) == other.within(own)


def permits(credential: Permits) -> Facts:
    numbers = frozenset(int(text[-1]) for text in credential.networks.texts)
    return Facts(credential.scopes, numbers, credential.expires)


NAMES = st.sampled_from(["one", "two", "three"])
TARGETS = NAMES | st.just("acting")
MAYBE = {"scopes": st.none() | SCOPES, "numbers": st.none() | ADDRESSES, "expires": EXPIRIES | st.just("as it is")}
ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "smtp create"]), NAMES, FACTS),
        st.tuples(st.sampled_from(["edit", "smtp edit"]), NAMES, st.fixed_dictionaries(MAYBE)),
        st.tuples(st.sampled_from(["change", "delete", "smtp change", "smtp delete"]), NAMES, st.none()),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(FACTS, st.dictionaries(NAMES, FACTS), st.dictionaries(NAMES, FACTS), ACTS)
def test_whatever_a_key_asks_nothing_beyond_it_is_made_or_touched(
    own: Facts, keys: dict[str, Facts], smtp: dict[str, Facts], acts: list[Any]
) -> None:
    asyncio.run(_attack(own, keys, smtp, acts))


async def _attack(own: Facts, keys: dict[str, Facts], smtp: dict[str, Facts], acts: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with await SqliteStore.open(Path(folder) / "keystile.db") as store:
            services = KeyService(store, Clock()), SmtpService(store, Clock())
            await services[0].create_account(ANN, **BY)
            acting = await services[0].create(ANN, "acting", own.scopes, own.networks.texts, own.expires, **BY)
            for name, facts in keys.items():
                await services[0].create(ANN, name, facts.scopes, facts.networks.texts, facts.expires, **BY)
            for name, facts in smtp.items():
                await services[1].create(ANN, f"{name}@x.org", facts.networks.texts, facts.expires, **BY)
            for act in acts:
                await _step(store, services, Authority.of(acting.key), own, act)


async def _step(
    store: SqliteStore, services: tuple[KeyService, SmtpService], within: Authority, own: Facts, act: Any
) -> None:
    before = await _by_id(store)
    try:
        await _ask(*services, within, *act)
    except KeyRuleBroken as fault:
        assert fault.code in {"beyond_authority", "name_taken", "no_such_key", "no_such_credential"}  # noqa: PT017
    after = await _by_id(store)
    for known in before.keys() | after.keys():
        touched = [each[known] for each in (before, after) if known in each]
        if len(touched) == 1 or touched[0] != touched[1]:
            assert all(permits(each).within(own) for each in touched), (act, touched)


async def _by_id(store: SqliteStore) -> dict[str, Credential]:
    found: list[Credential] = [*await store.keys(), *await store.smtp_credentials()]
    return {each.id: each for each in found}


async def _ask(keys: KeyService, smtp: SmtpService, within: Authority, what: str, name: str, given: Any) -> None:
    w: dict[str, Any] = {"within": within, **BY}
    if what == "create":
        await keys.create(ANN, name, given.scopes, given.networks.texts, given.expires, **w)
    elif what == "smtp create":
        await smtp.create(ANN, f"{name}@x.org", given.networks.texts, given.expires, **w)
    elif what == "edit":
        await keys.edit(ANN, name, scopes=given["scopes"], **_edits(given), **w)
    elif what == "smtp edit":
        await smtp.edit(ANN, f"{name}@x.org", **_edits(given), **w)
    elif what.startswith("smtp"):
        await getattr(smtp, what.removeprefix("smtp "))(ANN, f"{name}@x.org", **w)
    else:
        await getattr(keys, what)(ANN, name, **w)


def _edits(given: Any) -> dict[str, Any]:
    numbers, edits = given["numbers"], dict[str, Any]()
    if numbers is not None:
        edits["networks"] = [f"10.0.0.{number}" for number in numbers]
    if given["expires"] != "as it is":
        edits["expires"] = given["expires"]
    return edits
