import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request

from keystile.cli import demo_api

AiohttpClient = Callable[[Application], Awaitable[TestClient[Request, Application]]]


async def test_contacts_are_listed_with_what_the_gateway_says_of_a_caller(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(demo_api.build())
    fields = {"X-Keystile-Account": "ann@example.com", "X-Keystile-Scopes": "ViewContacts"}
    answer = await client.get("/v4/contacts", headers=fields)
    body = await answer.json()
    assert [contact["email"] for contact in body["contacts"]] == ["ann@example.com", "bob@example.com"]
    assert body["caller"] == {"account": "ann@example.com", "scopes": "ViewContacts", "address": None}


async def test_one_contact_is_found_by_its_address(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(demo_api.build())
    assert (await client.get("/v4/contacts/ann@example.com")).status == 200
    assert (await client.get("/v4/contacts/nobody@example.com")).status == 404


async def test_a_campaign_that_is_added_is_listed(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(demo_api.build())
    assert (await client.post("/v4/campaigns", json={"name": "Spring"})).status == 200
    body = await (await client.get("/v4/campaigns")).json()
    assert [campaign["name"] for campaign in body["campaigns"]] == ["Welcome", "Spring"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"not json", b"3"])
async def test_a_body_that_is_no_campaign_is_400(aiohttp_client: AiohttpClient, body: bytes) -> None:
    client = await aiohttp_client(demo_api.build())
    assert (await client.post("/v4/campaigns", data=body)).status == 400


async def test_slow_takes_its_time(aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_api, "SLOW_SECONDS", 0.05)
    client = await aiohttp_client(demo_api.build())
    begun = time.monotonic()
    assert (await client.get("/v4/slow")).status == 200
    assert time.monotonic() - begun >= 0.05


def test_the_process_says_its_port_and_ends_with_its_standard_input() -> None:
    command = [sys.executable, "-m", "keystile.cli.demo_api"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.stdin.close()
        assert process.wait(10) == 0


def test_at_an_address_that_is_given_it_stays_without_a_standard_input_until_it_is_terminated() -> None:
    command = [sys.executable, "-m", "keystile.cli.demo_api", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(("text", "meant"), [("0.0.0.0:9000", ("0.0.0.0", 9000)), ("[::]:0", ("::", 0))])
def test_an_address_has_a_host_and_a_port(text: str, meant: tuple[str, int]) -> None:
    assert demo_api.endpoint(text) == meant


@pytest.mark.parametrize("text", ["9000", ":9000", "host", "host:http", "host:65536", "host:-1"])
def test_another_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        demo_api.endpoint(text)
