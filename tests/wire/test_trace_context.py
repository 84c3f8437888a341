"""W3C Trace Context, section by section: https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.wire.trace_context import NONE, TRACEPARENT, TRACESTATE, TraceContext, is_valid, trace_context

TRACE, PARENT = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
GOOD = b"00-%b-%b-01" % (TRACE, PARENT)


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        b"00-%b-%b-00" % (TRACE, PARENT),
        b"00-%b-%b-ff" % (TRACE, PARENT),
        b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-00",
        b"01-%b-%b-01" % (TRACE, PARENT),
        b"cc-%b-%b-01-what-the-future-will-be-like" % (TRACE, PARENT),
        b"01-%b-%b-01-" % (TRACE, PARENT),
    ],
)
def test_what_names_a_trace_is_taken(value: bytes) -> None:
    assert is_valid(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        GOOD.upper(),
        GOOD.replace(b"a", b"A"),
        b"00-" + b"0" * 32 + b"-%b-01" % PARENT,
        b"00-%b-" % TRACE + b"0" * 16 + b"-01",
        b"ff-%b-%b-01" % (TRACE, PARENT),
        b"0-%b-%b-01" % (TRACE, PARENT),
        b"000-%b-%b-01" % (TRACE, PARENT),
        b"00-%b-%b-1" % (TRACE, PARENT),
        b"00-%b-%b-001" % (TRACE, PARENT),
        b"00-%b-%b" % (TRACE, PARENT),
        b"00-%b-%b-" % (TRACE, PARENT),
        GOOD + b"-",
        GOOD + b"-more",
        b"01-%b-%b-01.more" % (TRACE, PARENT),
        b"01-%b-%b-011" % (TRACE, PARENT),
        b"cc-%b-%b-01-\xff" % (TRACE, PARENT),
        b"00_%b_%b_01" % (TRACE, PARENT),
        b"00-%b-%b-01" % (TRACE[:-1], PARENT),
        b"00-%b-%b-01" % (TRACE + b"0", PARENT),
        b"00-%b-%b-01" % (TRACE, PARENT + b"0"),
        b"00-%b-%b-0g" % (TRACE, PARENT),
        GOOD + b", " + GOOD,
        b" " + GOOD,
    ],
)
def test_anything_else_names_none(value: bytes) -> None:
    assert not is_valid(value)


def test_state_belongs_to_a_parent() -> None:
    states = [(TRACESTATE, b"a=1"), (TRACESTATE, b" b=2,c=3 ")]
    for fields in ([(TRACEPARENT, b" " + GOOD), *states], [states[0], (TRACEPARENT, GOOD), states[1]]):
        context = trace_context(fields)
        assert (context.traceparent, context.tracestate) == (GOOD, b"a=1,b=2,c=3")
    assert trace_context(states) is NONE
    assert trace_context([(TRACEPARENT, GOOD.upper()), *states]) is NONE


def test_two_parents_are_none() -> None:
    assert trace_context([(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]) is NONE


def test_its_parts() -> None:
    context = TraceContext(GOOD)
    assert (context.trace_id, context.parent_id, context.is_sampled) == (TRACE, PARENT, True)
    assert not TraceContext(GOOD[:-2] + b"02").is_sampled
    assert (NONE.trace_id, NONE.parent_id, NONE.is_sampled) == (b"", b"", False)


NEARLY = st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True)


@given(st.binary(max_size=60) | NEARLY)
def test_no_value_makes_it_fail(value: bytes) -> None:
    context = trace_context([(TRACEPARENT, value)])
    assert context is NONE or len(context.trace_id) == 32


#: The grammar of version 00 (section 3.2.2), written down once more.
VERSION_00 = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
PIECES = st.sampled_from([b"0", b"a", b"f", b"A", b"g", b"-", b"\n", b"0" * 32, b"0" * 16, TRACE, PARENT, b"00-"])


@given(st.lists(PIECES, max_size=9).map(b"".join) | NEARLY | st.binary(min_size=55, max_size=55))
def test_what_is_told_by_its_digits_is_what_the_grammar_says(value: bytes) -> None:
    for each in (value, b"00" + value[2:], (b"00-" + value + GOOD)[:55]):
        if each.startswith(b"00"):
            assert is_valid(each) is (VERSION_00(each) is not None)


@given(st.integers(0, 54), st.binary(min_size=1, max_size=1))
def test_a_changed_byte_is_seen(at: int, byte: bytes) -> None:
    changed = GOOD[:at] + byte + GOOD[at + 1 :]
    if changed.startswith(b"00"):
        assert is_valid(changed) is (VERSION_00(changed) is not None)
