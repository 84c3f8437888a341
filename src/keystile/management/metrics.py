"""Metrics: numbers and names into the text that Prometheus reads, in either of its two forms.

Law: formatting only. Where numbers come from is the caller's, what they are called stands in ``families.py``.

Source: the Prometheus text exposition format 0.0.4, and OpenMetrics 1.0.0 for who asks for it: there a counter's
family has no ``_total``, units are named, and the text has an end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from keystile.management.families import HELP, HISTOGRAM_FAMILIES, HISTOGRAMS, place_of

PREFIX = "keystile_"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_UNITS: Final = ("seconds", "bytes")
_PARTS: Final = {
    f"{family}{part}": family for family in HISTOGRAM_FAMILIES for part in ("_bucket", "_sum", "_count")
}
Sample = tuple[str, str, float]
"""Name without prefix, labels as ``name="value"`` or empty, value. Samples of one family keep their order."""


def counter_samples(counters: Mapping[str, int], gauges: Collection[str]) -> list[Sample]:
    """The samples of all of the relays' counters; those of histograms come to cumulative buckets."""
    found: list[Sample] = []
    histograms: dict[str, list[tuple[str, int]]] = {}
    for name, value in counters.items():
        histogram, colon, bound = name.partition(":")
        if colon:
            histograms.setdefault(histogram, []).append((bound, value))
        else:
            place = place_of(name, is_gauge=name in gauges)
            found.append((place.family, f'{place.label}="{place.value}"' if place.label else "", value))
    for histogram, values in histograms.items():
        found += _buckets(HISTOGRAMS[histogram], values)
    return found


def _buckets(family: str, values: Sequence[tuple[str, int]]) -> list[Sample]:
    """A histogram's samples; ``values``: by bucket, and the sum in nanoseconds under ``sum``."""
    found: list[Sample] = []
    below = 0
    for bound, value in values:
        if bound == "sum":
            found += [(f"{family}_sum", "", value / 1e9), (f"{family}_count", "", below)]
        else:
            below += value
            found.append((f"{family}_bucket", f'le="{bound}"', below))
    return found


def escaped(text: str) -> str:
    """As a label's value (both formats)."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def labels(**texts: str) -> str:
    """Labels with these values."""
    return ",".join(f'{name}="{escaped(text)}"' for name, text in texts.items())


def wants_open_metrics(accept: str) -> bool:
    """Whether an Accept field names OpenMetrics 1.0.0 (or no version), and does not refuse it.

    Prometheus names it first, with the higher quality; who names both takes both.
    """
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        said = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind == "application/openmetrics-text" and said.get("version", "1.0.0") == "1.0.0":
            return said.get("q", "1").strip("0.") != ""
    return False


def exposition(samples: Iterable[Sample], *, open_metrics: bool = False) -> str:
    """The text: samples by family, each family with its type (``…_total`` is a counter, most others are gauges)."""
    lines: list[str] = []
    for family, members in groupby(sorted(samples, key=_family_of), key=_family_of):
        lines += _heading(family, open_metrics=open_metrics)
        lines += [
            f"{PREFIX}{name}{{{labelled}}} {_number(value)}" if labelled else f"{PREFIX}{name} {_number(value)}"
            for name, labelled, value in members
        ]
    if open_metrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """All of its digits, and no point where it is whole."""
    return str(int(value)) if value == int(value) else repr(value)


def _family_of(sample: Sample) -> str:
    return _PARTS.get(sample[0], sample[0])


def _heading(family: str, *, open_metrics: bool) -> list[str]:
    """What stands above a family's samples."""
    kind = "histogram" if family in HISTOGRAM_FAMILIES else "counter" if family.endswith("_total") else "gauge"
    name = PREFIX + (family.removesuffix("_total") if open_metrics else family)
    lines = [f"# TYPE {name} {kind}"]
    if open_metrics and name.endswith(_UNITS):
        lines.append(f"# UNIT {name} {name.rpartition('_')[2]}")
    if family in HELP:
        lines.insert(0, f"# HELP {name} {HELP[family]}")
    return lines
