"""What is accepted of upstreams' servers, without a network: two ends that talk through memory."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from keystile.wire.certificates import self_signed
from keystile.wire.client_context import ATTEMPT, MOST_SESSIONS, Attempt, ClientContext, client_context

NAME = "api.internal"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server for ``NAME`` that knows TLS 1.2 only (so that a session is there with the handshake), and its CA."""
    certificate, key = self_signed([NAME], 5)
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context, file


def shaken(context: ClientContext, server: ssl.SSLContext, name: str = NAME) -> ssl.SSLObject:
    """The client's end of a handshake that was done. Raises ``ssl.SSLError``."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(back, there, server_hostname=name)
    theirs = server.wrap_bio(there, back, server_side=True)
    for _ in range(5):
        for end in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    ours.do_handshake()
    return ours


def test_a_session_is_offered_to_the_server_that_gave_it_and_to_no_other(server: tuple[ssl.SSLContext, Path]) -> None:
    listening, ca = server
    context, one = client_context(ca=ca), (NAME, "127.0.0.1", 1)
    context.remember(one, shaken(context, listening))
    for asked, resumed in ((one, True), ((NAME, "127.0.0.1", 2), False)):
        mine = ATTEMPT.set(attempt := Attempt(asked))
        assert shaken(context, listening).session_reused is resumed
        assert attempt.reached
        ATTEMPT.reset(mine)
    context.forget(one)
    mine = ATTEMPT.set(Attempt(one))
    assert not shaken(context, listening).session_reused
    ATTEMPT.reset(mine)


def test_the_sessions_that_are_kept_are_bounded(server: tuple[ssl.SSLContext, Path]) -> None:
    listening, ca = server
    context = client_context(ca=ca)
    made = shaken(context, listening)
    for port in range(MOST_SESSIONS + 5):
        context.remember((NAME, "127.0.0.1", port), made)
    assert len(context._sessions) == MOST_SESSIONS
    assert (NAME, "127.0.0.1", 4) not in context._sessions


def test_who_is_believed(server: tuple[ssl.SSLContext, Path]) -> None:
    listening, ca = server
    for context, name in ((client_context(), NAME), (client_context(ca=ca), "other.internal")):
        with pytest.raises(ssl.SSLCertVerificationError):
            shaken(context, listening, name)
    with pytest.raises(ssl.SSLError):
        shaken(client_context(ca=ca, minimum_version="1.3"), listening)
    assert shaken(client_context(verify=False), listening, "other.internal").version() == "TLSv1.2"


def test_files_that_cannot_be_used_are_errors(server: tuple[ssl.SSLContext, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    bad: tuple[dict[str, Path], ...] = (
        {"ca": tmp_path / "none.pem"},
        {"ca": tmp_path / "empty.pem"},
        {"certificate": tmp_path / "empty.pem"},
        {"certificate": server[1], "private_key": tmp_path / "none.pem"},
    )
    for how in bad:
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError among them; what it says is OpenSSL's
            client_context(**how)  # type: ignore[arg-type]  # paths all, to names that are for paths
