from __future__ import annotations

import time
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config.log_fields import DEFAULT_REDACTED
from keystile.keys.secret import generate
from keystile.relay import log_query
from keystile.relay.log_query import LONGEST, Redaction

#: An imported key: nothing about it says that it is one, but the name beside it.
IMPORTED = "hunter2-hunter2"
USUAL = Redaction(DEFAULT_REDACTED, ["apikey", "X-Auth"])
NOTHING_SAID = Redaction([], ["apikey", "X-Auth"])


def encoded(text: str, times: int = 1) -> str:
    for _ in range(times):
        text = "".join(f"%{byte:02X}" for byte in text.encode()) if text.isalnum() else quote(text, safe="")
    return text


def said(query: str, redaction: Redaction = USUAL) -> str:
    return redaction.of(query.encode("latin-1"))


def test_what_is_harmless_is_told_byte_for_byte() -> None:
    for query in ("", "a", "a=1&b=2", "limit=10&offset=%20x+y", "q=caf%C3%A9", "a=&&b", "=1", 'x="\\', "t=10:30"):
        assert said(query) == query


def test_a_value_is_redacted_by_its_name() -> None:
    assert said("a=1&apikey=abc&b=2") == "a=1&apikey=[redacted]&b=2"
    assert said("access_token=abc&my_password=d&code=e&sig=f") == (
        "access_token=[redacted]&my_password=[redacted]&code=[redacted]&sig=[redacted]"
    )
    assert said("encode=x&signal=y") == "encode=x&signal=y"


def test_stars_stand_for_any_text_at_an_end() -> None:
    some = Redaction(["*pin", "card*", "*mid*", "one"])
    covered = ["pin", "my-pin", "card", "card-number", "mid", "xmidx", "one"]
    assert [name for name in covered if not some.covers(name)] == []
    assert [name for name in ["pins", "acard", "mi", "ones", "done"] if some.covers(name)] == []
    assert said("x=1&y", Redaction(["*"])) == "x=[redacted]&y"


#: Ways to write a parameter's name that some server reads as ``apikey``, or as one in whose name that stands.
NAMES = [
    "apikey",
    "APIKEY",
    "ApiKey",
    "%61pikey",
    "%61%70%69%6B%65%79",
    "%61%70%69%6b%65%79",
    "%2561pikey",
    "%252561pikey",
    "apikey%20",
    "+apikey",
    "%09apikey",
    "apikey%00",
    "api%00key",
    "%EF%BB%BF&apikey",
    "apikey[]",
    "apikey%5B%5D",
    "apikey[0]",
    "auth[apikey]",
    "auth.apikey",
    "?apikey",
    "a=1&apikey",
    "a=1;apikey",
    "a=1%26apikey",
    "a=1%3Bapikey",
    "a=1%2526apikey",
    "next=/path?apikey",
    "next=%2Fpath%3Fapikey",
    "next=https%3A%2F%2Fexample.com%2F%3Fx%3D1%26apikey",
    "next=https%253A%252F%252Fexample.com%252F%253Fapikey",
    "a#apikey",
    "api_key",
    "api-key",
    "X-Api-Key",
    "x_api_key",
    "x%5Fapi%5Fkey",
    "Authorization",
    "X-Auth",
    "x_auth",
]
EQUALS = ["=", "%3D", "%3d", "%253D", ":", "%3A"]


@pytest.mark.parametrize("redaction", [USUAL, NOTHING_SAID], ids=["usual", "nothing said"])
def test_a_key_is_redacted_however_its_name_is_written(redaction: Redaction) -> None:
    for name, equals in product(NAMES, EQUALS):
        told = said(f"page=7&{name}{equals}{IMPORTED}&last=9", redaction)
        assert "hunter2" not in told, name + equals
        assert told.startswith("page=7&"), name
        assert told.endswith("&last=9"), name


@pytest.mark.parametrize(
    "value",
    [
        '{"apikey":"%s"}',
        '{"apikey" : "%s"}',
        "{'apikey': '%s'}",
        '{"a":{"apikey":["%s"]}}',
        "x=1,apikey=%s",
        "(apikey=%s)",
        "apikey=%s;path=/",
    ],
)
def test_a_key_inside_of_a_value_is_redacted_with_it(value: str) -> None:
    for times in range(3):
        assert said(f"q={encoded(value % IMPORTED, times)}&b=2") == "q=[redacted]&b=2"


def test_nothing_of_a_value_is_left_behind_a_semicolon() -> None:
    assert said("apikey=hun;ter2&b=1") == "apikey=[redacted]&b=1"
    assert said("apikey=hun=ter2") == "apikey=[redacted]"


def test_what_is_encoded_without_end_is_not_told() -> None:
    name = "apikey"
    for _ in range(9):
        name = quote(name, safe="") if "%" in name else encoded(name)
    assert said(f"{name}={IMPORTED}&b=2") == said(f"q={name}&b=2") == "[redacted]&b=2"


@pytest.mark.parametrize("times", range(4))
def test_a_well_formed_key_is_redacted_wherever_it_stands(times: int) -> None:
    secret = generate()
    written = encoded(secret, 1) if times else secret
    for _ in range(times - 1):
        written = quote(written, safe="")
    for query in ("{}", "x={}", "x=a%20{}", "{}=1", "x[{}]=1", "a=1&x={}&b=2", "a;x={}"):
        told = said(query.format(written))
        assert secret not in told, (query, times)
        assert secret[:40] not in told, (query, times)
    assert "[management token]" in said("x=kst_0123456789abcdef0123456789abcdef")


def test_a_long_query_is_cut_between_parameters() -> None:
    secret = generate()
    for before in range(LONGEST - 120, LONGEST + 20, 3):
        told = said(f"{'a' * before}&x={secret}&y=1")
        assert secret[:20] not in told
        assert len(told) <= LONGEST + 30
    assert said(f"a=1&{'b' * LONGEST}&c=2") == "a=1&…"
    assert said("b" * (LONGEST + 1)) == "…"


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(query: bytes) -> None:
    assert isinstance(USUAL.of(query), str)


@given(st.text("aApPiIkKeEyY", min_size=0, max_size=4), st.lists(st.integers(0, 5), max_size=6), st.sampled_from("&;"))
def test_a_name_with_any_of_its_letters_encoded_is_that_name(before: str, at: list[int], separator: str) -> None:
    name = "".join(f"%{ord(letter):02x}" if i in at else letter for i, letter in enumerate("apikey"))
    assert "hunter2" not in said(f"q={before}{separator}{name}={IMPORTED}")


def test_the_work_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in processor time of the same work: sixteen times the length may not take a hundred times as long."""
    monkeypatch.setattr(log_query, "LONGEST", 1 << 20)

    def takes(times: int) -> float:
        began = time.process_time()
        for unit in ("a", "%25", "=", "a=", "[", "a.", ":", "a ", "%61", "A"):
            USUAL.of((unit * times).encode())
        return time.process_time() - began

    takes(1000)
    assert takes(32_000) < 100 * max(takes(2_000), 0.002)
