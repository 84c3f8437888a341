"""The path rules: which paths are refused outright, and in which other ways a path can be read.

Law: this file knows bytes of a path and how servers disagree about them; it knows no routes, no keys and
no requests. It keeps bytes, not text, because it stands on the way of every request. Nothing here repairs
a path: it is forwarded as it came or refused.

A path is the raw request target without its query, such as ``b"/v4/contacts/a%40b.example"``. *Segments* are
what stands between its slashes, decoded once, without an empty one in front: ``(b"v4", b"contacts", …)``;
``b"/"`` has one empty segment, and a trailing slash makes an empty last one.
Sources: RFC 3986 sections 2.1, 3.3 and 6.2.2; https://owasp.org/www-community/attacks/Path_Traversal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

Segments = tuple[bytes, ...]

# Printable ASCII without the space and without  # % / ; ? \
_PLAIN_BYTE: Final = rb"[!\"$&-.0-:<->@-\[\]-~]"
# A segment that ends in a dot is not plain: it is a dot segment, or a name that Windows reads without the dot.
_PLAIN: Final = re.compile(rb"/|(?:/" + _PLAIN_BYTE + rb"++(?<!\.))++/?").fullmatch
# What escapes stand for that leave nothing to disagree on once they are decoded: bytes that would be plain, but dots.
_PLAINLY_ESCAPED: Final = {
    digits: bytes([number])
    for number in range(0x21, 0x7F)
    if number not in b"#%./;?\\"
    for digits in {b"%02X" % number, b"%02x" % number, b"%X%x" % divmod(number, 16), b"%x%X" % divmod(number, 16)}
}
_NEVER_RAW: Final = re.compile(rb"[^!\"$->@-\[\]-~]")  # not printable ASCII, or one of # ? \
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NEVER_DECODED: Final = re.compile(rb"[\x00-\x1f\x7f\\]")
# Spaces beside the dots count too: some file systems drop them.
_DOT_SEGMENT: Final = re.compile(rb"/ *\.\.? *(?:[;/]|\Z)")
# Escapes of / % ; ? # and of anything beyond ASCII, a bare semicolon, and a dot or space that ends a segment: only
# these can be read in two ways.
_READ_IN_TWO_WAYS: Final = re.compile(rb"%(?:2[35Ff]|3[BbFf]|[89A-Fa-f])|;|(?:\.|%2[0Ee])(?:/|\Z)")
_LAST_DOT_OR_SPACE: Final = re.compile(rb"[. ](?:/|\Z)")

# Each reading is looked up in the route table, so their number bounds what one request can cost. A name with
# every special character at once has about twenty; only nested escapes (%252525…) have more.
MOST_READINGS: Final = 32
_DOT: Final = ord(".")
# Numbers: bytes look for bytes in them by way of an exception, which takes ten times as long.
_HASH, _PERCENT, _SEMICOLON, _QUESTION_MARK = b"#%;?"


class BadPath(ValueError):
    """A path that is refused whatever routes exist; ``reason`` holds nothing of it and may be shown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_plain(path: bytes) -> bool:
    """Whether there is only one way to read this path, so that splitting it is all that it takes."""
    return _PLAIN(path) is not None


def decoded(path: bytes) -> bytes | None:
    """A path that is plain but for escapes of bytes that would be plain too, decoded; None for any other.

    Of such a one there is one reading as well, and whether it is decoded before it is split is all the same. Clients
    escape the @ of addresses.
    """
    pieces = path.split(b"%")
    try:
        plain = pieces[0] + b"".join([_PLAINLY_ESCAPED[piece[:2]] + piece[2:] for piece in pieces[1:]])
    except KeyError:
        return None
    return plain if is_plain(plain) else None


def segments(path: bytes) -> Segments:
    """The segments of a path, decoded once; raises ``BadPath`` for what is always refused."""
    _check_raw(path)
    return _checked(_decode(path[1:].split(b"/")))


def readings(path: bytes) -> tuple[Segments, ...]:
    """Every way in which a server may read this path; the first is ours (``segments``). Raises ``BadPath``.

    Servers decode before they split or afterwards, once or several times, cut ``;parameters`` from a segment
    or everything behind the first, start a query at a decoded ``?``, drop dots and spaces that end a name, or
    normalise unicode; and they do these in any order. So the moves are applied to each other's results until nothing
    new comes up.
    """
    first = segments(path)
    if _READ_IN_TWO_WAYS.search(path) is None:
        return (first,)
    found = dict.fromkeys([first])
    if _SEMICOLON in path:
        # Tomcat and Spring cut before they decode; afterwards an escaped semicolon would look the same.
        raw = tuple(path[1:].split(b"/"))
        found.update(dict.fromkeys(_checked(_decode(cut(raw))) for cut in (_cut_parameters, _cut_tail)))
    waiting = list(found)
    while waiting:
        for other in _moved(waiting.pop()):
            if other not in found:
                if len(found) == MOST_READINGS:
                    raise BadPath("the path is escaped in too many layers")
                found[_checked(other)] = None
                waiting.append(other)
    return tuple(found)


