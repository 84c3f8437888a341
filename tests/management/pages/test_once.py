from __future__ import annotations

import logging

import pytest
from aiohttp.test_utils import make_mocked_request

from keystile.management.entry import Identity, SignedIn
from keystile.management.pages import once
from keystile.storage.errors import StoreError
from tests.management.pages.ground import ANN, PASSWORD, Pages, Person


@pytest.fixture
async def identity(site: Pages, ann: Person) -> Identity:
    signed = await site.services.access.sign_in(ANN, PASSWORD, "192.0.2.1")
    assert isinstance(signed, SignedIn)
    return signed.identity


def _turn(site: Pages, identity: Identity, number: str) -> once.Turn:
    app = site.client.server.app  # type: ignore[attr-defined]
    return once.Turn(make_mocked_request("POST", "/keys/new", app=app), identity, number)


async def test_the_first_takes_the_number_and_the_second_is_told(site: Pages, identity: Identity) -> None:
    number = once.new_form()
    async with _turn(site, identity, number) as turn:
        assert turn.first
        async with _turn(site, identity, number) as at_once:
            assert not at_once.first
        await turn.done("key")
    async with _turn(site, identity, number) as again:
        assert not again.first


async def test_where_nothing_was_done_the_number_is_given_back(site: Pages, identity: Identity) -> None:
    number = once.new_form()
    with pytest.raises(ZeroDivisionError):
        async with _turn(site, identity, number):
            raise ZeroDivisionError
    async with _turn(site, identity, number) as again:
        assert again.first


async def test_work_that_cannot_be_noted_stays_done(
    site: Pages, identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object) -> None:
        raise StoreError("disk full")

    number = once.new_form()
    monkeypatch.setattr(type(site.services.access), "remember", full)
    with caplog.at_level(logging.WARNING):
        async with _turn(site, identity, number) as turn:
            await turn.done("key")
    assert "could not be noted" in caplog.text
    assert number not in caplog.text
    async with _turn(site, identity, number) as again:
        assert not again.first


def test_numbers_are_not_guessed() -> None:
    assert len({once.new_form() for _ in range(100)}) == 100
