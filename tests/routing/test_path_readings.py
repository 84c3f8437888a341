"""One raw path, many readers: what servers behind a gateway make of it, rule by rule, each with its source.

``servers.py`` has them coarse, for chains of any length; here each is written after its own documentation, options
included, against a corpus as rows and against whatever hypothesis makes. What must hold: no path that is admitted
leads, as any of them reads it, to a route that needs something else than the one that was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keystile.config.model import Operation
from keystile.routing.route import AMBIGUOUS, NoRoute, Route
from keystile.routing.table import Habits, RouteTable
from tests.examples import examples
from tests.routing.rules import row, slowly
from tests.routing.test_tree import OPERATION

Reading = Callable[[str], list[str] | None]


def _decoded(path: str) -> str:
    return unquote_to_bytes(path).decode("utf-8", errors="replace")


def _resolved(path: str, *, merged: bool = True) -> str | None:
    """RFC 3986, 5.2.4; None above the root, where servers answer 400."""
    kept: list[str] = []
    parts = (re.sub(r"/+", "/", path) if merged else path)[1:].split("/")
    for part in parts:
        if part == "..":
            if not kept:
                return None
            kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _split(path: str | None) -> list[str] | None:
    return None if path is None else path[1:].split("/")


def _without_last_slash(parts: list[str]) -> list[str]:
    return parts[:-1] if len(parts) > 1 and parts[-1] == "" else parts


def nginx(path: str) -> list[str] | None:
    """``location`` is matched "against a normalized URI, after decoding the text encoded in the %XX form, resolving
    references to relative path components . and .., and possible compression of two or more adjacent slashes":
    https://nginx.org/en/docs/http/ngx_http_core_module.html#location. %00 is a 400 (ngx_http_parse_complex_uri).
    """
    text = _decoded(path)
    return None if "\0" in text else _split(_resolved(text))


def nginx_without_merging(path: str) -> list[str] | None:
    """As above with ``merge_slashes off``: .../ngx_http_core_module.html#merge_slashes."""
    text = _decoded(path)
    return None if "\0" in text else _split(_resolved(text, merged=False))


def express(path: str) -> list[str] | None:
    """Express 4 and 5 match with ``caseSensitive: false`` and ``strict: false`` by default and decode parameters with
    decodeURIComponent, which fails on what is no UTF-8 (400): https://expressjs.com/en/api.html#express.router.
    Literals are compared undecoded: see ``express_literals_undecoded``.
    """
    try:
        parts = [unquote_to_bytes(part).decode() for part in path[1:].split("/")]
    except UnicodeDecodeError:
        return None
    return _without_last_slash(parts)


def flask(path: str) -> list[str] | None:
    """A WSGI server decodes the whole path into PATH_INFO (PEP 3333, "URL Reconstruction"); Werkzeug's Map then has
    ``merge_slashes=True`` and redirects, which is taken as followed:
    https://werkzeug.palletsprojects.com/en/stable/routing/#werkzeug.routing.Map.
    """
    return _split(re.sub(r"/+", "/", _decoded(path)))


def spring_path_pattern(path: str) -> list[str] | None:
    """PathContainer parses the raw path into segments; ``valueToMatch`` is a segment decoded and without its
    parameters: https://docs.spring.io/spring-framework/docs/current/javadoc-api/org/springframework/http/server/
    PathContainer.PathSegment.html. A trailing slash matched by default before 6.0.
    """
    return _without_last_slash([_decoded(part.partition(";")[0]) for part in path[1:].split("/")])


def spring_ant(path: str) -> list[str] | None:
    """UrlPathHelper: removeSemicolonContent, then urlDecode, then // to / (getSanitizedPath), for AntPathMatcher with
    useTrailingSlashMatch: https://docs.spring.io/spring-framework/docs/5.3.x/javadoc-api/org/springframework/web/util/
    UrlPathHelper.html.
    """
    text = re.sub(r"/+", "/", _decoded(re.sub(r";[^/]*", "", path)))
    return _without_last_slash(text[1:].split("/"))


def _tomcat(path: str, solidus: str, backslash: bool = False) -> list[str] | None:
    # CoyoteAdapter.parsePathParameters: ;jsessionid=… and every other parameter go before anything is decoded.
    text = re.sub(r";[^/]*", "", path)
    if solidus == "reject" and re.search(r"%2f", text, re.IGNORECASE):
        return None
    if solidus == "passthrough":
        text = re.sub(r"%2f", "%252F", text, flags=re.IGNORECASE)
    text = _decoded(text)
    if backslash:
        text = text.replace("\\", "/")
    return None if "\0" in text or "\\" in text else _split(_resolved(text))


