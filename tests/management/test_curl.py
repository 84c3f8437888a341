from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.config.model import Certificate, KeyPolicy, Listener, Needs, Settings, Tls
from keystile.management.curl import base_url, curl
from keystile.management.reference import Entry, read_reference
from keystile.management.schema import Room, details
from tests.management.documented import HOSTILE, contents, real_settings
from tests.relay.running import settings

TLS = Tls((Certificate(Path("/c"), Path("/k")),))


def line_of(said: dict[str, Any] | None = None, path: str = "/a", method: str = "GET", **more: Any) -> str:
    needs = more.pop("needs", Needs())
    entry = Entry("slug", method, path, needs, "api", said=said or {})
    given_: Settings = dataclasses.replace(settings(9), listeners=(Listener("192.0.2.1", 8080),), **more)
    return curl(entry, details(entry, Room()), given_, "keys.example.com")


def words_of(line: str) -> list[str]:
    """As a shell reads it; shlex keeps the newline that a backslash takes away."""
    return shlex.split(line.replace("\\\n", " "))


def test_a_call_shows_the_key_s_field_and_the_public_address() -> None:
    assert line_of() == "curl http://192.0.2.1:8080/a \\\n  -H 'X-Api-Key: YOUR_API_KEY'"


def test_the_real_service_s_calls_can_be_pasted(tmp_path: Path) -> None:
    wanted = real_settings(tmp_path)
    for entry in read_reference(wanted, contents(wanted)).entries:
        words = words_of(curl(entry, details(entry, Room()), wanted, "x"))
        assert words[0] == "curl"
        assert "X-ElasticEmail-ApiKey: YOUR_API_KEY" in words
        url = next(word for word in words if word.startswith("http://127.0.0.1:8080/v4/"))
        assert not set("{}[]") & set(url), "curl would expand these"


def test_a_short_body_is_written_out_and_a_long_one_comes_from_a_file() -> None:
    def said(example: object) -> dict[str, Any]:
        return {"requestBody": {"content": {"application/json": {"example": example}}}}

    short = words_of(line_of(said({"Name": "it's"}), method="POST"))
    assert short[:3] == ["curl", "-X", "POST"]
    assert short[-2:] == ["--data-binary", '{"Name": "it\'s"}']
    assert "Content-Type: application/json" in short
    assert words_of(line_of(said(["x" * 2000]), method="POST"))[-1] == "@BODY"
    assert words_of(line_of(said("@/etc/passwd"), method="POST"))[-1] == '"@/etc/passwd"'


def test_an_upload_names_a_file_of_the_reader_s_and_no_other() -> None:
    def said(name: str) -> dict[str, Any]:
        schema = {"properties": {name: {"type": "string", "format": "binary"}}}
        return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}

    assert words_of(line_of(said("upload"), method="POST"))[-1] == "upload=@FILE"
    assert words_of(line_of(said("a=@/etc/passwd;b"), method="POST"))[-1] == "file=@FILE"


def test_required_parameters_have_an_example_or_their_name() -> None:
    said = {
        "parameters": [
            {"name": "id", "in": "path", "example": "a/b c"},
            {"name": "q", "in": "query", "required": True, "example": "x&y"},
            {"name": "limit", "in": "query"},
            {"name": "X-Trace", "in": "header", "required": True},
            {"name": "@/etc/passwd", "in": "header", "required": True},
        ]
    }
    words = words_of(line_of(said, "/things/{id}/{other one}"))

    assert words[1] == "http://192.0.2.1:8080/things/a%2Fb%20c/OTHER_ONE?q=x%26y"
    assert words[-2:] == ["-H", "X-Trace: X_TRACE"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (KeyPolicy(headers=("Authorization",)), ["-H", "Authorization: Bearer YOUR_API_KEY"]),
        (KeyPolicy(headers=(), query_parameter="apikey"), ["http://192.0.2.1:8080/a?apikey=YOUR_API_KEY"]),
    ],
)
def test_the_key_goes_where_the_settings_say(policy: KeyPolicy, words: list[str]) -> None:
    assert words_of(line_of(keys=policy))[-len(words) :] == words


def test_a_public_call_shows_no_key_and_methods_are_given_only_where_they_must_be() -> None:
    assert line_of(needs=Needs(public=True)) == "curl http://192.0.2.1:8080/a"
    assert words_of(line_of(method="HEAD"))[1] == "--head"
    assert words_of(line_of(path="/v2/*", method="*"))[1] == "http://192.0.2.1:8080/v2/..."


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        ([Listener("127.0.0.1", 80)], "http://127.0.0.1"),
        ([Listener("::1", 8080)], "http://[::1]:8080"),
        ([Listener("127.0.0.1", 8080), Listener("192.0.2.1", 443, TLS)], "https://192.0.2.1"),
        ([Listener("0.0.0.0", 8443, TLS)], "https://keys.example.com:8443"),
        ([Listener("127.0.0.1", 0)], "http://127.0.0.1:PORT"),
    ],
)
def test_the_address_is_the_first_listener_s_with_tls_before_those_without(listeners: list[Listener], url: str) -> None:
    assert base_url(listeners, "keys.example.com") == url


@pytest.mark.parametrize("host", ["", "a b", "$(id)", "evil';id;'", "a/b"])
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    assert base_url([Listener("0.0.0.0", 8080)], host) == "http://localhost:8080"


WORST = [HOSTILE, "'; rm -rf ~; '", "$(id)", "`id`", "a\nb", "\r\nX: y", "\\", "!!", "\u2028id", "-o/etc/x", "{a,b}"]
NASTY = st.sampled_from(WORST) | st.text(max_size=20)


@pytest.mark.parametrize("text", WORST)
def test_a_real_shell_reads_the_words_that_were_meant(text: str) -> None:
    said = {
        "parameters": [{"name": "a", "in": place, "required": True, "example": text} for place in ("path", "header")],
        "requestBody": {"content": {"application/json": {"example": text}}},
    }
    line = line_of(said, "/x/{a}", "POST")
    told = subprocess.run(
        ["sh", "-c", 'curl() { printf "%s\\0" "$@"; }\n' + line], capture_output=True, check=True, timeout=10
    )

    assert told.stderr == b""
    assert not set("\n\r\u2028") & set(line.replace("\\\n", "")), "what is pasted must not run before its end"
    assert told.stdout.decode().split("\0")[:-1] == words_of(line)[1:]


@hypothesis(deadline=None)
@given(NASTY, NASTY, NASTY, NASTY)
def test_whatever_a_document_says_the_line_stays_one_command_of_options_that_are_ours(
    name: str, example: str, media_type: str, value: str
) -> None:
    said = {
        "parameters": [
            {"name": name, "in": place, "required": True, "example": example} for place in ("path", "query", "header")
        ],
        "requestBody": {"content": {media_type: {"example": {name: value}}, "application/json": {"example": value}}},
    }
    line = line_of(said, "/x/{a}", "POST")
    words = words_of(line)

    # What stands outside of quotes is ours: no word of the shell begins, ends or runs anything.
    assert words[:3] == ["curl", "-X", "POST"]
    options = [word for word in words[4:] if words[words.index(word) - 1] not in ("-H", "-F", "--data-binary")]
    assert set(options) <= {"-H", "-F", "--data-binary"}
    assert all(part.startswith("  -") for part in line.split("\\\n")[1:])
    url = urlsplit(words[3])
    assert url.netloc == "192.0.2.1:8080"
    assert len(parse_qsl(url.query, keep_blank_values=True)) <= 1
