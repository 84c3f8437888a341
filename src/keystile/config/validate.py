"""From plain values to the typed document, and from pydantic's errors to faults.

Law: this file translates; every rule it tells of stands in ``document.py`` and what that uses.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError

from keystile.config.choices import NotYet
from keystile.config.document import TAGS, AnyRow, Document, OpenApiRow, PathRow, settings
from keystile.config.faults import Fault, shown_value
from keystile.config.section import Section, named, sections_in
from keystile.config.written import Written
from keystile.config.yamltext import Loc, path_of

_ROW: TypeAdapter[PathRow | OpenApiRow] = TypeAdapter(AnyRow)
_PLACES: dict[str, list[str]] = {}
for _path, _ in settings():
    _PLACES.setdefault(_path.rpartition(".")[2], []).append(_path)


def document(written: Written) -> tuple[Document | None, list[Fault]]:
    """The document, or None and every fault of single settings."""
    try:
        return Document.model_validate(written.root.plain()), []
    except ValidationError as error:
        return None, [_fault(written, one) for one in error.errors(include_url=False)]


def row(value: Any) -> PathRow | OpenApiRow | None:
    """One row by itself, for a document that has faults elsewhere; None if this row has one."""
    try:
        return _ROW.validate_python(value)
    except ValidationError:
        return None


def _fault(written: Written, error: Any) -> Fault:
    loc, kind = error["loc"], error["type"]
    place: Loc = tuple(step for step in loc if step not in TAGS and step != "[key]")
    if kind == "extra_forbidden":
        return written.fault(place, _unknown(loc))
    if kind == "missing":
        # Told at the line of the mapping that lacks it.
        return written.fault(place, _missing(loc))
    if kind == "value_error":
        cause = error["ctx"]["error"]
        fault = written.fault(place, str(cause), show=not isinstance(cause, NotYet))
        if loc[-1] == "[key]":
            return Fault(fault.file, fault.line, path_of(place[:-1]), shown_value(loc[-2]), fault.message)
        return fault
    return _of_another_type(written, place, error)


def _of_another_type(written: Written, place: Loc, error: Any) -> Fault:
    """A list, a mapping or neither where something else belongs."""
    kind = error["type"]
    if kind == "too_short":
        return written.fault(place, "is empty; write at least one")
    if error["input"] is None:
        return written.fault(place, "is empty; write something below it, or leave it out")
    if kind == "list_type":
        return written.fault(place, "is no list; write it as [ … ], or as lines that begin with -", show=True)
    if kind in ("model_type", "dict_type"):
        return written.fault(place, "is no mapping; write its settings as name: value", show=True)
    return written.fault(place, f"is wrong ({error['msg']})", show=True)


def _unknown(loc: Loc) -> str:
    """What to say of a name that is no setting: the nearest one, where it belongs, or all there are."""
    name, section = str(loc[-1]), _section_of(loc)
    known = list(named(section))
    if near := get_close_matches(name, known, n=1, cutoff=0.7):
        return f"is not a setting; did you mean {near[0]}?"
    elsewhere = [path for path in _PLACES.get(name, []) if "routes" not in path]
    if len(elsewhere) == 1:
        return f"is not a setting here; it stands at {elsewhere[0]}"
    if near := get_close_matches(name.lower(), known, n=1, cutoff=0.55):
        return f"is not a setting; did you mean {near[0]}?"
    return f"is not a setting; here stand {', '.join(known)}"


def _missing(loc: Loc) -> str:
    info = named(_section_of(loc))[str(loc[-1])]
    description = (info.description or "").partition(". ")[0].rstrip(".")
    return f"is missing: {description}"


def _section_of(loc: Loc) -> type[Section]:
    """The section whose field the last step of ``loc`` (with pydantic's tags) names."""
    section: type[Section] = Document
    is_name = False  # of something below a mapping, such as an upstream's: people may call it what a setting is called
    for step in loc[:-1]:
        if is_name:
            is_name = False
        elif isinstance(step, str) and (tagged := TAGS.get(step)):
            section = tagged
        elif isinstance(step, str) and step in section.model_fields:
            annotation = section.model_fields[step].annotation
            inner = sections_in(annotation)
            section = inner[0] if inner else section
            is_name = get_origin(annotation) is dict
    return section
