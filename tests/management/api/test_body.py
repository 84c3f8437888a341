from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.management.api.body import DEEPEST, MAX_SIZE, parsed, shaped
from keystile.management.api.problems import ApiProblem, Problem
from keystile.management.api.shapes import CreateKey
from tests.management.api.checked import Api, User, refusal

JSON = {"Content-Type": "application/json"}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"name",
        b"{'name': 'k'}",
        b'{"name": "k",}',
        b'{"name": "k"} {}',
        b'{"name": "k"}\x00',
        b'\xef\xbb\xbf{"name": "k"}',
        '{"name": "k"}'.encode("utf-16"),
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"name": "k", "name": "k"}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"overlap": NaN}',
        b'{"overlap": Infinity}',
        b'{"overlap": -Infinity}',
        b'{"overlap": 1e999}',
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b'{"name": "a\nb"}',
        b"\x00",
    ],
    ids=repr,
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(ApiProblem) as refused:
        parsed(body)
    assert refused.value.problem is Problem.MALFORMED


def test_a_member_given_twice_is_named() -> None:
    with pytest.raises(ApiProblem) as refused:
        parsed(b'{"a": 1, "b": {"c": 1, "c": 1}}')
    assert refused.value.field == "c"


@given(VALUES)
def test_json_is_read_as_it_was_written(value: object) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parsed(text) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    refused = refusal(lambda: parsed(body))
    assert refused is None or refused.problem is Problem.MALFORMED


@given(VALUES)
def test_any_json_is_a_shape_or_names_what_is_wrong(value: object) -> None:
    refused = refusal(lambda: shaped(CreateKey, value))
    if refused is None:
        assert isinstance(value, dict)
        assert shaped(CreateKey, value).name == value["name"]
    else:
        assert refused.problem is Problem.INVALID
        assert refused.field is not None or not isinstance(value, dict)


@pytest.mark.parametrize("value", [None, [], "k", 5, True, 1.5])
def test_a_body_that_is_no_object_is_invalid(value: object) -> None:
    with pytest.raises(ApiProblem) as refused:
        shaped(CreateKey, value)
    assert (refused.value.problem, refused.value.detail) == (Problem.INVALID, "The body must be an object.")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/merge-patch+json",
        "json",
        "application/octet-stream",
        ";",
    ],
)
async def test_another_media_type_is_refused(api: Api, ann: User, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await api.ask(ann, "POST", "/api/keys", data=b'{"name": "k"}', headers=headers, status=415)
    assert answer.headers["Accept"] == "application/json"
    assert (await api.get(ann, "/api/keys"))["items"] == []


async def test_a_patch_says_which_media_types_it_takes(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}"
    fields = {"Content-Type": "application/json-patch+json", "If-Match": "*"}
    answer = await api.ask(ann, "PATCH", path, data=b"[]", headers=fields, status=415)
    assert answer.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


async def test_utf_8_may_be_said(api: Api, ann: User) -> None:
    fields = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    await api.ask(ann, "POST", "/api/keys", data='{"name": "Schlüssel"}'.encode(), headers=fields, status=201)


async def test_a_compressed_body_is_not_inflated(api: Api, ann: User) -> None:
    fields = {**JSON, "Content-Encoding": "gzip"}
    answer = await api.ask(ann, "POST", "/api/keys", data=b"\x1f\x8b", headers=fields, status=415)
    assert answer.headers["Accept-Encoding"] == "identity"


async def test_a_body_has_at_most_64_kib(api: Api, ann: User) -> None:
    just = b'{"name": "k"' + b" " * (MAX_SIZE - 13) + b"}"
    assert len(just) == MAX_SIZE
    await api.ask(ann, "POST", "/api/keys", data=just, headers=JSON, status=201)
    await api.ask(ann, "POST", "/api/keys", data=just + b" ", headers=JSON, status=413)
    await api.ask(ann, "POST", "/api/keys", data=b" " * 1_000_000, headers=JSON, status=413)


async def test_a_body_without_a_length_has_at_most_64_kib_too(api: Api, ann: User) -> None:
    async def endless() -> object:
        for _ in range(100):
            yield b" " * 1024

    fields = {**ann.headers, **JSON}
    async with api.client.post(f"{api.app.url}/api/keys", data=endless(), headers=fields) as answer:
        assert answer.status == 413
        assert answer.content_type == "application/problem+json"


async def test_who_has_not_come_in_is_told_so_before_the_body_is_looked_at(api: Api) -> None:
    for data in (b"{", b" " * 200_000):
        await api.ask(None, "POST", "/api/keys", data=data, headers=JSON, status=401)


async def test_a_body_where_none_is_needed_may_be_left_out(api: Api, ann: User) -> None:
    path = f"/api/keys/{(await api.new_key(ann))['id']}/change"
    for data, status in ((None, 200), (b"{}", 200), (b"[]", 422), (b"x", 400)):
        headers = {"If-Match": "*"} | ({} if data is None else JSON)
        await api.ask(ann, "POST", path, data=data, headers=headers, status=status)
