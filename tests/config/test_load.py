from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystile.config.faults import ConfigurationError
from keystile.config.load import load
from keystile.config.model import Settings
from keystile.routing.conflicts import check_conflicts
from keystile.routing.openapi import read_operations

ROOT = Path(__file__).parents[2]
Lines = Callable[[str], list[str]]


def load_file(path: Path, contents: dict[Path, bytes] | None = None) -> Settings:
    return load(path, read_document=read_operations, check_operations=check_conflicts, contents=contents)


def test_the_example_runs_as_it_is() -> None:
    loaded = load_file(ROOT / "gateway.yaml")
    assert [(one.host, one.port, one.tls) for one in loaded.listeners] == [("127.0.0.1", 8080, None)]
    assert (loaded.management.host, loaded.management.port) == ("127.0.0.1", 8081)
    assert [(one.host, one.port) for one in loaded.upstreams[0].servers] == [("127.0.0.1", 9000)]
    assert loaded.warnings == ()
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_what_stands_in_comments_of_the_example_is_right_too(tmp_path: Path) -> None:
    text = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
    for name in ("trust_without_store", "query_parameter", "max_body_size", "trusted_proxies", "health_path", "host",
                 "over_limit", "ipv6_prefix_length", "head_timeout", "idle_timeout", "connect_timeout", "max_head_size",
                 "max_fields", "drain_timeout", "drain_wait", "min_body_rate", "min_read_rate", "rate_window",
                 "websocket_timeout", "websocket_idle_timeout", "connections", "connections_per_ip", "max_buffered",
                 "max_lag", "max_memory",
                 "client_address_field", "management_routes", "case_insensitive", "ignores_extensions",
                 "undecoded_literals", "hosts", "tls"):  # fmt: skip
        assert f"# {name}: " in text
        text = text.replace(f"# {name}: ", f"{name}: ", 1)
    (tmp_path / "gateway.yaml").write_text(text, encoding="utf-8")
    commented, example = load_file(tmp_path / "gateway.yaml"), load_file(ROOT / "gateway.yaml")
    for field in ("limits", "management", "keys", "trusted_proxies", "client_address_field", "health_path", "upstreams",
                  "trust_without_store"):  # fmt: skip
        assert getattr(commented, field) == getattr(example, field)


