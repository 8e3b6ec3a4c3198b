# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines over a number that doubles from point to point, as an SVG that needs nothing but an eye."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 40, 46
COLOURS = ("#1b6ca8", "#c8553d", "#3c7a57", "#7a4f9c")

Line = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Panel:
    """One picture: its title, and its lines by name."""

    title: str
    lines: Mapping[str, Line]


def svg(panels: Sequence[Panel], across: str, up: str) -> str:
    """Return the panels side by side; ``across`` and ``up`` say what the axes are."""
    drawn = "\n".join(
        f'<g transform="translate({number * WIDTH} 0)">\n{_panel(panel, across, up)}\n</g>'
        for number, panel in enumerate(panels)
    )
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{drawn}\n</svg>\n'
    )


def _panel(panel: Panel, across: str, up: str) -> str:
    places = sorted({place for line in panel.lines.values() for place, _value in line})
    top = _round_up(max(value for line in panel.lines.values() for _place, value in line))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(place: float) -> float:
        return LEFT + width * math.log2(place / places[0]) / max(1.0, math.log2(places[-1] / places[0]))

    def y(value: float) -> float:
        return TOP + height * (1 - value / top)

    def parts() -> Iterator[str]:
        yield _text(LEFT, 18, panel.title, size=13)
        for value in (top * step / 4 for step in range(5)):
            yield f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            yield _text(LEFT - 6, y(value) + 4, f"{value:g}", anchor="end")
        for place in places:
            yield _text(x(place), HEIGHT - BOTTOM + 16, f"{place}", anchor="middle")
        yield _text(LEFT + width / 2, HEIGHT - 10, across, anchor="middle")
        yield _text(LEFT - 40, TOP - 8, up)
        for number, (name, line) in enumerate(panel.lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in line)
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for place, value in line:
                yield f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>'
            yield _text(WIDTH - RIGHT - 4, HEIGHT - BOTTOM - 10 - 15 * number, name, anchor="end", colour=colour)

    return "\n".join(parts())


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, colour: str = "#333") -> str:
    written = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{written}</text>'


def _round_up(value: float) -> float:
    """The next number that can be divided into four without many digits."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 6, 8, 10) if unit * step >= value)
