from __future__ import annotations

from importlib import import_module
from pathlib import Path

import yaml

from keystile.config.service_calls import CALLS, SEND
from keystile.keys.key import SEND_SMTP
from keystile.management.service_calls import levels

DOCUMENT = Path(__file__).parents[2] / "data" / "elasticemail-openapi.yaml"


def test_the_table_is_the_services_document_and_what_its_python_client_knows() -> None:
    document = yaml.load(DOCUMENT.read_text(encoding="utf-8"), Loader=yaml.CBaseLoader)
    named = set(document["components"]["schemas"]["AccessLevel"]["enum"])
    assert named == levels.KNOWN | {levels.NONE}
    assert {level.value for level in import_module("ElasticEmail").AccessLevel} == named


def test_what_the_calls_themselves_need_is_known() -> None:
    assert {scope for _, _, scopes in CALLS for scope in scopes} <= levels.KNOWN
    assert SEND == SEND_SMTP


def test_what_clients_do_not_know_stands_apart() -> None:
    scopes = {"Legacy", "ViewContacts", "Export", "None"}
    assert levels.shown(scopes) == (["Export", "ViewContacts"], ["Legacy", "None"])
    assert levels.meant(["None", "Export"]) == ("Export",)