def tomcat(path: str) -> list[str] | None:
    """encodedSolidusHandling="reject", the default: https://tomcat.apache.org/tomcat-10.1-doc/config/http.html."""
    return _tomcat(path, "reject")


def tomcat_decode(path: str) -> list[str] | None:
    """encodedSolidusHandling="decode": %2f is a slash (and before 9.0.31 with ALLOW_ENCODED_SLASH)."""
    return _tomcat(path, "decode")


def tomcat_passthrough(path: str) -> list[str] | None:
    """encodedSolidusHandling="passthrough": %2f stays %2f."""
    return _tomcat(path, "passthrough")


def tomcat_behind_ajp(path: str) -> list[str] | None:
    """allowBackslash="true", and what mod_jk (JkOptions +ForwardURICompat) decoded before:
    https://tomcat.apache.org/connectors-doc/reference/apache.html#Forwarding.
    """
    return _tomcat(_decoded(path).replace("?", "%3F"), "decode", backslash=True)


def iis(path: str) -> list[str] | None:
    """HTTP.sys decodes once (%uHHHH too, PercentUAllowed), takes a backslash for a slash and resolves dots:
    https://learn.microsoft.com/en-us/troubleshoot/developer/webapps/iis/iisadmin-service-inetinfo/
    httpsys-registry-windows. Names compare without regard to case.
    """
    text = re.sub(r"%u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), path)
    text = _decoded(text).replace("\\", "/")
    return None if "\0" in text else _split(_resolved(text))


def windows_names(path: str) -> list[str] | None:
    """Win32 drops dots and spaces at the end of a name:
    https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file#naming-conventions.
    """
    parts = iis(path)
    return None if parts is None else [part.rstrip(". ") if part.strip(". ") else part for part in parts]


def lenient_utf8(path: str) -> list[str] | None:
    """A decoder that takes overlong forms (RFC 3629, 10: "invalid sequences … e.g. C0 80"; IIS 4 and 5 did,
    CVE-2000-0884; Java's before 6u11, CVE-2008-2938).
    """
    data = unquote_to_bytes(path)
    data = re.sub(rb"[\xc0\xc1][\x80-\xbf]", lambda m: bytes([((m[0][0] & 3) << 6 | m[0][1] & 63) & 127]), data)
    data = re.sub(rb"\xe0[\x80-\x9f][\x80-\xbf]", lambda m: bytes([((m[0][1] & 31) << 6 | m[0][2] & 63) & 127]), data)
    return _split(_resolved(data.decode("utf-8", errors="replace")))


SERVERS: dict[str, Reading] = {
    each.__name__: each
    for each in (nginx, nginx_without_merging, express, flask, spring_path_pattern, spring_ant, tomcat, tomcat_decode,
                 tomcat_passthrough, tomcat_behind_ajp, iis, windows_names, lenient_utf8)
}  # fmt: skip
IGNORES_CASE = {express, iis, windows_names}

#: By family. None may be admitted as something else than what any of the servers above makes of it.
CORPUS: dict[str, list[str]] = {
    "traversal": [
        "/static/../admin", "/static/./../admin", "/static/x/..", "/static/..", "/..", "/.", "/static/.../admin",
        "/static/x/../../admin", "/public/../../admin", "/files/../admin/x",
    ],
    "encoding": [
        "/static/%2e%2e/admin", "/static/%2E./admin", "/static/..%2fadmin", "/static/%2e%2e%2fadmin",
        "/static/%252e%252e/admin", "/static/%25252e%25252e/admin", "/%61dmin", "/admi%6e", "/%2561dmin",
        "/files/export%2f1", "/files/export%252f1", "/admin%2f", "/%2fadmin", "/admin%2fx", "/admin%00", "/admin%00.js",
        "/admin%0a", "/admin%0d", "/admin%20", "/admin%09", "/admin%23", "/admin%3f", "/admin%3fx=y", "/%", "/%4",
    ],
    "case": [
        "/ADMIN", "/Admin", "/aDMIN/x", "/%41dmin", "/%41DMIN%2Fx", "/FILES/EXPORT/1", "/files/EXPORT/1",
        "/admin/X", "/adm%C4%B1n", "/ADM%C4%B0N", "/admin%E2%84%AA",
    ],
    "parameters": [
        "/admin;x", "/admin;x=y", "/admin;jsessionid=1", "/;x/admin", "/admin;/x", "/static/..;/admin",
        "/static/..;x=y/admin", "/static/%2e%2e;/admin", "/static/..%3b/admin", "/admin%3bx", "/admin%253bx",
        "/files/export;v=1/1", "/files/export/1;v", "/v1/all;x/secret", "/v1/all/secret;x", "/;/admin",
        "/x;y=/../admin",
    ],
    "unicode": [
        "/static/%ef%bc%8e%ef%bc%8e/admin", "/files/export%ef%bc%8f1", "/static/%e2%80%a5/admin", "/admin%ef%bc%9bx",
        "/%ef%bd%81dmin", "/%f0%9d%93%aadmin", "/static/%ef%bc%bcadmin", "/adm%c3%adn", "/admin%cc%81",
        "/static/%u002e%u002e/admin", "/static/%uff0e%uff0e/admin", "/admin%ef%b8%80",
    ],
    "overlong UTF-8": [
        "/static/%c0%ae%c0%ae/admin", "/files/export%c0%af1", "/static/%e0%80%ae%e0%80%ae/admin",
        "/files/export%e0%80%af1", "/%c1%a1dmin", "/admin%c0%80", "/files/export%f0%80%80%af1", "/%c1%81dmin",
        "/%ff", "/%c3", "/%ed%a0%80",
    ],
    "backslashes": [
        "/static\\..\\admin", "/static/..\\admin", "/static/..%5cadmin", "/static%5c..%5cadmin", "/%5cadmin",
        "/admin%5cx", "/admin\\x", "/files/export%5c1", "/static/..%255cadmin", "/files/export%255c1",
    ],
    "slashes": [
        "//admin", "/static//admin", "///admin", "/admin//x", "/admin//", "/admin/", "/static/x//../admin",
        "/files//export/1", "/files/export//1", "/v1//all/secret",
    ],
}  # fmt: skip

#: Open rows beside closed ones, so that whoever gets past the closed gets in; and the other way round.
SITES: dict[str, list[Operation]] = {
    "mostly open": [
        row("/admin", "Admin"), row("/admin/*", "Admin"), row("/public/{x}"), row("/public/{x}/raw", "Raw", "POST"),
        row("/static/*"), row("/files/{name}", "Files"), row("/files/export/{id}", "Export"), row("/{page}"),
        row("/v1/{a}/{b}", "One"), row("/v1/all/secret", "Secret"),
    ],
    "open to all below": [row("/*"), row("/admin", "Admin"), row("/files/export/{id}", "Export"), row("/admin/x", "X")],
    "mostly closed": [
        row("/*", "All"), row("/static/*"), row("/admin"), row("/files/{name}"), row("/v1/all/{b}"),
        row("/public/{x}", "Public", "GET"), row("/{page}", "Page"),
    ],
}  # fmt: skip
ROWS = [(family, path) for family, paths in CORPUS.items() for path in paths]


def assert_harmless(
    operations: Sequence[Operation], method: str, path: str, server: Reading, extensions: bool = False
) -> bool:
    """Whether the path was admitted; where it was, no reading of it may need anything else than what was checked."""
    fold = server in IGNORES_CASE
    apis = frozenset({"api"})
    table = RouteTable(operations, Habits(apis if fold else frozenset(), apis if extensions else frozenset()))
    checked = table.find(method.encode(), path.encode())
    if isinstance(checked, NoRoute):
        return False
    segments = server(path)
    if segments is not None:
        reached = slowly(operations, method, segments, fold)
        assert reached == "not_found" or (
            isinstance(reached, Operation) and (reached.needs, reached.upstream) == (checked.needs, checked.upstream)
        ), f"checked {checked.path}; {server.__name__} reads {segments} and reaches {reached}"
    return True


@pytest.mark.parametrize(("family", "path"), ROWS, ids=[f"{family}: {path}" for family, path in ROWS])
def test_no_server_reads_a_row_of_the_corpus_as_more_than_was_checked(family: str, path: str) -> None:
    for server in SERVERS.values():
        for site in SITES.values():
            for method in ("GET", "POST"):
                assert_harmless(site, method, path, server)


@pytest.mark.parametrize("family", CORPUS)
def test_every_family_has_ten_rows_and_not_all_of_it_is_admitted(family: str) -> None:
    assert len(set(CORPUS[family])) >= 10
    answers = [RouteTable(SITES["mostly open"]).find(b"GET", path.encode()) for path in CORPUS[family]]
    assert any(isinstance(answer, NoRoute) for answer in answers) or family == "case"


PIECES = [
    *"ab/.;AB", "admin", "ADMIN", "export", "%2f", "%2F", "%252f", "%25", "%61", "%41", "%2561", "%3b", "%253B", ";x",
    "..", "%2e", "%2E%2e", "%5c", "%255c", "\\", "%00", "%3f", "%23", "%EF%BC%8F", "%EF%BC%8E", "%c0%af", "%c0%ae",
    "%e0%80%af", "%C3%A9", "%20", "/a", "/b", "//", "%u002f", "%u002e", "%C4%B1", ";jsessionid=1", "%c1%a1", "/.",
]  # fmt: skip
ATTEMPT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map(lambda pieces: "/" + "".join(pieces))
TABLE = st.lists(OPERATION.filter(lambda operation: operation.path[-1] != "/"), min_size=1, max_size=10)


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=examples(500), deadline=None)
@given(TABLE, st.sampled_from(["GET", "POST"]), ATTEMPT)
@example([row("/a/{x}", "A"), row("/a/b/c", "B")], "GET", "/a/b%2fc")
@example([row("/{x}"), row("/a", "A")], "GET", "/%c1%a1")
@example([row("/{x}"), row("/a", "A")], "GET", "/a;jsessionid=1")
@example([row("/{x}"), row("/a", "A")], "GET", "/%u0061")
def test_no_reading_of_an_admitted_path_leads_to_other_needs(
    server: str, operations: list[Operation], method: str, path: str
) -> None:
    assert_harmless([replace(operation, override=True) for operation in operations], method, path, SERVERS[server])


