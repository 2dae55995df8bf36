"""Sections as HTML and inline SVG, drawn without a script: sizes are percentages, colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from pica.synth.report.distribution import Distribution
from pica.synth.report.parts import Bars, Histogram, Intervals, Lines, Matrix, Point, Section, Table
from pica.synth.report.scales import log_ticks, ticks
from pica.synth.report.text import attribute, count, escape, quantity, share

_SHADES = 8
_HUES = 6


def draw(section: Section) -> str:
    """A section as one `<figure>`."""
    match section:
        case Bars():
            body, wide = _bars(section), False
        case Histogram():
            body, wide = _histogram(section), False
        case Table():
            body, wide = _table(section), len(section.header) > 4
        case Lines():
            body, wide = _lines(section), True
        case Intervals():
            body, wide = _intervals(section), True
        case Matrix():
            body, wide = _matrix(section), len(section.labels) > 6
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    kind = type(section).__name__.lower()
    return (f'<figure class="card {kind}{" wide" if wide else ""}"><figcaption><h3>{escape(section.title)}</h3>{note}'
            f"</figcaption>{body}</figure>\n")


def _bars(chart: Bars) -> str:
    if not chart.items:
        return _EMPTY
    total, top = sum(n for _, n in chart.items), max(n for _, n in chart.items) or 1
    rows = "".join(
        f'<tr>{_row_head(label, _filter_link(chart.field, label, escape(label or "(empty)")))}'
        f'<td class="track"><svg aria-hidden="true"><rect class="mark" width="{_pct(n / top)}" height="100%" rx="2"/>'
        f'</svg></td><td class="num">{count(n)}</td><td class="num dim">{share(n, total)}</td></tr>'
        for label, n in chart.items)
    return f'<table class="bar-table"><caption class="sr">{escape(chart.title)}: counts and shares</caption>{rows}</table>'


def _histogram(chart: Histogram) -> str:
    edges, counts, summary = _binned(chart)
    if not counts:
        return f'<p class="summary">{escape(summary)}</p>' if summary else _EMPTY
    x = _scale(edges[0], edges[-1], log=chart.log)
    marks = ticks(0, max(counts), 3)
    y = _scale(0, max(marks[-1], *counts))
    bins = list(zip(edges, edges[1:], counts, strict=False))
    rects = "".join(_bin(chart, x(a), x(b), y(n), f"{_range(a, b, chart.unit)}: {count(n)} ({share(n, sum(counts))})",
                         f"{_plain(a)}..{_plain(b)}") for a, b, n in bins if n)
    peak = max(bins, key=lambda b: b[2])
    label = f"Histogram of {chart.title}. {summary}. Fullest bin: {_range(peak[0], peak[1], chart.unit)} with {count(peak[2])}."
    across = (log_ticks if chart.log else ticks)(edges[0], edges[-1])
    plot = _plot(label, _grid_y((y(t), quantity(t)) for t in marks) + rects + _axis_x((x(t), quantity(t)) for t in across))
    rows = [(_range(a, b, chart.unit), count(n), share(n, sum(counts))) for a, b, n in bins]
    return f'<p class="summary">{escape(summary)}</p>{plot}{_values(("from – to", "rows", "share"), rows)}'


def _binned(chart: Histogram) -> tuple[Sequence[float], Sequence[int], str]:
    if len(chart.values) == 2 and isinstance(chart.values[0], Sequence):
        edges, counts = chart.values
        if not isinstance(edges, Sequence) or not isinstance(counts, Sequence) or len(edges) != len(counts) + bool(edges):
            raise ValueError(f"histogram {chart.title!r}: wants one more edge than counts")
        return edges, counts, chart.summary
    spread = Distribution((v for v in chart.values if not isinstance(v, Sequence)), log=chart.log)
    edges, counts = spread.binned()
    return edges, counts, chart.summary or spread.summary(chart.unit)


def _bin(chart: Histogram, left: float, right: float, height: float, title: str, span: str) -> str:
    rect = (f'<rect class="mark bin" x="{_pct(left)}" y="{_pct(1 - height)}" width="{_pct(right - left)}" '
            f'height="{_pct(height)}"><title>{attribute(title)}</title></rect>')
    return f'<a href="{_filter_href(chart.field, span)}" tabindex="-1">{rect}</a>' if chart.field else rect


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in table.rows)
    return f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'<td class="num">{quantity(value)}</td>'
    return f"<td>{escape('–' if value is None else value)}</td>"


def _lines(chart: Lines) -> str:
    points = [p for series in chart.series.values() for p in series if math.isfinite(p[0]) and math.isfinite(p[1])]
    if not points:
        return _EMPTY
    lows, highs = [_low(p) for p in points], [_high(p) for p in points]
    x = _scale(min(p[0] for p in points), max(p[0] for p in points))
    across, up = ticks(min(p[0] for p in points), max(p[0] for p in points)), _cover(min(lows), max(highs), 4)
    y = _scale(up[0], up[-1])
    curves = "".join(_curve(i, name, series, x, y) for i, (name, series) in enumerate(chart.series.items()))
    ends = "; ".join(f"{name}: {quantity(s[0][1])} to {quantity(s[-1][1])}" for name, s in chart.series.items() if s)
    label = f"Line chart of {chart.y or chart.title} by {chart.x or 'x'}. {ends}."
    plot = _plot(label, _grid_y((y(t), quantity(t)) for t in up) + _axis_x((x(t), quantity(t)) for t in across) + curves,
                 "tall")
    legend = "".join(f'<li><svg aria-hidden="true"><rect class="mark h{i % _HUES}" width="100%" height="100%" rx="2"/></svg>'
                     f"{escape(name)}</li>" for i, name in enumerate(chart.series))
    rows = [(name, *(quantity(v) for v in p)) for name, series in chart.series.items() for p in series]
    axes = " · ".join(part for part in (chart.y and f"{chart.y} up", chart.x and f"{chart.x} across") if part)
    return (f'<ul class="legend">{legend}</ul><p class="summary">{escape(axes)}</p>{plot}'
            f'{_values(("series", chart.x or "x", chart.y or "y", "low", "high"), rows)}')


def _curve(i: int, name: str, series: Sequence[Point], x: _Scale, y: _Scale) -> str:
    drawn = [p for p in series if math.isfinite(p[0]) and math.isfinite(p[1])]
    spots = [(1000 * x(p[0]), 1000 * (1 - y(p[1]))) for p in drawn]
    high = [(1000 * x(p[0]), 1000 * (1 - y(_high(p)))) for p in drawn]
    low = [(1000 * x(p[0]), 1000 * (1 - y(_low(p)))) for p in drawn]
    hue = f"h{i % _HUES}"
    band = f'<path class="band {hue}" d="{_path(high + low[::-1])}Z"/>' if any(p[2] is not None for p in drawn) else ""
    size = 'r="3"' if len(drawn) < 40 else 'r="5" opacity="0"'
    dots = "".join(f'<circle class="dot {hue}" cx="{_pct(x(p[0]))}" cy="{_pct(1 - y(p[1]))}" {size}>'
                   f"<title>{attribute(_point_title(name, p))}</title></circle>" for p in drawn[:: max(1, len(drawn) // 150)])
    return (f'<svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">{band}'
            f'<path class="curve {hue}" d="{_path(spots)}"/></svg>{dots}')


def _point_title(name: str, point: Point) -> str:
    return f"{name}: {quantity(point[1])}{_interval(point[2], point[3])} at {quantity(point[0])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{quantity(low)}, {quantity(high)}]"


def _intervals(chart: Intervals) -> str:
    if not chart.items:
        return _EMPTY
    ends = [v for _, *values in chart.items for v in values if v is not None and math.isfinite(v)]
    marks = _cover(min(ends, default=0.0), max(ends, default=1.0), 5)
    x = _scale(marks[0], marks[-1])
    grid = "".join(f'<line class="grid" x1="{_pct(x(t))}" x2="{_pct(x(t))}" y1="0" y2="100%"/>' for t in marks)
    rows = "".join(f'<tr>{_row_head(label, escape(label))}<td class="track"><svg aria-hidden="true">{grid}'
                   f'{_whisker(x, value, low, high)}</svg></td><td class="num">{quantity(value, chart.unit)}</td>'
                   f'<td class="num dim">{escape(_interval(low, high).strip())}</td></tr>'
                   for label, value, low, high in chart.items)
    axis = "".join(f'<text x="{_pct(x(t))}" y="12" text-anchor="middle">{quantity(t)}</text>' for t in marks)
    return (f'<table class="bar-table dots"><caption class="sr">{escape(chart.title)}: value and interval</caption>{rows}'
            f'<tr aria-hidden="true"><td></td><td class="track axis"><svg>{axis}</svg></td><td></td><td></td></tr></table>')


def _whisker(x: _Scale, value: float, low: float | None, high: float | None) -> str:
    dot = f'<circle class="dot h0" cx="{_pct(x(value))}" cy="50%" r="4"/>' if math.isfinite(value) else ""
    if low is None or high is None:
        return dot
    return f'<line class="whisker h0" x1="{_pct(x(low))}" x2="{_pct(x(high))}" y1="50%" y2="50%"/>{dot}'


def _matrix(chart: Matrix) -> str:
    known = [v for row in chart.values for v in row if v is not None and math.isfinite(v)]
    if not known:
        return _EMPTY
    shade = _scale(min(known), max(known))
    columns = chart.columns or chart.labels
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(_heat(shade, value, f"{label} / {column}") for column, value in zip(columns, row, strict=True)) + "</tr>"
        for label, row in zip(chart.labels, chart.values, strict=True))
    return f'<div class="scroll"><table class="heat"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _heat(shade: _Scale, value: float | None, title: str) -> str:
    if value is None or not math.isfinite(value):
        return '<td class="dim">–</td>'
    return f'<td class="q{round(shade(value) * _SHADES)}" title="{attribute(title)}: {quantity(value)}">{quantity(value)}</td>'


# ---- pieces ----

_LONG = ' class="long"'
_EMPTY = '<p class="summary">nothing to show</p>'


class _Scale:
    """Maps low..high to 0..1, by magnitude if `log`; one value maps to the middle."""

    def __init__(self, low: float, high: float, *, log: bool = False) -> None:
        self.turn = math.log10 if log else float
        self.low, self.span = self.turn(low), self.turn(high) - self.turn(low)

    def __call__(self, value: float) -> float:
        return (self.turn(value) - self.low) / self.span if self.span else 0.5


def _scale(low: float, high: float, *, log: bool = False) -> _Scale:
    return _Scale(low, high, log=log)


def _cover(low: float, high: float, steps: int) -> list[float]:
    """Round ticks that reach beyond both ends."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = ticks(low, high, steps)
    width = step[1] - step[0] if len(step) > 1 else high - low
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return [round(i * width, 12) for i in range(first, last + 1)]


