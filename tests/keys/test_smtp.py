from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from keystile.keys.audit import What
from keystile.keys.keyring import Keyring
from keystile.keys.secret import digest, has_check_digits, hint
from keystile.keys.service import KeyService
from keystile.keys.smtp import SEND_SMTP, UNCHANGED, SmtpCreated, SmtpService
from keystile.storage.store import Store
from tests.keys.test_service import ANN, BY, Broken, Clock, contents
from tests.storage.engines import Engine

MAIL = "mailer@x.org"
HERE = ip_address("10.0.0.1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        yield store


@pytest.fixture
async def keys(store: Store, clock: Clock) -> KeyService:
    keys = KeyService(store, clock)
    await keys.create_account(ANN, **BY)
    return keys


@pytest.fixture
async def smtp(store: Store, clock: Clock, keys: KeyService) -> SmtpService:
    return SmtpService(store, clock)


async def test_a_created_credential_shows_its_secret_once_and_all_it_was_given(smtp: SmtpService) -> None:
    created = await smtp.create("Ann@X.org", " Mailer@X.org ", ["10.0.0.0/8"], 2000.0, **BY)
    made = created.credential
    assert has_check_digits(created.secret.encode())
    assert created.secret not in repr(created)
    assert (made.hint, made.name, made.account_email) == (hint(created.secret), MAIL, ANN)
    assert (made.networks.texts, made.expires, made.created, made.version) == (("10.0.0.0/8",), 2000.0, 1000.0, 1)
    assert (made.scope, made.scopes) == (SEND_SMTP, frozenset({"SendSmtp"}))
    assert (made.last_used_at, made.last_used_from) == (None, None)
    assert await smtp.list(ANN) == await smtp.list() == (made,)
    assert await smtp.find(ANN, made.id) == await smtp.find_by_name(ANN, "MAILER@x.org") == made


@pytest.mark.parametrize("name", ["mailer", "", "a b@x.org", "m@x.org\n.", "m@é.org"])
async def test_its_name_is_an_e_mail_address(smtp: SmtpService, name: str) -> None:
    with Broken("bad_name"):
        await smtp.create(ANN, name, **BY)
    await smtp.create(ANN, MAIL, **BY)
    with Broken("bad_name"):
        await smtp.edit(ANN, MAIL, new_name=name, **BY)


async def test_facts_are_checked_as_those_of_keys(smtp: SmtpService) -> None:
    with Broken("bad_network"):
        await smtp.create(ANN, MAIL, ["10.0.0.0/33"], **BY)
    with Broken("expiry_in_the_past"):
        await smtp.create(ANN, MAIL, expires=1000.0, **BY)
    with Broken("no_such_account"):
        await smtp.create("bob@x.org", MAIL, **BY)
    assert await smtp.list() == ()


async def test_names_are_taken_once_per_account_and_keys_do_not_count(smtp: SmtpService, keys: KeyService) -> None:
    await keys.create(ANN, MAIL, **BY)
    await smtp.create(ANN, MAIL, **BY)
    with Broken("name_taken"):
        await smtp.create(ANN, "Mailer@x.org", **BY)
    await smtp.create(ANN, "other@x.org", **BY)
    with Broken("name_taken"):
        await smtp.edit(ANN, "other@x.org", new_name=MAIL, **BY)
    await keys.create_account("bob@x.org", **BY)
    await smtp.create("bob@x.org", MAIL, **BY)


async def test_of_200_at_once_exactly_15_are_made_of_each_kind(smtp: SmtpService, keys: KeyService) -> None:
    made = [smtp.create(ANN, f"m{number}@x.org", **BY) for number in range(200)]
    others = [keys.create(ANN, f"k{number}", **BY) for number in range(200)]
    answers = await asyncio.gather(*made, *others, return_exceptions=True)
    codes = [getattr(answer, "code", None) for answer in answers]
    assert codes[:200].count(None) == codes[200:].count(None) == 15
    assert codes[:200].count("too_many_credentials") == codes[200:].count("too_many_keys") == 185
    assert len(await smtp.list(ANN)) == len(await keys.list(ANN)) == 15
    await smtp.delete(ANN, "m0@x.org", **BY)
    await smtp.create(ANN, "again@x.org", **BY)


async def test_an_edit_replaces_what_it_gives_and_leaves_the_rest(smtp: SmtpService) -> None:
    created = await smtp.create(ANN, MAIL, ["10.0.0.1"], 2000.0, **BY)
    edited = await smtp.edit(ANN, MAIL, networks=["10.0.0.2"], version=1, **BY)
    assert (edited.networks.texts, edited.expires, edited.version) == (("10.0.0.2",), 2000.0, 2)
    edited = await smtp.edit(ANN, credential_id=edited.id, new_name="n@x.org", networks=[], expires=None, **BY)
    assert (edited.name, edited.networks.texts, edited.expires, edited.version) == ("n@x.org", (), None, 3)
    assert await smtp.edit(ANN, "n@x.org", expires=UNCHANGED, **BY) == edited == await smtp.find(ANN, edited.id)
    assert await smtp.verify("n@x.org", created.secret, HERE)
    for ask in (
        smtp.edit(ANN, "n@x.org", networks=["::1"], version=2, **BY),
        smtp.change(ANN, "n@x.org", version=2, **BY),
        smtp.delete(ANN, "n@x.org", version=2, **BY),
    ):
        with Broken("conflict"):
            await ask


async def test_a_change_ends_the_old_secret_at_once(smtp: SmtpService) -> None:
    first = await smtp.create(ANN, MAIL, ["10.0.0.0/8"], 2000.0, **BY)
    second = await smtp.change(ANN, MAIL, **BY)
    assert (second.credential.hint, second.credential.version) == (hint(second.secret), 2)
    assert second.credential.networks == first.credential.networks
    assert await smtp.verify(MAIL, first.secret, HERE) is None
    assert await smtp.verify(MAIL, second.secret, HERE)


async def test_what_is_not_there_is_said_so(smtp: SmtpService) -> None:
    for ask in (
        smtp.find(ANN, "nothing"),
        smtp.find_by_name(ANN, MAIL),
        smtp.edit(ANN, MAIL, **BY),
        smtp.change(ANN, credential_id="nothing", **BY),
        smtp.delete(ANN, MAIL, **BY),
    ):
        with Broken("no_such_credential"):
            await ask
    with Broken("no_such_account"):
        await smtp.list("bob@x.org")


# -- what the mail relay asks ------------------------------------------------------------------------------------


async def test_a_name_and_its_secret_are_verified_and_the_use_is_noted(smtp: SmtpService, clock: Clock) -> None:
    created = await smtp.create(ANN, MAIL, **BY)
    clock.now = 1500.0
    assert await smtp.verify(" Mailer@X.org", created.secret, HERE) == created.credential
    used = await smtp.find(ANN, created.credential.id)
    assert (used.last_used_at, used.last_used_from, used.version) == (1500.0, "10.0.0.1", 1)
    clock.now = 1600.0
    assert await smtp.verify(MAIL, created.secret, None)
    assert (await smtp.list(ANN))[0].last_used_from is None


REFUSED: dict[str, tuple[str, str, str | None]] = {
    "another name": ("other@x.org", "{secret}", "10.0.0.1"),
    "no name": ("", "{secret}", "10.0.0.1"),
    "a half character for a name": ("\ud800", "{secret}", "10.0.0.1"),
    "no secret": (MAIL, "", "10.0.0.1"),
    "a half character for a secret": (MAIL, "\ud800", "10.0.0.1"),
    "the secret in lower case": (MAIL, "{lower}", "10.0.0.1"),
    "the secret and a space": (MAIL, "{secret} ", "10.0.0.1"),
    "the last five": (MAIL, "{hint}", "10.0.0.1"),
    "the digest": (MAIL, "{digest}", "10.0.0.1"),
    "the secret of another credential": (MAIL, "{other}", "10.0.0.1"),
    "the secret of a key of this name": (MAIL, "{key}", "10.0.0.1"),
    "another address": (MAIL, "{secret}", "192.0.2.1"),
    "an IPv6 address": (MAIL, "{secret}", "::10.0.0.1"),
    "no address, where it is restricted": (MAIL, "{secret}", None),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_everything_else_is_refused_in_one_and_the_same_way(
    smtp: SmtpService, keys: KeyService, case: str
) -> None:
    created = await smtp.create(ANN, MAIL, ["10.0.0.0/8"], **BY)
    other = await smtp.create(ANN, "second@x.org", **BY)
    key = await keys.create(ANN, MAIL, [SEND_SMTP], **BY)
    name, secret, address = REFUSED[case]
    secret = secret.format(
        secret=created.secret,
        lower=created.secret.lower(),
        hint=created.credential.hint,
        digest=digest(created.secret.encode()).hex(),
        other=other.secret,
        key=key.secret,
    )
    assert await smtp.verify(name, secret, None if address is None else ip_address(address)) is None
    assert [each.last_used_at for each in await smtp.list()] == [None, None]
    # The ground holds: with all of it right, it is verified.
    assert await smtp.verify(MAIL, created.secret, ip_address("::ffff:10.0.0.1"))


async def test_an_expired_credential_is_refused_and_a_deleted_one_too(smtp: SmtpService, clock: Clock) -> None:
    created = await smtp.create(ANN, MAIL, expires=2000.0, **BY)
    clock.now = 1999.5
    assert await smtp.verify(MAIL, created.secret, HERE)
    clock.now = 2000.0
    assert await smtp.verify(MAIL, created.secret, HERE) is None
    await smtp.edit(ANN, MAIL, expires=None, **BY)
    assert await smtp.verify(MAIL, created.secret, HERE)
    await smtp.delete(ANN, MAIL, **BY)
    assert await smtp.verify(MAIL, created.secret, HERE) is None


async def test_two_accounts_may_use_one_name_and_each_secret_is_its_owners(smtp: SmtpService, keys: KeyService) -> None:
    await keys.create_account("bob@x.org", **BY)
    anns, bobs = await smtp.create(ANN, MAIL, **BY), await smtp.create("bob@x.org", MAIL, **BY)
    assert await smtp.verify(MAIL, anns.secret, HERE) == anns.credential
    assert await smtp.verify(MAIL, bobs.secret, HERE) == bobs.credential


# -- a kind of their own -------------------------------------------------------------------------------------------


async def test_no_keyring_ever_holds_one(smtp: SmtpService, keys: KeyService, engine: Engine) -> None:
    before = await smtp.create(ANN, "before@x.org", **BY)
    keyring = Keyring()
    follower = engine.follower(keyring, time.time, time.monotonic)
    follower.load()
    key = await keys.create(ANN, "main", **BY)
    after = await smtp.create(ANN, MAIL, **BY)
    changed = await smtp.change(ANN, MAIL, **BY)
    await smtp.edit(ANN, MAIL, networks=["10.0.0.1"], **BY)
    assert follower.catch_up()
    follower.check()
    assert keyring.find(digest(key.secret.encode()), 1000.0)
    for credential in (before, after, changed):
        assert keyring.find(digest(credential.secret.encode()), 1000.0) is None
        assert keyring.get(credential.credential.id) is None
    assert len(keyring) == 1
    follower.close()


async def test_the_services_do_not_find_each_others_credentials(smtp: SmtpService, keys: KeyService) -> None:
    key, credential = await keys.create(ANN, MAIL, **BY), await smtp.create(ANN, "other@x.org", **BY)
    with Broken("no_such_key"):
        await keys.find(ANN, credential.credential.id)
    with Broken("no_such_key"):
        await keys.delete(ANN, "other@x.org", **BY)
    with Broken("no_such_credential"):
        await smtp.delete(ANN, MAIL, **BY)
    with Broken("no_such_credential"):
        await smtp.find(ANN, key.key.id)


async def test_an_accounts_credentials_go_with_it_and_each_is_told(smtp: SmtpService, keys: KeyService) -> None:
    created = await smtp.create(ANN, MAIL, **BY)
    await smtp.verify(MAIL, created.secret, HERE)
    await keys.delete_account(ANN, **BY)
    assert await smtp.list() == ()
    assert await smtp.verify(MAIL, created.secret, HERE) is None
    told = [(event.what, event.key_name) for event in (await keys.events())[:2]]
    assert told == [(What.ACCOUNT_DELETED, None), (What.SMTP_DELETED, MAIL)]


async def test_every_event_tells_who_what_when_and_from_where(
    smtp: SmtpService, keys: KeyService, clock: Clock
) -> None:
    clock.now = 1234.0
    created = await smtp.create(ANN, MAIL, ["10.0.0.1"], actor=ANN, origin="192.0.2.1")
    await smtp.edit(ANN, MAIL, networks=[], **BY)
    changed = await smtp.change(ANN, MAIL, **BY)
    await smtp.delete(ANN, MAIL, **BY)
    await smtp.verify(MAIL, changed.secret, HERE)
    deleted, change, edit, made = (await keys.events(account=ANN))[:4]
    assert (made.what, made.at, made.actor, made.origin, made.account) == (
        What.SMTP_CREATED,
        1234.0,
        ANN,
        "192.0.2.1",
        ANN,
    )
    assert (made.key_id, made.key_name, made.key_hint) == (created.credential.id, MAIL, created.credential.hint)
    assert made.details == "scopes: SendSmtp; networks: 10.0.0.1; expires: never"
    assert (edit.what, edit.details) == (What.SMTP_EDITED, "networks: 10.0.0.1 → everywhere")
    assert (change.what, change.details) == (What.SMTP_CHANGED, f"…{created.credential.hint} ends at once")
    assert (deleted.what, deleted.key_hint) == (What.SMTP_DELETED, changed.credential.hint)


async def test_no_secret_is_in_any_file_of_the_store_or_in_a_log(
    smtp: SmtpService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    shown: list[SmtpCreated] = [await smtp.create(ANN, MAIL, **BY), await smtp.change(ANN, MAIL, **BY)]
    await smtp.verify(MAIL, shown[1].secret, HERE)
    for each in shown:
        assert not [content for content in contents(tmp_path) if each.secret.encode() in content]
        assert each.secret not in caplog.text


def test_the_way_of_a_request_does_not_know_them() -> None:
    """Neither the keyring nor the follower names their tables or their type."""
    from keystile.storage import follow, rows

    program = Path(follow.__file__).parent.parent
    sources = [(program / file).read_text(encoding="utf-8") for file in ("keys/keyring.py", "storage/follow.py")]
    for source in (*sources, rows.HELD_KEYS):
        assert "smtp" not in source.lower()
