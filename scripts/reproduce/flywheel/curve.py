"""The figure: curves with bands as an SVG file that stands for itself, on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pica.synth.report.svg import Scale, cover
from pica.synth.report.text import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 64, 16, 40, 44
KEY = 104  # from one name in the legend to the next
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #5c636d }
line { stroke: #8886 }
.c0 { fill: #2f7cae; stroke: #2f7cae } .c1 { fill: #c8622f; stroke: #c8622f } .c2 { fill: #8566ad; stroke: #8566ad }
.band { fill-opacity: .18; stroke: none } .curve { fill: none; stroke-width: 2 } .solid { stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #9aa2ad } }
"""
Point = tuple[float, float, float, float]  # x, value, lower end, upper end


def svg(series: Mapping[str, Sequence[Point]], *, x: str, y: str) -> str:
    """The curves by name; `x` and `y` name the axes. Ticks across stand where points are."""
    points = [point for curve in series.values() for point in curve]
    marks = cover(min(point[2] for point in points), max(point[3] for point in points), 5)
    steps = sorted({point[0] for point in points})
    axes = Scale(steps[0], steps[-1]), Scale(marks[0], marks[-1])
    body = [_rule(_down(axes[1](mark)), f"{mark:g}") for mark in marks]
    body += [_text(_along(axes[0](step)), HEIGHT - BOTTOM + 18, f"{step:g}", "middle") for step in steps]
    for number, (name, curve) in enumerate(series.items()):
        body += [*_key(number, name), *_curve(number, curve, axes)]
    body += [_text(_along(0.5), HEIGHT - 8, x, "middle"), _text(WIDTH - RIGHT, 22, y, "end")]
    told = "; ".join(f"{name}: {curve[0][1]:.0f} to {curve[-1][1]:.0f}" for name, curve in series.items())
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
            f"<title>{escape(f'{y} by {x}. {told}')}</title><style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n")


def _curve(number: int, curve: Sequence[Point], axes: tuple[Scale, Scale]) -> list[str]:
    """Band, line and dots."""
    x, y = axes
    upper, lower = [_spot(x(p[0]), y(p[3])) for p in curve], [_spot(x(p[0]), y(p[2])) for p in curve]
    line = [_spot(x(p[0]), y(p[1])) for p in curve]
    dots = [f'<circle class="solid c{number}" cx="{spot.split()[0]}" cy="{spot.split()[1]}" r="3.5"/>' for spot in line]
    return [f'<path class="band c{number}" d="M{"L".join(upper + lower[::-1])}Z"/>',
            f'<path class="curve c{number}" d="M{"L".join(line)}"/>', *dots]


def _key(number: int, name: str) -> list[str]:
    left = LEFT + KEY * number
    return [f'<rect class="solid c{number}" x="{left}" y="12" width="12" height="12" rx="2"/>',
            _text(left + 18, 22, name, "start")]


def _rule(down: float, text: str) -> str:
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>{_text(LEFT - 8, down + 4, text, "end")}'


def _text(along: float, down: float, text: str, anchor: str) -> str:
    return f'<text x="{along:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _along(part: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * part


def _down(part: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)


def _spot(x: float, y: float) -> str:
    return f"{_along(x):.1f} {_down(y):.1f}"
