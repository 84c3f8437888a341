"""Planted faults: every family has one, each still applies to the source, and some are looked for on every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import caller_attacks, client_attacks, upstream_attacks
from tests.wire.caller_attacks import CALLERS
from tests.wire.client_attacks import ATTACKS
from tests.wire.planted import __main__ as command
from tests.wire.planted import plant
from tests.wire.planted.faults import FAULTS, Planted
from tests.wire.planted.plant import DoesNotApply, edited, look_for
from tests.wire.upstream_attacks import ENDED_ANYWHERE, IDLE_BYTES, MISANSWERS
from tests.wire.websocket_attacks import HANDSHAKES

pytestmark = pytest.mark.source_only("it plants faults in copies of the source")

#: What an attack suite has to have, in the words of those who asked for it → the families in which it stands.
ASKED_FOR = {
    "CL.TE": ["CL.TE"],
    "TE.CL": ["TE.CL"],
    "TE.TE": ["TE.TE"],
    "CL.CL": ["CL.CL"],
    "TE.0": ["TE.0"],
    "chunk sizes (sign, 0x, spaces, overflow, missing CRLF, extensions, bare LF)": ["chunk sizes"],
    "obs-fold": ["obs-fold"],
    "bare CR/LF/NUL and other control bytes in each part of a head": ["control bytes"],
    "whitespace before the colon and around names": ["white space and names"],
    "empty and underscore names": ["empty names", "underscores"],
    "non-token methods": ["methods"],
    "duplicate Host": ["duplicate Host", "Host"],
    "Host against absolute form": ["absolute form"],
    "authority and asterisk form": ["authority and asterisk form"],
    "CONNECT": ["CONNECT"],
    "TRACE": ["TRACE"],
    "HTTP/0.9": ["HTTP/0.9"],
    "2.0 preface": ["HTTP/2 preface"],
    "bad versions": ["versions"],
    "Connection naming end-to-end fields or the key": ["Connection"],
    "Upgrade smuggling (h2c, fake websocket)": ["Upgrade"],
    "Expect variants": ["Expect"],
    "trailers with framing or identity fields": ["trailers"],
    "oversized everything": ["oversized"],
    "10,000 tiny fields": ["10,000 fields"],
    "pipelined good-bad-good": ["good-bad-good"],
    "requests after an error": ["after an error"],
    "from the upstream: two framings": ["two framings"],
    "101 nobody asked for": ["101"],
    "200 taken for 101": ["200 for 101"],
    "1xx floods": ["1xx"],
    "truncated and over-long bodies": ["truncated", "over-long"],
    "bytes on an idle pooled connection": ["bytes on an idle connection"],
    "reset at every byte": ["ended at every byte"],
    "invalid status lines": ["status lines"],
    "splitting through reflected fields": ["splitting"],
    "fake websockets, both ways": ["WebSocket"],
    "PROXY protocol: LOCAL, TLVs, truncation, spoof from an untrusted peer": ["PROXY"],
    "X-Forwarded-For: several lines, ports, brackets, IPv4-mapped, garbage": ["X-Forwarded-For"],
    "Forwarded": ["Forwarded"],
}
ROWS: dict[str, int] = {
    **{family: sum(row.family == family for row in ATTACKS) for family in client_attacks.FAMILIES},
    **{family: sum(row.family == family for row in MISANSWERS) for family in upstream_attacks.FAMILIES},
    "bytes on an idle connection": len(IDLE_BYTES),
    "ended at every byte": 2 * len(ENDED_ANYWHERE),
    "WebSocket": len(HANDSHAKES),
    **{family: sum(row.family == family for row in CALLERS) for family in caller_attacks.FAMILIES},
}


@pytest.mark.parametrize("words", ASKED_FOR)
def test_what_was_asked_for_is_in_the_suite_five_times_and_has_a_planted_fault(words: str) -> None:
    for family in ASKED_FOR[words]:
        assert ROWS[family] >= 5
        assert any(fault.family == family for fault in FAULTS)


def test_every_family_has_a_planted_fault_and_every_fault_a_family() -> None:
    assert {fault.family for fault in FAULTS} == set(ROWS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.family}: {fault.why}")
def test_a_planted_fault_applies_to_the_source_as_it_is(fault: Planted) -> None:
    for name, text in edited(fault).items():
        compile(text, name, "exec")


@pytest.mark.parametrize("family", ["TE.CL", "HTTP/0.9", "splitting", "PROXY", "Forwarded"])
def test_a_familys_own_rows_notice_its_fault(family: str) -> None:
    for fault in FAULTS:
        if fault.family == family:
            found = look_for(fault)
            assert found.row is not None, found.said
            assert found.rows >= 5


def test_a_fault_that_does_not_apply_any_more_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Planted("TE.CL", "the source has changed", (("wire/framing.py", "this stands nowhere", ""),))
    with pytest.raises(DoesNotApply, match=r"TE\.CL: wire/framing\.py has 0 times: this stands nowhere"):
        edited(gone)
    monkeypatch.setattr(command, "FAULTS", (gone,))
    monkeypatch.setattr(command, "_clean", lambda family: "")
    assert command.main([]) == 1
    assert "WRONG: TE.CL: wire/framing.py" in capsys.readouterr().out


def test_rows_that_come_to_no_end_are_said_and_the_next_family_has_its_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plant, "PATIENCE", 0.01)
    monkeypatch.setattr(command, "FAULTS", tuple(fault for fault in FAULTS if fault.family in ("TRACE", "CONNECT")))
    monkeypatch.setattr(command, "_clean", lambda family: "")
    assert command.main([]) == 1
    said = capsys.readouterr().out
    for family in ("TRACE", "CONNECT"):
        assert f"WRONG: {family}: nobody noticed" in said
    assert "not over after 0.01 s" in said


def test_a_fault_that_nobody_notices_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harmless = Planted("splitting", "nothing at all", (("wire/framing.py", "Law: sizes", "Law:  sizes"),))
    monkeypatch.setattr(command, "FAULTS", (harmless,))
    monkeypatch.setattr(command, "_clean", lambda family: "")
    assert command.main([]) == 1
    assert "WRONG: splitting: nobody noticed: nothing at all" in capsys.readouterr().out
