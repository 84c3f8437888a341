"""What can be wrong with bytes: every fault has one refusal, and an error says nothing of what was sent."""

from __future__ import annotations

import pytest

from keystile.relay.refusal import of_fault
from keystile.wire.answer_head import read_answer_head
from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import ChunkedReader
from keystile.wire.request_head import RequestHeadReader, origin_form


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_every_fault_is_refused_with_a_status_for_the_client(fault: Fault) -> None:
    assert of_fault(fault).status in (400, 408, 413, 414, 417, 431, 501, 505)


def test_an_error_carries_its_fault_and_a_sentence() -> None:
    error = WireError(Fault.BAD_HOST, "The Host field is not well-formed.")
    assert (error.fault, error.detail, str(error)) == (Fault.BAD_HOST, error.detail, error.detail)


SECRET = b"0123456789ABCDEF" * 6


@pytest.mark.parametrize(
    "block",
    [
        b"1\r\nHost: a\r\nX-Api-Key%b\r\n\r\n",
        b"1\r\nHost: a\r\nX-Api-Key : %b\r\n\r\n",
        b"1\r\nHost: %b@\r\n\r\n",
        b"1\r\nHost: a\r\nContent-Length: %b\r\n\r\n",
        b"1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n",
        b"1\r\nHost: a\r\nExpect: %b\r\n\r\n",
        b"1\r\nHost: a\r\nX: a\r\n %b\r\n\r\n",
        b"1\r\nHost: a\r\nX: \x00%b\r\n\r\n",
        b"1\r\nHost: a\r\n%b : x\r\n\r\n",
    ],
)
def test_no_error_repeats_what_was_sent(block: bytes) -> None:
    with pytest.raises(WireError) as raised:
        RequestHeadReader(withheld=["X-Api-Key"]).read(block % SECRET)
    assert SECRET.decode() not in f"{raised.value!r} {raised.value} {raised.value.detail}"


def test_no_other_reader_repeats_what_was_sent() -> None:
    for read in (
        lambda: read_answer_head(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % SECRET, to_head=False),
        lambda: ChunkedReader().feed(b"+%b\r\n" % SECRET),
        lambda: origin_form(b"http://%b/" % SECRET, b"a"),
    ):
        with pytest.raises(WireError) as raised:
            read()
        assert SECRET.decode() not in f"{raised.value!r} {raised.value} {raised.value.detail}"