def without_extension(segs: Segments) -> tuple[Segments, ...]:
    """The segments as servers read them that take ``/name.json`` for ``/name``, cut at each dot of the last name.

    Spring before 5.3 (``/name`` as ``/name.*``), Rails (``(.:format)``). Raises ``BadPath`` for more dots than a name
    has, since each reading costs a look-up.
    """
    at = len(segs) - 1 if segs[-1] or len(segs) == 1 else len(segs) - 2
    name = segs[at]
    dots = [index for index, byte in enumerate(name) if byte == _DOT and index]
    if len(dots) > MOST_READINGS:
        raise BadPath("the path has a name with too many dots")
    return tuple((*segs[:at], name[:index], *segs[at + 1 :]) for index in dots)


def fold(segs: Segments) -> Segments:
    """The segments as a server reads them that ignores case, in unicode too (K, ſ and ı are k, s and i)."""
    folded = b"/".join(segs)
    if folded.isascii():
        return tuple(segment.lower() for segment in segs)
    return tuple(segment.decode().upper().casefold().encode() for segment in segs)


def _check_raw(path: bytes) -> None:
    if path[:1] != b"/":
        raise BadPath("the path does not begin with a slash")
    if _NEVER_RAW.search(path):
        raise BadPath("the path holds a byte that does not belong in one")
    if _PERCENT in path and _BROKEN_ESCAPE.search(path):
        raise BadPath("the path holds an incomplete escape")


def _checked(segs: Segments) -> Segments:
    """The same segments; raises ``BadPath`` where they hold what may not be there in any reading."""
    text = b"/" + b"/".join(segs)
    if _NEVER_DECODED.search(text):
        raise BadPath("the path holds an escaped control byte or backslash")
    if _DOT_SEGMENT.search(text):
        raise BadPath("the path holds a dot segment")
    if text.find(b"//") >= 0:
        raise BadPath("the path holds an empty segment")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            # Overlong forms such as %c0%af are a slash to some decoders; others drop what they cannot decode.
            raise BadPath("the path holds escapes that are not UTF-8") from None
    return segs


def _moved(segs: Segments) -> Iterator[Segments]:
    """What each of the moves that can change anything makes of the segments."""
    text = b"/".join(segs)
    if _PERCENT in text:
        yield _decode(segs)
    if text.count(b"/") >= len(segs):
        yield tuple(text.split(b"/"))
    if _SEMICOLON in text:
        yield _cut_parameters(segs)
        yield _cut_tail(segs)
    if _QUESTION_MARK in text or _HASH in text:
        yield _cut_query(segs)
    if _LAST_DOT_OR_SPACE.search(text):
        yield _cut_ends(segs)
    if not text.isascii():
        yield _compose(segs)


def _decode(segs: Sequence[bytes]) -> Segments:
    # What is no escape stays as it is: after the first time, a name such as "100%" is no fault.
    return tuple([unquote_to_bytes(segment) if _PERCENT in segment else segment for segment in segs])


def _cut_parameters(segs: Segments) -> Segments:
    return tuple(segment.partition(b";")[0] for segment in segs)


def _cut_tail(segs: Segments) -> Segments:
    return _cut_at(segs, re.compile(rb";"))


def _cut_ends(segs: Segments) -> Segments:
    # https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file#naming-conventions; "..." stays.
    return tuple(segment.rstrip(b". ") or segment for segment in segs)


def _cut_query(segs: Segments) -> Segments:
    return _cut_at(segs, re.compile(rb"[?#]"))


def _cut_at(segs: Segments, mark: re.Pattern[bytes]) -> Segments:
    """What stands before the first mark in any segment."""
    for index, segment in enumerate(segs):
        if found := mark.search(segment):
            return (*segs[:index], segment[: found.start()])
    return segs


def _compose(segs: Segments) -> Segments:
    # Full-width forms: U+FF0F is a slash, U+2025 two dots, to whoever normalises to NFKC.
    return tuple(unicodedata.normalize("NFKC", segment.decode()).encode() for segment in segs)