@pytest.mark.parametrize(("server", "path", "table"), [
    ("tomcat_decode", "/files/export%2f1", "mostly open"),
    ("tomcat", "/admin;jsessionid=1", "mostly open"),
    ("iis", "/static/..\\admin", "mostly open"),
    ("lenient_utf8", "/files/export%c0%af1", "mostly open"),
    ("spring_path_pattern", "/v1/all;x/secret", "mostly open"),
    ("flask", "/files/export%2f1", "mostly open"),
    ("nginx", "/static/%2e%2e/admin", "mostly open"),
    ("express", "/ADMIN", "mostly open"),
])  # fmt: skip
def test_each_reading_would_lead_elsewhere_if_nothing_were_refused(server: str, path: str, table: str) -> None:
    """That the normalisers bite: what they read is not what a split of the decoded path says."""
    segments = SERVERS[server](path)
    assert segments is not None
    plain = [_decoded(part) for part in path[1:].split("/")]
    theirs = slowly(SITES[table], "GET", segments, SERVERS[server] in IGNORES_CASE)
    ours = slowly(SITES[table], "GET", plain)
    assert isinstance(theirs, Operation)
    assert not isinstance(ours, Operation) or theirs.needs != ours.needs


# Readings that need a table of their own ---------------------------------------------------------------------------


