"""Bytes in pieces, as networks deliver them."""

from __future__ import annotations

from hypothesis import strategies as st

#: Where to cut; positions beyond the end cut nothing.
splits = st.lists(st.integers(0, 400), max_size=12)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at ``cuts``; where there are twelve of them, into single bytes."""
    if len(cuts) == 12:
        return [bytes([byte]) for byte in data]
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return [piece for start, end in zip([0, *ends], ends, strict=False) if (piece := data[start:end])]
