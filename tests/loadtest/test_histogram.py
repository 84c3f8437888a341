from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest import histogram

DURATIONS = st.floats(0, histogram.LONGEST, allow_nan=False)


@given(DURATIONS)
def test_a_bucket_is_never_shorter_than_what_falls_into_it_and_hardly_longer(seconds: float) -> None:
    told = histogram.highest(histogram.bucket(seconds))

    assert seconds - 1e-9 <= told <= seconds * 1.0157 + 1e-6


@given(DURATIONS, DURATIONS)
def test_what_takes_longer_has_no_smaller_bucket(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert histogram.bucket(shorter) <= histogram.bucket(longer)


@given(st.lists(DURATIONS, min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_the_one_of_the_sorted_list(durations: list[float], share: float) -> None:
    counts: histogram.Counts = {}
    for each in durations:
        histogram.add(counts, each)
    found = histogram.percentile(counts, share)
    at_most = sum(each <= (found or 0) + 1e-9 for each in durations)

    assert found is not None
    assert at_most >= len(durations) * share - 1e-6
    shorter = [each for each in counts if histogram.highest(each) < found]
    assert sum(counts[each] for each in shorter) < len(durations) * share


@given(st.lists(st.dictionaries(st.integers(0, 2000), st.integers(1, 9))))
def test_sums_lose_nothing(sums: list[dict[int, int]]) -> None:
    assert sum(histogram.total(sums).values()) == sum(sum(each.values()) for each in sums)


def test_without_requests_there_is_no_percentile() -> None:
    assert histogram.percentile({}, 0.99) is None


def test_a_clock_that_goes_back_counts_as_nothing_and_a_day_as_the_longest() -> None:
    assert histogram.bucket(-1) == 0
    assert histogram.highest(histogram.bucket(86400)) >= histogram.LONGEST