def _plot(label: str, body: str, size: str = "") -> str:
    return f'<svg class="plot {size}" role="img" aria-label="{attribute(label)}">{body}</svg>'


def _grid_y(marks: Iterable[tuple[float, str]]) -> str:
    return "".join(f'<line class="grid" x1="0" x2="100%" y1="{_pct(1 - y)}" y2="{_pct(1 - y)}"/>'
                   f'<text x="-7" y="{_pct(1 - y)}" dy="3.5" text-anchor="end">{text}</text>' for y, text in marks)


def _axis_x(marks: Iterable[tuple[float, str]]) -> str:
    shown = [(x, text) for x, text in marks if -1e-9 <= x <= 1 + 1e-9]
    return '<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>' + "".join(
        f'<line class="tick" x1="{_pct(x)}" x2="{_pct(x)}" y1="100%" y2="102.5%"/>'
        f'<text x="{_pct(x)}" y="100%" dy="16" text-anchor="middle">{text}</text>' for x, text in shown)


def _values(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join("<tr>" + "".join(f'<td class="num">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows)
    return f'<details><summary>Values</summary><table class="plain"><tr>{head}</tr>{body}</table></details>'


def _row_head(label: str, body: str) -> str:
    return f'<th scope="row"{_LONG if len(label) > 24 else ""}>{body}</th>'


def _filter_link(field: str, value: str, body: str) -> str:
    return f'<a href="{_filter_href(field, value)}">{body}</a>' if field else body


def _filter_href(field: str, value: str) -> str:
    safe = value.encode("utf-8", "surrogatepass")
    return f"#?{quote(field, safe='')}={quote(safe, safe='.')}"


def _range(low: float, high: float, unit: str) -> str:
    return f"{quantity(low)} – {quantity(high, unit)}"


def _plain(value: float) -> str:
    return f"{value:.12g}"


def _path(spots: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)


def _low(point: Point) -> float:
    return point[1] if point[2] is None or not math.isfinite(point[2]) else point[2]


def _high(point: Point) -> float:
    return point[1] if point[3] is None or not math.isfinite(point[3]) else point[3]


def _pct(fraction: float) -> str:
    return f"{100 * fraction:.4g}%"
