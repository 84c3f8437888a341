from __future__ import annotations

import hashlib
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from keystile.keys.secret import digest, generate, has_check_digits, hint, redact

ALPHABET = "0123456789ABCDEF"
SECRET = generate()


def test_a_secret_is_96_upper_case_hexadecimal_characters_with_right_check_digits() -> None:
    secret = generate()
    assert re.fullmatch("[0-9A-F]{96}", secret)
    assert has_check_digits(secret.encode())


def test_no_two_secrets_are_alike() -> None:
    assert len({generate() for _ in range(1000)}) == 1000


@given(st.integers(0, 95), st.integers(0, 255))
def test_any_single_wrong_character_is_found(place: int, byte: int) -> None:
    secret = bytearray(generate().encode())
    if secret[place] == byte:
        return
    secret[place] = byte
    assert not has_check_digits(bytes(secret))


@given(st.integers(0, 94))
def test_two_neighbours_in_the_wrong_order_are_found(place: int) -> None:
    secret = generate()
    swapped = secret[:place] + secret[place + 1] + secret[place] + secret[place + 2 :]
    assert swapped == secret or not has_check_digits(swapped.encode())


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_without_an_error(text: bytes) -> None:
    assert not has_check_digits(text)


def test_lower_case_and_wrong_lengths_are_refused() -> None:
    for text in (SECRET.lower(), SECRET[:-1], SECRET + "0", "", " " + SECRET[1:]):
        assert not has_check_digits(text.encode())


def test_a_digest_is_the_sha_256_of_the_secret() -> None:
    assert digest(SECRET.encode()) == hashlib.sha256(SECRET.encode()).digest()


def test_a_hint_is_the_last_five_characters() -> None:
    assert hint(SECRET) == SECRET[91:]


@given(st.text(max_size=120), st.text(max_size=120))
def test_a_key_in_any_text_is_redacted(before: str, after: str) -> None:
    shown = redact(before + SECRET + after)
    assert SECRET not in shown
    assert "[key …" in shown or ("kst_" in before and "[management token]" in shown)


def test_a_key_behind_the_mark_of_a_management_token_leaves_nothing() -> None:
    assert redact(f"kst_{SECRET}") == "[management token]"


def test_what_stands_around_a_key_is_left_as_it_is() -> None:
    assert redact(f"GET /a?key={SECRET} HTTP/1.1") == f"GET /a?key=[key …{hint(SECRET)}] HTTP/1.1"


def test_a_key_behind_characters_that_look_like_its_own_is_redacted() -> None:
    assert SECRET not in redact(f"a?b%3D{SECRET}&c")
    assert SECRET not in redact(SECRET + SECRET)


def test_a_key_that_was_written_in_lower_case_is_redacted() -> None:
    assert SECRET.lower() not in redact(f"/x/{SECRET.lower()}")
    assert SECRET.lower() not in redact("ab" * 2000 + SECRET.lower())
    assert SECRET.lower() not in redact("ab" * 16 + SECRET.lower())
    assert SECRET.lower() not in redact(SECRET.lower() + "ab" * 16)


def test_a_key_without_check_digits_is_redacted_since_imported_ones_have_none() -> None:
    assert redact("A" * 96) == "[key …AAAAA]"


def test_a_long_digest_in_lower_case_is_no_key() -> None:
    for text in (hashlib.sha512(b"x").hexdigest(), hashlib.sha384(b"x").hexdigest()):
        assert redact(f"/{text}/") == f"/{text}/"


@given(st.text(alphabet=string.ascii_letters + string.digits + "/?&= ", max_size=95))
def test_a_text_too_short_for_a_key_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_a_management_token_is_redacted_wherever_it_stands() -> None:
    token = "kst_" + "0a" * 32
    assert redact(f"Authorization: Bearer {token}\\x01") == "Authorization: Bearer [management token]\\x01"
    assert redact("kst_short") == "kst_short"