def express_literals_undecoded(path: str, operations: Sequence[Operation]) -> str | None:
    """The template that Express reaches: literals against raw segments, case ignored (path-to-regexp compiles them)."""
    parts = _without_last_slash(path[1:].split("/"))
    for operation in operations:
        template = operation.path[1:].split("/")
        if len(template) == len(parts) and all(
            want.startswith("{") or want.lower() == part.lower() for want, part in zip(template, parts, strict=True)
        ):
            return operation.path
    return None


def test_an_escaped_literal_is_refused_where_express_would_take_it_for_a_parameter_with_other_needs() -> None:
    """``/%6fpen`` is ``/open`` to us (RFC 3986, 6.2.2.2: the two are equivalent) and a ``{page}`` named "open" to
    Express. Where both need the same it passes; and where nobody said that the upstream is one of these.
    """
    site = [row("/open"), row("/{page}", "Page")]
    told = Habits(undecoded_literals=frozenset({"api"}))
    assert isinstance(RouteTable(site).find(b"GET", b"/%6fpen"), Route)
    assert express_literals_undecoded("/%6fpen", site) == "/{page}"
    assert RouteTable(site, told).find(b"GET", b"/%6fpen") is AMBIGUOUS
    alike = RouteTable([row("/open"), row("/{page}")], told).find(b"GET", b"/%6fpen")
    assert isinstance(alike, Route)
    assert alike.path == "/open"
    # Any other name of a page is checked as one.
    other = RouteTable(site, told).find(b"GET", b"/%6fther")
    assert isinstance(other, Route)
    assert other.path == "/{page}"
    assert other.needs.all_of == {"Page"}


