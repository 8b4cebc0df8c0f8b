"""The curves as one SVG, by our dashboard's own plots: on a light and on a dark page, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from msgspec import Struct

from server.dashboard.plot import AMOUNT, HEIGHT, WIDTH, Plot, Scale, time_end
from tests.bench.figure import Figure

__all__ = ["as_svg", "draw", "panels_of"]

COLUMNS: Final = 2
MARKS: Final = {"a": "━━", "b": "╍╍"}
WIDE, HIGH = 380, 170  # of a plot here
LEFT, TOP, CELL_WIDE, CELL_HIGH = 70, 64, 490, 280
NICE: Final = 60.0  # an axis of the dashboard's that ends where its line does
STYLE: Final = """
svg { --page: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --a: #0969da; --b: #bc4c00; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --line: #3d444d; --a: #58a6ff; --b: #f0883e; }
}
text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.quiet { fill: var(--quiet); font-size: 12px; }
.title { font-weight: 600; }
.page { fill: var(--page); }
.grid { stroke: var(--line); fill: none; }
polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.a { stroke: var(--a); } .b { stroke: var(--b); stroke-dasharray: 6 3; }
text.a { fill: var(--a); stroke: none; } text.b { fill: var(--b); stroke: none; }
"""

Points = tuple[tuple[float, float], ...]


class Panel(Struct, frozen=True):
    """One picture: lines over one axis, which is logarithmic."""

    title: str
    lines: dict[str, Points]

    @property
    def places(self) -> Sequence[float]:
        """Where something was measured, from the left."""
        return sorted({at for points in self.lines.values() for at, _ in points})

    @property
    def end(self) -> float:
        """Where the values' axis ends."""
        return AMOUNT.end(max(value for points in self.lines.values() for _, value in points))

    def part(self, at: float) -> float:
        """Return how far to the right a place is, from 0 to 1."""
        first, last = self.places[0], self.places[-1]
        return math.log(at / first) / math.log(last / first)

    def reach(self, line: str) -> float:
        """Return the part of the panel that a plot takes: its axis ends soon after its line."""
        return time_end(self.part(self.lines[line][-1][0]) * NICE) / NICE

    def plot(self, line: str) -> Plot:
        """Return a line as the dashboard draws it."""
        scale = Scale(AMOUNT.say, lambda _highest: self.end)
        points = tuple((self.part(at) * NICE, value) for at, value in self.lines[line])
        return Plot(f"{self.title}: {line}", points, scale)


def draw(figures: Iterable[Figure], path: Path) -> bool:
    """Write the picture of what has places in it; tell whether there was anything to draw."""
    panels = panels_of(figures)
    if panels:
        path.parent.mkdir(exist_ok=True)
        path.write_text(as_svg(panels))
    return bool(panels)


def panels_of(figures: Iterable[Figure]) -> list[Panel]:
    """Return a panel for each name of one; a line needs two points."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in figures:
        if one.place is not None and one.value is not None:
            lines = found.setdefault(one.place.panel, {})
            lines.setdefault(one.place.line, []).append((one.place.at, one.value))
    panels = []
    for title, lines in found.items():
        drawn = {name: tuple(sorted(points)) for name, points in lines.items() if len(points) > 1}
        if drawn:
            panels.append(Panel(title, drawn))
    return panels


def as_svg(panels: Sequence[Panel]) -> str:
    """Return all of them as one picture."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * CELL_WIDE, rows * CELL_HIGH
    drawn = "\n".join(
        f'<g transform="translate({at % COLUMNS * CELL_WIDE + LEFT} {at // COLUMNS * CELL_HIGH + TOP})">\n'
        f"{cell(panel)}\n</g>"
        for at, panel in enumerate(panels)
    )
    words = "; ".join(
        f"{plot.title}: {plot.in_words}" for panel in panels for plot in map(panel.plot, panel.lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">\n<title>Scaling curves</title>\n<desc>{escape(words)}</desc>\n'
        f'<style>{STYLE}</style>\n<rect class="page" width="{width}" height="{height}"/>\n{drawn}\n</svg>\n'
    )


def cell(panel: Panel) -> str:
    """Return one panel: its title, its lines, the values beside and the places below."""
    values = AMOUNT.ticks(panel.end)
    parts = [
        f'<text class="title" x="{-LEFT + 16}" y="-40">{escape(panel.title)}</text>',
        f'<path class="grid" d="M0 0H{WIDE}V{HIGH}H0ZM0 {HIGH / 2:g}H{WIDE}"/>',
        *(
            f'<text class="quiet" x="-8" y="{HIGH * at / 2 + 4:g}" text-anchor="end">{escape(value)}</text>'
            for at, value in enumerate(values)
        ),
        *(
            f'<text class="quiet" x="{panel.part(at) * WIDE:.1f}" y="{HIGH + 18}" text-anchor="middle">'
            f"{short(at)}</text>"
            for at in panel.places
        ),
    ]
    for number, name in enumerate(panel.lines):
        kind = "ab"[number % 2]
        parts += [
            f'<svg width="{panel.reach(name) * WIDE:.1f}" height="{HIGH}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'preserveAspectRatio="none" overflow="visible">'
            f'<polyline class="{kind}" points="{panel.plot(name).path}"/></svg>',
            f'<text class="{kind}" x="{number * 190}" y="-14">{escape(MARKS[kind])} {escape(name)}</text>',
        ]
    return "\n".join(parts)


def short(value: float) -> str:
    """Return a place on an axis in a few characters."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