def test_every_fault_is_told_at_once(lines_of: Lines, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("openapi: 3.0.3\npaths:\n  /a:\n    get: {x-scopes: A}\n    put: {}\n")
    text = """\
listeners:
  - address: 127.0.0.1
  - address: 127.0.0.1:8443
    tls: {certificate: cert.pem, private_key: key.pem}
management: {address: 0.0.0.0:8081}
limits:
  request_timeout: 10 parsecs
  request_timout: 5s
  idle_timeout: 5s
  idle_timeout: 6s
store: sqlite:///nowhere/keystile.db
slots: valkey:/host
upstreams:
  api: {servers: ["http://127.0.0.1:9000"]}
routes:
  - {path: /x, methods: [GET], scope: A, upstream: api}
  - {path: /x, methods: [GET], scope: B, upstream: api}
  - {path: "/a/../b", scope: A, public: true, upstream: apl}
  - {openapi: d.yaml, scope_from: x-scopes, upstream: api}
"""
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in lines_of(text)] == [
        "gateway.yaml:2 listeners[0].address",
        "gateway.yaml:4 listeners[1].tls.certificate",
        "gateway.yaml:4 listeners[1].tls.private_key",
        "gateway.yaml:5 management.address",
        "gateway.yaml:7 limits.request_timeout",
        "gateway.yaml:8 limits.request_timout",
        "gateway.yaml:10 limits.idle_timeout",
        "gateway.yaml:11 store",
        "gateway.yaml:12 slots",
        "gateway.yaml:16 routes[0]",
        "gateway.yaml:18 routes[2].path",
        "gateway.yaml:18 routes[2]",
        "gateway.yaml:18 routes[2].upstream",
        "d.yaml:5 paths./a.put",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "gateway.yaml: is empty; it needs upstreams and routes"),
        (b"null", "gateway.yaml: is empty; it needs upstreams and routes"),
        (b"- a", "gateway.yaml:1: is no mapping; write settings as name: value"),
        (b"a: 1\nb: \xff", "gateway.yaml:2: is not UTF-8"),
        (b"a: [", "is not YAML"),
    ],
)
def test_a_file_that_holds_no_settings_is_one_fault(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_file(file)
    assert told in str(caught.value).replace(f"{tmp_path}/", "")
    assert len(caught.value.faults) == 1


def test_a_file_that_is_not_there_is_one_fault(tmp_path: Path) -> None:
    for path in (tmp_path / "x.yaml", tmp_path, tmp_path / ("a" * 300), tmp_path / "a\x00b"):
        with pytest.raises(ConfigurationError, match="cannot be read: "):
            load_file(path)


def test_what_is_missing_altogether_is_told(lines_of: Lines) -> None:
    assert [line.split(": ")[1:3] for line in lines_of("workers: 1")] == [
        ["upstreams", "is missing"],
        ["routes", "is missing"],
    ]


@pytest.mark.parametrize("name", ["tls", "host", "servers", "health_check", "upstreams", "api"])
def test_an_upstream_may_be_called_what_a_setting_is_called(lines_of: Lines, name: str) -> None:
    told = lines_of(f"upstreams:\n  {name}: {{preserve: x}}\nroutes:\n  - {{path: /, public: true, upstream: {name}}}")
    assert [line.split(": ")[1:3] for line in told] == [
        [f"upstreams.{name}.servers", "is missing"],
        [f"upstreams.{name}.preserve", "is not a setting; did you mean servers?"],
    ]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_bytes(b"\xef\xbb\xbf" + (ROOT / "gateway.yaml").read_bytes())
    assert load_file(tmp_path / "g.yaml").listeners


def test_the_file_is_told_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway.yaml").write_text("workers: 0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^gateway\.yaml:1: workers: 0 is not a number of workers"):
        load_file(Path("gateway.yaml"))


def test_paths_are_absolute_however_the_file_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway.yaml").write_bytes((ROOT / "gateway.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    loaded = load_file(Path("gateway.yaml"))
    assert (loaded.file, loaded.store) == (tmp_path / "gateway.yaml", tmp_path / "keystile.db")


def test_what_was_read_is_handed_out(tmp_path: Path) -> None:
    document = b"openapi: 3.0.3\npaths: {/a: {get: {x-scopes: A}}}\n"
    (tmp_path / "d.yaml").write_bytes(document)
    text = 'upstreams: {api: {servers: ["http://a"]}}\nroutes: [{openapi: d.yaml, scope_from: x-scopes, upstream: api}]'
    (tmp_path / "gateway.yaml").write_text(text)
    contents: dict[Path, bytes] = {}
    load_file(tmp_path / "gateway.yaml", contents)
    assert contents == {tmp_path / "gateway.yaml": text.encode(), tmp_path / "d.yaml": document}


def test_ten_thousand_rows_load_in_seconds(tmp_path: Path) -> None:
    rows = "".join(
        f"  - {{path: '/a{n}/{{x}}', methods: [GET], scope: A{n % 50}, upstream: api}}\n" for n in range(10_000)
    )
    (tmp_path / "g.yaml").write_text('upstreams: {api: {servers: ["http://a"]}}\nroutes:\n' + rows)
    began = time.process_time()
    assert len(load_file(tmp_path / "g.yaml").operations) == 10_000
    assert time.process_time() - began < 15


NAMES = st.sampled_from(
    """
    listeners address tls certificate management hosts workers store slots keys headers limits over_limit
    request_timeout max_body_size trusted_proxies health_path access_log cors origins upstreams servers api routes
    path methods scope scopes all key_only public openapi prefix scope_from scope_from_description upstream override
    <path> [key] <<
    """.split()  # noqa: SIM905 - a list of these fills the screen
)
SCALARS = st.sampled_from(["", "&a 5", "A, B"]) | st.sampled_from(
    r"""
    null true off 5 -1 600s 32KiB 127.0.0.1:8080 '[::]:80' http://a https://a '*' /x '/x/{a}' /* ../x /dev/zero /dev
    api GET X security (.) sqlite:///k.db stdout gateway.yaml '\0' "\0" "\ud800" "\u202e" x-a *a !x 1.2
    999999999999999999999999999999
    """.split()  # noqa: SIM905
)


def _mapping(fields: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields) + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(NAMES, inner), max_size=4).map(_mapping),
    ),
    max_leaves=12,
)


DOCUMENTS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(
    lambda fields: "\n".join(f"{name}: {value}" for name, value in fields)
)


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS | st.text(max_size=60))
def test_no_text_makes_loading_raise_anything_but_its_faults(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        faults = []
        try:
            loaded = load_file(file)
        except ConfigurationError as error:
            faults = error.faults
            assert faults
        else:
            assert loaded.operations
    assert all(str(fault).isprintable() for fault in faults)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_make_loading_raise_anything_but_its_faults(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_bytes(content)
        with pytest.raises(ConfigurationError):
            load_file(file)


def test_loading_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_bytes((ROOT / "gateway.yaml").read_bytes())
    load_file(tmp_path / "gateway.yaml")
    assert os.listdir(tmp_path) == ["gateway.yaml"]


def test_the_service_s_own_document_gives_its_112_operations(tmp_path: Path) -> None:
    document = ROOT / "tests" / "data" / "elasticemail-openapi.yaml"
    (tmp_path / "gateway.yaml").write_text(
        'upstreams: {api: {servers: ["http://127.0.0.1:9000"]}}\n'
        f"routes: [{{openapi: {document}, prefix: /v4, upstream: api, "
        "scope_from_description: 'Required Access Level: (.+)'}]"
    )
    assert len(load_file(tmp_path / "gateway.yaml").operations) == 112
