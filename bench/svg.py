"""Pictures as text: a card of SVG that reads well on a light and on a dark page, and the few shapes that a plot needs.

Law: knows shapes, words and colours, nothing of what they show. Colours are classes, so that one picture holds both
themes; the card brings its own ground, so a viewer that goes by neither still shows a whole one. Lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

WIDTH = 1200
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Helvetica, Arial, sans-serif"

# Class -> colour on a light and on a dark ground.
COLOURS: Mapping[str, tuple[str, str]] = {
    "ground": ("#ffffff", "#10161f"),
    "edge": ("#d9dfe7", "#2b3543"),
    "word": ("#1b2430", "#e6edf5"),
    "soft": ("#667180", "#8d9aab"),
    "rail": ("#eef1f5", "#18212d"),
    "mark": ("#8793a3", "#7b899b"),
    "ours": ("#2458e6", "#6c9bff"),
    "ours-pale": ("#9db7f7", "#34508f"),
    "measure": ("#3f4b5c", "#b9c6d6"),
    "measure-pale": ("#a9b4c3", "#5f6d80"),
    "other": ("#8f9bab", "#74818f"),
    "other-pale": ("#cfd6df", "#3f4a58"),
}


class Card:
    """A picture that grows downwards; ``text`` and the others take the place of their left or middle."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        kind: str = "word",
        size: float = 13,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Words on the baseline ``y``; ``anchor``: start, middle or end at ``x``."""
        weight = ' font-weight="600"' if bold else ""
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" font-size="{size:g}"{at}{weight}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> None:
        """A filled rectangle."""
        at = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"'
        corners = f' rx="{radius:g}"' if radius else ""
        self._parts.append(f'<rect {at} class="{kind}"{corners}/>')

    def line(self, x: float, y: float, x2: float, y2: float, kind: str, *, width: float = 1, dashes: str = "") -> None:
        """A straight line; ``dashes`` as in stroke-dasharray."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}-line" '
            f'stroke-width="{width:g}"{dashed}/>'
        )

    def dot(self, x: float, y: float, radius: float, kind: str, *, hollow: bool = False) -> None:
        """A disc, or a ring over the card's ground."""
        inside = f'class="ground {kind}-line" stroke-width="2.5"' if hollow else f'class="{kind}"'
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {inside}/>')

    def document(self, height: float, title: str) -> str:
        """The whole picture; ``title`` for those who do not see it."""
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label={quoteattr(title)}>\n'
            f"<title>{escape(title)}</title>\n<style>\n"
            f"text {{ font-family: {FONT}; font-variant-numeric: tabular-nums }}\n"
            f"{_rules(0)}\n@media (prefers-color-scheme: dark) {{\n{_rules(1)}\n}}\n</style>\n"
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="12" class="ground edge-line"/>\n'
            f"{body}\n</svg>\n"
        )


def _rules(theme: int) -> str:
    return "\n".join(
        f".{kind} {{ fill: {colours[theme]} }} .{kind}-line {{ stroke: {colours[theme]} }}"
        for kind, colours in COLOURS.items()
    )