@settings(max_examples=examples(500), deadline=None)
@given(TABLE, ATTEMPT)
@example([row("/a"), row("/{x}", "X")], "/%61")
@example([row("/{x}/a"), row("/{x}/{y}", "X")], "/%41/%61")
def test_no_admitted_path_leads_express_to_other_needs_by_its_undecoded_literals(
    operations: list[Operation], path: str
) -> None:
    operations = [replace(each, methods=(), override=True) for each in operations if "*" not in each.path]
    names = frozenset(each.upstream for each in operations)
    table = RouteTable(operations, Habits(case_insensitive=names, undecoded_literals=names))
    checked = table.find(b"GET", path.encode())
    # The most specific first, as an author of Express routes has to write them, and the first of two of one shape.
    operations.sort(key=lambda each: [part.startswith("{") for part in each.path.split("/")])
    reached = express_literals_undecoded(path, operations)
    if isinstance(checked, Route) and reached is not None:
        [needs] = [each.needs for each in operations if each.path == reached][:1]
        assert needs == checked.needs


def spring_suffix(path: str) -> list[str] | None:
    """Spring MVC before 5.3: a mapping ``/admin`` matches ``/admin.*`` too (useSuffixPatternMatch):
    https://docs.spring.io/spring-framework/docs/5.2.x/spring-framework-reference/web.html
    #mvc-ann-requestmapping-suffix-pattern-match.
    """
    parts = spring_ant(path)
    return None if parts is None else [*parts[:-1], re.sub(r"(?<=.)\.[^.]*$", "", parts[-1])]


def spring_shortest(path: str) -> list[str] | None:
    """As above, where ``.*`` stands for all that follows the first dot."""
    parts = spring_ant(path)
    return None if parts is None else [*parts[:-1], re.sub(r"(?<=.)\..*$", "", parts[-1])]


def rails_format(path: str) -> list[str] | None:
    """Rails: every resource's path ends in ``(.:format)``, after decoding (Journey unescapes what it matched):
    https://guides.rubyonrails.org/routing.html#listing-existing-routes.
    """
    parts = path[1:].split("/")
    cut = re.sub(r"(?<=.)\.[^./?]+$", "", parts[-1])
    return [_decoded(part) for part in _without_last_slash([*parts[:-1], cut])]


DROP_EXTENSIONS: list[Reading] = [spring_suffix, spring_shortest, rails_format]
ENDINGS = [
    "/admin.json", "/admin.", "/admin%20", "/admin...", "/admin%2e", "/admin%2ejson", "/admin.tar.gz", "/admin/x.y",
    "/files/export/1.", "/v1/all/secret.html", "/v1/all./secret", "/v1/all%20/secret", "/admin.;x", "/admin;x.json",
    "/admin.json/", "/admin%252e", "/.admin", "/admin.%20.", "/admin%20.%20",
]  # fmt: skip


@pytest.mark.parametrize("path", ENDINGS)
@pytest.mark.parametrize("reading", [*DROP_EXTENSIONS, windows_names])
def test_a_server_that_drops_the_end_of_a_name_reaches_no_more_than_was_checked(reading: Reading, path: str) -> None:
    for site in SITES.values():
        assert_harmless(site, "GET", path, reading, reading in DROP_EXTENSIONS)


@pytest.mark.parametrize("reading", DROP_EXTENSIONS)
@settings(max_examples=examples(500), deadline=None)
@given(TABLE, ATTEMPT.map(lambda path: path.replace("admin", "a.b").replace("export", "b.json")))
@example([row("/{x}"), row("/a", "A")], "/a.json")
@example([row("/{x}"), row("/a", "A")], "/a.b.c")
@example([row("/a/*"), row("/a/b", "A")], "/a/b%2ejson")
def test_no_ending_leads_to_other_needs_where_the_upstream_is_said_to_ignore_them(
    reading: Reading, operations: list[Operation], path: str
) -> None:
    plain = [replace(each, override=True, upstream="api") for each in operations if "." not in each.path]
    assert_harmless(plain, "GET", path, reading, extensions=True)


@pytest.mark.parametrize(("reading", "path"), [
    (spring_suffix, "/admin.json"), (spring_shortest, "/admin.tar.gz"), (rails_format, "/admin.json"),
    (windows_names, "/admin."), (windows_names, "/admin%20"),
])  # fmt: skip
def test_each_of_these_would_lead_elsewhere_if_nothing_were_refused(reading: Reading, path: str) -> None:
    site = SITES["mostly open"]
    segments = reading(path)
    assert segments is not None
    reached = slowly(site, "GET", segments)
    ours = slowly(site, "GET", [_decoded(part) for part in path[1:].split("/")])
    assert isinstance(reached, Operation)
    assert isinstance(ours, Operation)
    assert reached.needs != ours.needs
