from pathlib import Path

import pytest

from keystile.cli.routes import scopes_for_people
from tests.cli.conftest import Run

DATA = Path(__file__).parent.parent / "data"


def test_rows_are_a_table_in_the_order_of_the_file(run: Run) -> None:
    assert run("routes").out == (
        "METHOD  PATH              SCOPES                 UPSTREAM\n"
        "GET     /v4/contacts      ViewContacts           api\n"
        "POST    /v4/contacts      ViewContacts           api\n"
        "GET     /v4/files/{name}  Export and ViewFiles   api\n"
        "GET     /v4/reports       Export or ViewReports  api\n"
        "GET     /whoami           (any key)              api\n"
        "GET     /health           (public)               api\n"
        "*       /v2/*             Legacy                 api\n"
    )


def test_rows_are_a_list_of_objects_for_programs(run: Run) -> None:
    rows = run("routes", "--json").json
    assert [list(row) for row in rows] == [["method", "path", "scopes", "upstream"]] * 7
    assert [row["scopes"] for row in rows[2:]] == [
        ["Export", "ViewFiles"],
        {"any": ["Export", "ViewReports"]},
        [],
        None,
        ["Legacy"],
    ]


def test_a_real_document_gives_every_operation_its_scopes(run: Run, gateway_file: Path) -> None:
    gateway_file.write_text(
        "upstreams: {api: {servers: ['http://127.0.0.1:9']}}\n"
        f"routes: [{{openapi: '{DATA}/elasticemail-openapi.yaml', upstream: api,"
        " scope_from_description: 'Required Access Level: (.+)'}]\n"
    )
    rows = run("routes", "--json").json
    found = {(row["method"], row["path"], ",".join(row["scopes"]) or "None") for row in rows}
    lines = (DATA / "elasticemail-scopes.tsv").read_text().splitlines()[1:]
    split = [line.split("\t") for line in lines if "openapi.yaml" in line]
    said = {
        (method, path, ",".join(sorted(levels.replace(" ", "").split(",")))) for method, path, _, levels, _ in split
    }
    assert len(rows) == len(found) == 112
    assert found == said


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        (None, "(public)"),
        ([], "(any key)"),
        (["A"], "A"),
        (["A", "B"], "A and B"),
        ({"any": ["A", "B"]}, "A or B"),
        ({"all": ["C"], "any": ["A", "B"]}, "C and (A or B)"),
    ],
)
def test_scopes_in_words(scopes: object, words: str) -> None:
    assert scopes_for_people(scopes) == words
