from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from keystile.keys.key import Account, SmtpCredential
from keystile.keys.networks import Networks
from keystile.storage import smtp_rows
from keystile.storage.sqlite import SqliteStore
from keystile.storage.store import Store
from tests.storage.engines import Engine

ALLOWED = Networks.parse(["10.0.0.0/8", "2001:db8::1"])
MAIL = SmtpCredential("c", "a", "ann@x.org", "mail@x.org", "00001", ALLOWED, 5.0, 1.0)
DIGESTS = [bytes([number]) * 32 for number in range(4)]


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with await engine.open() as store:
        async with store.change() as tx:
            await tx.add_account(Account("a", "ann@x.org", False, 0.0))
            await tx.add_smtp_credential(MAIL, DIGESTS[0])
        yield store


def test_a_row_becomes_a_credential() -> None:
    row = ("c", "a", "ann@x.org", "mail@x.org", "00001", ALLOWED.text, 5.0, 1.0, "SendSmtp", 1, None, None)
    assert smtp_rows.smtp_credential(row) == MAIL
    used = smtp_rows.smtp_credential((*row[:-2], 9.0, ""))
    assert (used.last_used_at, used.last_used_from) == (9.0, None)


async def test_questions_find_one_all_or_nothing(store: Store) -> None:
    assert await store.smtp_credentials() == await store.smtp_credentials("a") == (MAIL,)
    assert await store.smtp_credentials("nobody") == ()
    assert await store.smtp_credential("a", "mail@x.org") == MAIL
    assert await store.smtp_credential("a", "Mail@x.org") is None
    assert await store.smtp_credential_by_id("c") == MAIL
    assert await store.smtp_credential_by_id("k") is None
    assert await store.smtp_credential_by_digest(DIGESTS[0]) == MAIL
    assert await store.smtp_credential_by_digest(DIGESTS[1]) is None
    assert await store.count_smtp_credentials() == await store.count_smtp_credentials("a") == 1
    assert await store.count_smtp_credentials("nobody") == 0


async def test_an_update_keeps_what_may_change_and_the_digest_where_none_is_given(store: Store) -> None:
    edited = replace(MAIL, name="m@x.org", networks=Networks(), expires=None, version=2)
    async with store.change() as tx:
        await tx.update_smtp_credential(replace(edited, created=77.0, scope="Other"))
        assert await tx.smtp_credential_by_digest(DIGESTS[0]) == edited
    async with store.change() as tx:
        await tx.update_smtp_credential(replace(edited, hint="00002"), DIGESTS[1])
    assert await store.smtp_credential_by_digest(DIGESTS[0]) is None
    assert await store.smtp_credential_by_digest(DIGESTS[1]) == replace(edited, hint="00002")


async def test_last_uses_are_kept_never_go_back_and_never_ring(store: Store) -> None:
    rung = store._bell.count()
    for use in (("c", 50.0, "192.0.2.1"), ("c", 60.0, ""), ("c", 55.0, "192.0.2.2"), ("gone", 70.0, "192.0.2.3")):
        await store.record_smtp_use(*use)
    (found,) = await store.smtp_credentials()
    assert (found.last_used_at, found.last_used_from, found.version) == (60.0, None, 1)
    assert store._bell.count() == rung


async def test_a_last_use_that_cannot_be_kept_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with await SqliteStore.open(tmp_path / "keystile.db") as store:
        (tmp_path / "keystile.db").rename(tmp_path / "away.db")
        await store.record_smtp_use("c", 50.0, "192.0.2.1")
    assert "the last use of SMTP credential c cannot be kept" in caplog.text


async def test_nothing_of_a_removed_credential_or_account_remains(store: Store) -> None:
    async with store.change() as tx:
        await tx.add_smtp_credential(replace(MAIL, id="d", name="d@x.org"), DIGESTS[1])
    for credential in "cd":
        await store.record_smtp_use(credential, 1.0, "192.0.2.1")
    async with store.change() as tx:
        await tx.remove_smtp_credential("c")
    assert await store._reads.ask("SELECT credential_id FROM smtp_uses") == [("d",)]
    async with store.change() as tx:
        await tx.remove_account("a")
    for table in ("smtp_credentials", "smtp_uses"):
        assert await store._reads.ask(f"SELECT * FROM {table}") == []


async def test_a_rule_that_was_forgotten_is_held_by_the_schema(store: Store, engine: Engine) -> None:
    async def add(credential: SmtpCredential, digest: bytes) -> None:
        async with store.change() as tx:
            await tx.add_smtp_credential(credential, digest)

    other = replace(MAIL, id="d", name="other@x.org")
    for credential, digest in (
        (replace(other, name="mail@x.org"), DIGESTS[1]),
        (other, DIGESTS[0]),
        (other, b"too short"),
        (replace(other, account_id="nobody"), DIGESTS[1]),
    ):
        with pytest.raises(engine.broken_rule):
            await add(credential, digest)
    assert await store.smtp_credentials() == (MAIL,)


async def test_no_change_of_a_credential_stands_in_the_change_log_of_keys(store: Store) -> None:
    before = await store._reads.ask("SELECT seq FROM changes")
    async with store.change() as tx:
        await tx.update_smtp_credential(replace(MAIL, version=2), DIGESTS[1])
        await tx.remove_smtp_credential("c")
        await tx.add_smtp_credential(MAIL, DIGESTS[2])
        await tx.remove_account("a")
    assert await store._reads.ask("SELECT seq FROM changes") == before
