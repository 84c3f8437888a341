"""The API's own Python client, through a gateway that has read the API's own document."""

from __future__ import annotations

import csv
import re
import ssl
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from ElasticEmail.exceptions import ApiException, BadRequestException, ForbiddenException, UnauthorizedException

from tests.e2e.backend import Backend
from tests.e2e.examples import Described, Document
from tests.e2e.running import DOCUMENT, LEVELS, Gateway, make_certificate, serving, settings, trusting

OLD = ("TLSv1", "TLSv1_1")
# Its package does not say what it exports, which type checkers insist on.
ElasticEmail: Any = import_module("ElasticEmail")
HEADER = "X-ElasticEmail-ApiKey"
READER = ("ViewContacts", "ViewCampaigns")
_document = Document(DOCUMENT)
OPERATIONS = list(_document.operations())


def levels_of(text: str) -> frozenset[str]:
    """``A, B`` means both; ``None`` means that any key will do."""
    return frozenset() if text == "None" else frozenset(text.split(", "))


@cache
def level_rows() -> dict[str, frozenset[str]]:
    """What each operation of the document needs, by its name, as people have read it."""
    with LEVELS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["operationId"]: levels_of(row["access_levels"]) for row in rows}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend(_document, "/v4").running() as backend:
        yield backend


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(
    backend: Backend, certificates: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Listeners: plain, TLS, TLS with old versions for a time, and TLS with old versions until a day that is past."""
    certificate, key = map(str, certificates)
    tls = {"certificate": certificate, "private_key": key}
    written = settings(
        backend.port,
        [
            {
                "openapi": str(DOCUMENT),
                "prefix": "/v4",
                "scope_from_description": "Required Access Level: (.+)",
            }
        ],
        listeners=[
            {"address": "127.0.0.1:0"},
            {"address": "127.0.0.1:0", "tls": tls},
            *(
                {"address": "127.0.0.1:0", "tls": {**tls, "legacy": {"minimum_version": "1.0", "retire_on": day}}}
                for day in ("2096-01-01", "2020-01-01")
            ),
        ],
        keys={"headers": [HEADER], "per_account": 50},
    )
    folder = tmp_path_factory.mktemp("gateway")
    # A command that does not have to read the large document is done in a quarter of the time.
    short = folder / "short.yaml"
    short.write_text(yaml.safe_dump({**written, "routes": [{"path": "/", "public": True, "upstream": "api"}]}))
    with serving(folder, written, commands_file=short) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def all_levels() -> frozenset[str]:
    return frozenset().union(*level_rows().values())


@pytest.fixture(scope="module")
def secret(gateway: Gateway, all_levels: frozenset[str]) -> str:
    """A key that may do everything."""
    return gateway.create_key("everything", *sorted(all_levels))


@pytest.fixture(scope="module")
def reader(gateway: Gateway) -> str:
    """A key that may do little."""
    return gateway.create_key("reader", *READER)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Official:
    """The official client with one key, over ``http`` or ``https``."""

    def __init__(self, gateway: Gateway, scheme: str, certificate: Path, secret: str) -> None:
        port = gateway.ports[0] if scheme == "http" else gateway.ports[1]
        self.configuration = ElasticEmail.Configuration(
            host=f"{scheme}://127.0.0.1:{port}/v4",
            api_key={"apikey": secret},
            ssl_ca_cert=str(certificate),
            retries=0,
        )
        self.client = ElasticEmail.ApiClient(self.configuration)

    def api(self, name: str) -> Any:
        return getattr(ElasticEmail, f"{name}Api")(self.client)

    def close(self) -> None:
        self.client.rest_client.pool_manager.clear()


@pytest.fixture
def official(
    gateway: Gateway, scheme: str, certificates: tuple[Path, Path], secret: str
) -> Iterator[Official]:
    made = Official(gateway, scheme, certificates[0], secret)
    yield made
    made.close()


@pytest.fixture
def reading(gateway: Gateway, scheme: str, certificates: tuple[Path, Path], reader: str) -> Iterator[Official]:
    made = Official(gateway, scheme, certificates[0], reader)
    yield made
    made.close()


# -- what people do with it --------------------------------------------------------------------------------


def test_contacts_are_parsed(official: Official, backend: Backend) -> None:
    contacts = official.api("Contacts").contacts_get(limit=10, offset=0)
    assert [type(contact) for contact in contacts] == [ElasticEmail.Contact]
    assert contacts[0].email == _document.example({"$ref": "#/components/schemas/Contact"})["Email"]
    assert backend.last().path == "/v4/contacts?limit=10&offset=0"


def test_contacts_are_added_and_looked_up(official: Official, backend: Backend) -> None:
    contacts = official.api("Contacts")
    added = contacts.contacts_post([ElasticEmail.ContactPayload(Email="someone@example.com")], listnames=["a b"])
    assert isinstance(added[0], ElasticEmail.Contact)
    assert b"someone@example.com" in backend.last().body
    contacts.contacts_by_email_get("some one+tag@example.com")
    assert backend.last().path == "/v4/contacts/some%20one%2Btag%40example.com"


def test_a_list_whose_name_has_a_slash_arrives_as_it_was_written(official: Official, backend: Backend) -> None:
    found = official.api("Lists").lists_by_name_get("a/b")
    assert isinstance(found, ElasticEmail.ContactsList)
    assert backend.last().operation == "listsByNameGet"
    assert backend.last().path == "/v4/lists/a%2Fb"


def test_a_contact_name_that_reads_as_another_operation_is_refused(reading: Official, backend: Backend) -> None:
    before = len(backend.received)
    with pytest.raises(BadRequestException):
        reading.api("Contacts").contacts_by_email_get("export/x/status")
    assert len(backend.received) == before


def test_a_campaign_is_made(official: Official, backend: Backend) -> None:
    campaign = ElasticEmail.Campaign.from_dict(_document.example({"$ref": "#/components/schemas/Campaign"}))
    made = official.api("Campaigns").campaigns_post(campaign)
    assert made.to_dict() == campaign.to_dict()
    assert backend.last().field("Content-Type") == "application/json"


def test_a_transactional_email_is_sent(official: Official, backend: Backend) -> None:
    message = ElasticEmail.EmailTransactionalMessageData(
        Recipients=ElasticEmail.TransactionalRecipient(To=["someone@example.com"]),
        Content=ElasticEmail.EmailContent(Subject="Grüße", From="Me <me@example.com>"),
    )
    sent = official.api("Emails").emails_transactional_post(message)
    assert isinstance(sent, ElasticEmail.EmailSend)
    assert rb"Gr\u00fc\u00dfe" in backend.last().body


def test_a_file_is_uploaded_as_multipart(official: Official, backend: Backend) -> None:
    content = bytes(range(256)) * 1000
    result = official.api("Verifications").verifications_files_post(file=("addresses.csv", content))
    assert isinstance(result, ElasticEmail.VerificationFileResult)
    received = backend.last()
    assert received.field("Content-Type").startswith("multipart/form-data; boundary=")
    assert content in received.body
    assert b'filename="addresses.csv"' in received.body


def test_a_file_is_downloaded(official: Official) -> None:
    assert official.api("Files").files_by_name_get("report.csv") == b"bytes of a file"


def test_an_address_is_verified(official: Official) -> None:
    result = official.api("Verifications").verifications_by_email_get("someone@example.com")
    assert isinstance(result, ElasticEmail.EmailValidationResult)


def test_a_key_without_the_level_is_refused_by_name(reading: Official, backend: Backend) -> None:
    assert reading.api("Campaigns").campaigns_get()
    before = len(backend.received)
    with pytest.raises(ForbiddenException) as refused:
        reading.api("Campaigns").campaigns_by_name_delete("Spring")
    assert "ModifyCampaigns" in str(refused.value.body)
    assert (refused.value.headers or {})["Content-Type"] == "application/problem+json"
    assert len(backend.received) == before


@pytest.mark.parametrize("passed", [False, True], ids=["before the day", "after the day"])
@pytest.mark.parametrize("name", [*OLD, "TLSv1_2", "TLSv1_3"])
def test_each_version_of_tls_is_served_on_its_side_of_the_day(
    gateway: Gateway, certificates: tuple[Path, Path], secret: str, name: str, passed: bool
) -> None:
    """A client of one version only, as one on an old system is."""
    context = trusting(certificates[0])
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion[name]
        context.minimum_version = ssl.TLSVersion[name]
    configuration = ElasticEmail.Configuration(
        host=f"https://127.0.0.1:{gateway.ports[3 if passed else 2]}/v4", api_key={"apikey": secret}
    )
    with ElasticEmail.ApiClient(configuration) as client:
        client.rest_client.pool_manager = urllib3.PoolManager(ssl_context=context, retries=False)
        contacts = ElasticEmail.ContactsApi(client)
        if passed and name in OLD:
            with pytest.raises(ApiException, match="ALERT_PROTOCOL_VERSION"):
                contacts.contacts_get()
            return
        answer = contacts.contacts_get_with_http_info()
    assert answer.status_code == 200
    sunset = {key.lower(): value for key, value in answer.headers.items()}.get("sunset")
    assert sunset == ("Sun, 01 Jan 2096 00:00:00 GMT" if name in OLD else None)


def test_a_mistyped_key_is_unauthorized(
    gateway: Gateway, scheme: str, certificates: tuple[Path, Path], secret: str, backend: Backend
) -> None:
    before = len(backend.received)
    wrong = ("0" if secret[0] != "0" else "1") + secret[1:]
    official = Official(gateway, scheme, certificates[0], wrong)
    with pytest.raises(UnauthorizedException):
        official.api("Contacts").contacts_get()
    official.close()
    assert len(backend.received) == before


def test_the_upstream_sees_who_calls_and_no_key(
    official: Official, scheme: str, backend: Backend, secret: str
) -> None:
    official.configuration.api_key["ApiKeyAuthCustomBranding"] = "not asked for"
    official.api("Contacts").contacts_get()
    received = backend.last()
    assert received.field("X-Keystile-Account") == "owner@example.com"
    assert received.field("X-Forwarded-For") == "127.0.0.1"
    assert received.field("X-Forwarded-Proto") == scheme
    assert not any(name.lower() == HEADER.lower() for name, _ in received.fields)
    assert secret not in received.all


# -- every operation ---------------------------------------------------------------------------------------


def method_name(operation: str) -> str:
    """The client's name for an operation: ``contactsByEmailGet`` is ``contacts_by_email_get``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def arguments_of(operation: Described) -> list[Any]:
    """What the client's method must be called with, in its order: path, query, JSON body."""
    given = [
        "example" if each["in"] == "path" else _document.example(each["schema"])
        for each in operation.facts.get("parameters", [])
        if each.get("required")
    ]
    content = operation.facts.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        given.append(_document.example(content["application/json"]["schema"]))
    return given


@pytest.fixture(scope="module")
def some_keys(gateway: Gateway, secret: str, all_levels: frozenset[str]) -> Mapping[frozenset[str], str]:
    """Secrets by what they may do: exactly what some operation needs, and each half of all levels."""
    in_order = sorted(all_levels)
    wanted = {level_rows()[operation.name] for operation in OPERATIONS}
    wanted |= {frozenset(in_order[::2]), frozenset(in_order[1::2])}
    return {levels: gateway.create_key(f"key {number}", *levels) for number, levels in enumerate(wanted)}


@pytest.fixture(scope="module")
def clients(
    gateway: Gateway, certificates: tuple[Path, Path], some_keys: Mapping[frozenset[str], str]
) -> Iterator[Mapping[frozenset[str], Official]]:
    made = {levels: Official(gateway, "http", certificates[0], key) for levels, key in some_keys.items()}
    yield made
    for official in made.values():
        official.close()


def test_all_operations_of_the_document_are_tried(all_levels: frozenset[str]) -> None:
    assert len({operation.name for operation in OPERATIONS}) == 112
    assert {operation.name for operation in OPERATIONS} <= level_rows().keys()
    assert len(all_levels) == 25


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_passes_with_its_levels_and_not_without(
    operation: Described, clients: Mapping[frozenset[str], Official], backend: Backend
) -> None:
    needed = level_rows()[operation.name]

    def call(official: Official) -> Any:
        return getattr(official.api(operation.facts["tags"][0]), method_name(operation.name))(*arguments_of(operation))

    answer = call(clients[needed])
    assert backend.last().operation == operation.name
    assert (answer is None) == (operation.answer[2] is None)
    if not needed:
        return  # any key will do
    before = len(backend.received)
    # Of the keys that lack something: one that has as much as possible of what is needed, and much besides.
    lacking = max((held for held in clients if not held >= needed), key=lambda held: (len(held & needed), len(held)))
    with pytest.raises(ForbiddenException) as refused:
        call(clients[lacking])
    assert all(level in str(refused.value.body) for level in needed - lacking)
    assert len(backend.received) == before
