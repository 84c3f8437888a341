from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.config import units

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("600s", 600.0), ("1.5m", 90.0), ("1h", 3600.0), ("365d", 31_536_000.0), ("5m", 300.0)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    ["10 parsecs", "10", 10, "", "s", "-1s", "+1s", "1_0s", "٣s", "1e3s", "infs", "nans", "1s ", " 1s", "1 s",
     "10S", ".5s", "5.s", "9" * 5000 + "s", True, None, [], {}],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_what_would_be_right(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number with ms, s, m, h or d, such as 600s"):
        units.duration(value)


def test_no_time_at_all_is_a_duration_only_where_it_means_something() -> None:
    assert units.duration_or_zero("0s") == 0.0
    with pytest.raises(ValueError, match="no time at all"):
        units.duration("0ms")


def test_a_duration_of_more_than_a_year_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 365d"):
        units.duration("366d")


@given(st.integers(1, 86_400_000))
def test_milliseconds_are_exact(number: int) -> None:
    assert units.duration(f"{number}ms") == number / 1000


@pytest.mark.parametrize(
    ("value", "size"), [("32KiB", 32768), ("25MiB", 26_214_400), ("1GiB", 2**30), ("7B", 7), (4096, 4096), ("0B", 0)]
)
def test_a_size_is_bytes(value: object, size: int) -> None:
    assert units.size(value) == size


@pytest.mark.parametrize("value", ["32KB", "32k", "1.5MiB", "-1B", "0x10", "", "٣B", True, None, [], "9" * 5000 + "B"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.size(value)


def test_a_size_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        units.size(-1)


@pytest.mark.parametrize("value", [None, "none"])
def test_none_is_no_bound_on_a_size(value: object) -> None:
    assert units.size_or_none(value) is None


@pytest.mark.parametrize("value", [0, "0MiB", "None", "off"])
def test_a_bound_that_nobody_means_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"would refuse every body|is not a size"):
        units.size_or_none(value)


def test_a_size_out_of_its_bounds_names_them() -> None:
    read = units.size_between(10, 20, "from 10B to 20B")
    assert [read(10), read("20B")] == [10, 20]
    with pytest.raises(ValueError, match="from 10B to 20B"):
        read(21)


@pytest.mark.parametrize("value", [0, 10_001, "20", True, None, -5])
def test_a_whole_number_out_of_bounds_or_in_quotes_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 1 to 10000"):
        units.whole(1, 10_000)(value)


@pytest.mark.parametrize(("value", "seconds"), [(600, 600), ("10m", 600), ("0s", 0), (0, 0), ("1d", 86400)])
def test_whole_seconds_may_be_a_number_or_a_duration(value: object, seconds: int) -> None:
    assert units.whole_seconds(value) == seconds


@pytest.mark.parametrize("value", [-1, "250ms", "2d", 86401, 10**18])
def test_parts_of_seconds_and_long_times_are_no_whole_seconds(value: object) -> None:
    with pytest.raises(ValueError, match="whole seconds"):
        units.whole_seconds(value)


def test_auto_is_a_worker_for_each_core() -> None:
    assert 1 <= units.workers("auto") <= units.MOST_WORKERS
    assert [units.workers(1), units.workers(64)] == [1, 64]


@pytest.mark.parametrize("value", [0, 65, "2", "Auto", None, True])
def test_other_numbers_of_workers_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="write auto, or a whole number from 1 to 64"):
        units.workers(value)


@pytest.mark.parametrize(
    ("value", "rate"), [("512B/s", 512.0), ("16KiB/s", 16384.0), ("1MiB/s", 1048576.0), ("none", None), (None, None)]
)
def test_a_rate_is_a_size_for_each_second(value: object, rate: float | None) -> None:
    assert units.rate_or_none(value) == rate


@pytest.mark.parametrize(
    "value",
    ["512B", "512", "512/s", 512, "B/s", "/s", "0B/s", "-1B/s", "1.5KiB/s", "512B/m", "512 B/s", "512b/s", "off"],
)
def test_other_texts_are_no_rates(value: object) -> None:
    with pytest.raises(ValueError, match="is not a rate; write a size for each second, such as 512B/s, or none"):
        units.rate_or_none(value)


@pytest.mark.parametrize(
    ("value", "lag"), [("5ms", 0.005), ("50ms", 0.05), ("10s", 10.0), ("none", None), (None, None)]
)
def test_a_lag_is_a_short_duration_or_none(value: object, lag: float | None) -> None:
    assert units.lag_or_none(value) == lag


@pytest.mark.parametrize("value", ["4ms", "10001ms", "11s", "1h"])
def test_lags_that_say_nothing_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is out of range; write from 5ms to 10s, or none"):
        units.lag_or_none(value)


@pytest.mark.parametrize("value", ["50", 50, "off", "", "-5ms", True, "0ms"])
def test_other_texts_are_no_lags(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write such as 50ms, or none"):
        units.lag_or_none(value)


@pytest.mark.parametrize(
    ("value", "size"), [("128MiB", 128 << 20), ("1TiB", 1 << 40), (1 << 30, 1 << 30), ("none", None), (None, None)]
)
def test_a_memory_is_a_size_or_none(value: object, size: int | None) -> None:
    assert units.memory_or_none(value) == size


@pytest.mark.parametrize("value", ["127MiB", (128 << 20) - 1, "2TiB", 0])
def test_memories_that_no_relay_could_live_with_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is out of range; write from 128MiB to 1TiB, or none"):
        units.memory_or_none(value)


@pytest.mark.parametrize("value", ["1 GiB", "1GB", "off", "-1MiB", True, 1.5])
def test_other_texts_are_no_memories(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write a whole number with B, KiB, MiB or GiB, or none"):
        units.memory_or_none(value)


def test_connections_are_as_many_as_written_or_as_fit() -> None:
    assert [units.connections(value) for value in ("auto", 1, 1_000_000)] == [None, 1, 1_000_000]


@pytest.mark.parametrize("value", [0, -1, 1_000_001, "5", "none", None, True, 1.0])
def test_other_numbers_of_connections_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="write auto, or a whole number from 1 to 1000000"):
        units.connections(value)


@pytest.mark.parametrize("value", ["true", "yes", 1, None])
def test_only_true_and_false_are_flags(value: object) -> None:
    with pytest.raises(ValueError, match="write true or false"):
        units.flag(value)


@pytest.mark.parametrize("value", ["", "a\nb", "\x00", "\ud800", 5, True, None, [], {}])
def test_only_printable_text_is_text(value: object) -> None:
    with pytest.raises(ValueError, match=r"is empty|is no text|cannot be printed"):
        units.text(value)


READERS = [
    units.text, units.flag, units.duration, units.duration_or_zero, units.whole_seconds, units.size,
    units.size_or_none, units.whole(1, 5), units.workers, units.rate_or_none, units.connections,
    units.lag_or_none, units.memory_or_none,
]  # fmt: skip


@given(ANYTHING)
def test_a_value_is_read_or_refused_and_never_repeated(value: object) -> None:
    for read in READERS:
        try:
            read(value)
        except ValueError as error:
            said = str(error)
        else:
            continue
        assert not (isinstance(value, str) and len(value) > 20 and value in said)


@given(st.from_regex(units.DURATION, fullmatch=True))
def test_what_the_schema_takes_for_a_duration_is_one_but_for_its_bounds(text: str) -> None:
    try:
        seconds = units.duration_or_zero(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert 0 <= seconds <= units.LONGEST
    assert not said or "too long" in said


@pytest.mark.parametrize(("value", "share"), [("1%", 0.01), ("50%", 0.5), ("100%", 1.0)])
def test_a_share(value: object, share: float) -> None:
    assert units.share(value) == units.share_or_none(value) == share


@pytest.mark.parametrize("value", ["0%", "101%", "5.5%", "%", "1 %", "50", 0.5, 1, None, True, "٣%"])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        units.share(value)


def test_a_share_of_nothing_has_a_meaning_where_it_is_said_so() -> None:
    assert units.share_or_none("0%") == 0.0


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("200-399", ((200, 399),)),
        ("200-299, 304", ((200, 299), (304, 304))),
        ("204", ((204, 204),)),
        (204, ((204, 204),)),
    ],
)
def test_ranges_of_statuses(value: object, ranges: tuple[tuple[int, int], ...]) -> None:
    assert units.statuses(value) == ranges


@pytest.mark.parametrize("value", ["", "2xx", "399-200", "200-", "-200", "99", "600", "200,,300", 20, None, True, 2.5])
def test_what_is_no_range_of_statuses_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no range of statuses"):
        units.statuses(value)


@pytest.mark.parametrize(("value", "most"), [(None, None), ("none", None), (1, 1), (1_000_000, 1_000_000)])
def test_a_bound_on_requests_in_flight(value: object, most: int | None) -> None:
    assert units.most_in_flight(value) == most


@pytest.mark.parametrize("value", [0, -1, True, "5", 1_000_001, 2.0, "auto"])
def test_what_is_no_bound_on_requests_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number of requests"):
        units.most_in_flight(value)
