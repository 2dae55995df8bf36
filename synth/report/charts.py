"""Sections as HTML with inline SVG, complete without a script: labels, values, text alternatives are in the markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import quote

from pica.synth.report.distribution import Distribution
from pica.synth.report.parts import Bars, Histogram, Intervals, Lines, Link, Matrix, Point, Section, Table
from pica.synth.report.scales import log_ticks, ticks
from pica.synth.report.svg import Scale, axis_x, cover, grid_y, path, pct, plot
from pica.synth.report.text import attribute, count, escape, is_page, quantity, share

_SHADES, _HUES = 8, 6
_LONG, _NUM = ' class="long"', ' class="num"'
PROSE = 40  # characters from which on a cell's text is read and not looked at
MINUS = "\N{MINUS SIGN}"
_EMPTY = '<p class="summary">nothing to show</p>'


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
            body, wide = _matrix(section), len(section.columns or section.labels) > 6
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    return (f'<figure class="card{" wide" if wide else ""}"><figcaption><h3>{escape(section.title)}</h3>{note}'
            f"</figcaption>{body}</figure>\n")


# ---- counts ----


def _bars(chart: Bars) -> str:
    if not chart.items:
        return _EMPTY
    total, top = sum(n for _, n in chart.items), max(n for _, n in chart.items) or 1
    rows = "".join(
        f'<tr>{_row_head(label, _filter_link(chart.field, label, escape(label or "(empty)")))}'
        f'<td class="track"><svg aria-hidden="true"><rect class="mark" width="{pct(n / top)}" height="100%" rx="2"/>'
        f'</svg></td><td class="num">{count(n)}</td><td class="num dim">{share(n, total)}</td></tr>'
        for label, n in chart.items)
    return f'<table class="bar-table">{_caption(chart.title, "counts and shares")}{rows}</table>'


def _histogram(chart: Histogram) -> str:
    edges, counts, summary = _binned(chart)
    if not counts:
        return f'<p class="summary">{escape(summary)}</p>' if summary else _EMPTY
    x, marks = Scale(edges[0], edges[-1], log=chart.log), ticks(0, max(counts), 3)
    y = Scale(0, max(marks[-1], *counts))
    rects = "".join(_bin(chart, (a, b), n / sum(counts), f'x="{pct(x(a))}" width="{pct(x(b) - x(a))}" '
                         f'y="{pct(1 - y(n))}" height="{pct(y(n))}"', n) for a, b, n in _bins(edges, counts) if n)
    across = (log_ticks if chart.log else ticks)(edges[0], edges[-1])
    low, high, most = max(_bins(edges, counts), key=lambda b: b[2])
    label = (f"Histogram of {chart.title}. {summary}. "
             f"Fullest bin: {_range(low, high, chart.unit)} with {count(most)} rows.")
    axis = axis_x((x(t), quantity(t)) for t in across)
    drawn = plot(label, grid_y((y(t), quantity(t)) for t in marks) + rects + axis)
    rows = [(_range(a, b, chart.unit), count(n), share(n, sum(counts))) for a, b, n in _bins(edges, counts)]
    return f'<p class="summary">{escape(summary)}</p>{drawn}{_values(("from – to", "rows", "share"), rows)}'


def _binned(chart: Histogram) -> tuple[Sequence[float], Sequence[int], str]:
    if len(chart.values) == 2 and isinstance(chart.values[0], Sequence):
        edges, counts = chart.values
        assert isinstance(edges, Sequence) and isinstance(counts, Sequence)
        if len(edges) != len(counts) + bool(edges):
            raise ValueError(f"histogram {chart.title!r} has {len(edges)} edges for {len(counts)} counts; "
                             "it wants one more edge than counts")
        return edges, counts, chart.summary
    spread = Distribution((v for v in chart.values if not isinstance(v, Sequence)), log=chart.log)
    return *spread.binned(), chart.summary or spread.summary(chart.unit)


def _bins(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[float, float, int]]:
    return list(zip(edges[:-1], edges[1:], counts, strict=True))


def _bin(chart: Histogram, ends: tuple[float, float], part: float, place: str, n: int) -> str:
    title = attribute(f"{_range(*ends, chart.unit)}: {count(n)} ({share(part, 1)})")
    rect = f'<rect class="mark bin" {place}><title>{title}</title></rect>'
    if not chart.field:
        return rect
    return f'<a href="{_filter_href(chart.field, f"{ends[0]:.14g}..{ends[1]:.14g}")}" tabindex="-1">{rect}</a>'


# ---- tables ----


def _table(table: Table) -> str:
    numeric = [all(_is_number(row[i]) for row in table.rows) for i in range(len(table.header))]
    head = "".join(f'<th scope="col"{_NUM if n else ""}>{escape(name)}</th>'
                   for name, n in zip(table.header, numeric, strict=True))
    body = "".join("<tr>" + "".join(_cell(v, n) for v, n in zip(row, numeric, strict=True)) + "</tr>"
                   for row in table.rows)
    return _scrolling("plain", f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: object, numeric: bool) -> str:
    if isinstance(value, Link):
        label = escape(value.text)
        return f'<td><a href="{attribute(value.page)}">{label}</a></td>' if is_page(value.page) else f"<td>{label}</td>"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = quantity(value) if number else "–" if value is None else str(value)  # type: ignore[arg-type]
    kind = _NUM if numeric else ' class="prose"' if len(text) > PROSE else ""
    return f"<td{kind}>{escape(text)}</td>"


def _matrix(chart: Matrix) -> str:
    known = [v for row in chart.values for v in row if v is not None and math.isfinite(v)]
    if not known:
        return _EMPTY
    shade, columns = Scale(min(known), max(known)), chart.columns or chart.labels
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(_heat(shade, value, f"{label} / {name}") for name, value in zip(columns, row, strict=True)) + "</tr>"
        for label, row in zip(chart.labels, chart.values, strict=True))
    return _scrolling("heat", f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody>")


def _heat(shade: Scale, value: float | None, title: str) -> str:
    if value is None or not math.isfinite(value):
        return '<td class="dim">–</td>'
    level = round(shade(value) * _SHADES)
    return f'<td class="q{level}" title="{attribute(title)}: {quantity(value)}">{quantity(value)}</td>'


# ---- curves and intervals ----


def _lines(chart: Lines) -> str:
    points = [p for series in chart.series.values() for p in _finite(series)]
    if not points:
        return _EMPTY
    ends = min(p[0] for p in points), max(p[0] for p in points)
    up = cover(min(_low(p) for p in points), max(_high(p) for p in points), 4)
    x, y = Scale(*ends), Scale(up[0], up[-1])
    whole = all(float(p[0]).is_integer() for p in points)  # a step, an iteration: nothing lies between two
    across = [t for t in ticks(*ends) if not whole or t.is_integer()]
    curves = "".join(_curve(f"h{i % _HUES}", name, _finite(series), (x, y))
                     for i, (name, series) in enumerate(chart.series.items()))
    spans = "; ".join(f"{name}: {quantity(s[0][1])} to {quantity(s[-1][1])}" for name, s in chart.series.items() if s)
    axes = grid_y((y(t), quantity(t)) for t in up) + axis_x((x(t), quantity(t)) for t in across)
    drawn = plot(f"Line chart of {chart.y or chart.title} by {chart.x or 'x'}. {spans}.", axes + curves, "tall")
    names = " · ".join(part for part in (chart.y and f"{chart.y} up", chart.x and f"{chart.x} across") if part)
    rows = [(name, *(quantity(v) for v in p)) for name, series in chart.series.items() for p in series]
    return (f'{_legend(chart)}<p class="summary">{escape(names)}</p>{drawn}'
            f'{_values(("series", chart.x or "x", chart.y or "y", "low", "high"), rows)}')


def _legend(chart: Lines) -> str:
    items = "".join(f'<li><svg aria-hidden="true"><rect class="h{i % _HUES}" width="100%" height="100%" rx="2"/></svg>'
                    f"{escape(name)}</li>" for i, name in enumerate(chart.series))
    return f'<ul class="legend">{items}</ul>'


def _curve(hue: str, name: str, points: Sequence[Point], axes: tuple[Scale, Scale]) -> str:
    x, y = axes
    high, low = [(x(p[0]), y(_high(p))) for p in points], [(x(p[0]), y(_low(p))) for p in points]
    band = f'<path class="band {hue}" d="{path(high + low[::-1])}Z"/>' if high != low else ""
    size = 'r="3"' if len(points) < 40 else 'r="5" opacity="0"'
    dots = "".join(f'<circle class="dot {hue}" cx="{pct(x(p[0]))}" cy="{pct(1 - y(p[1]))}" {size}>'
                   f"<title>{attribute(_point_title(name, p))}</title></circle>"
                   for p in points[:: max(1, len(points) // 150)])
    line = f'<path class="curve {hue}" d="{path([(x(p[0]), y(p[1])) for p in points])}"/>' if points else ""
    return (f'<svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">{band}{line}</svg>'
            f"{dots}")


def _point_title(name: str, point: Point) -> str:
    return f"{name}: {quantity(point[1])} {_interval(point[2], point[3])} at {quantity(point[0])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None or math.isnan(low) or math.isnan(high) else f"[{_limit(low)}, {_limit(high)}]"


def _limit(end: float) -> str:
    return quantity(end) if math.isfinite(end) else f"{MINUS if end < 0 else ''}∞"


def _intervals(chart: Intervals) -> str:
    if not chart.items:
        return _EMPTY
    ends = [v for _, *values in chart.items for v in values if v is not None and math.isfinite(v)]
    marks = cover(min(ends, default=0.0), max(ends, default=1.0), 5)
    x = Scale(marks[0], marks[-1])
    grid = "".join(f'<line class="grid" x1="{pct(x(t))}" x2="{pct(x(t))}" y1="0" y2="100%"/>' for t in marks)
    rows = "".join(f'<tr>{_row_head(label, escape(label))}<td class="track"><svg aria-hidden="true">{grid}'
                   f"{_whisker(x, value, low, high)}</svg></td><td{_NUM}>{escape(quantity(value, chart.unit))}</td>"
                   f'<td class="num dim">{_interval(low, high)}</td></tr>'
                   for label, value, low, high in chart.items)
    axis = "".join(f'<text x="{pct(x(t))}" y="12" text-anchor="middle">{quantity(t)}</text>' for t in marks)
    foot = f'<tr aria-hidden="true"><td></td><td class="track"><svg>{axis}</svg></td><td></td><td></td></tr>'
    return f'<table class="bar-table dots">{_caption(chart.title, "value and interval")}{rows}{foot}</table>'


def _whisker(x: Scale, value: float, low: float | None, high: float | None) -> str:
    dot = f'<circle class="dot h0" cx="{pct(x(value))}" cy="50%" r="4"/>' if math.isfinite(value) else ""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return dot
    left, right = (x(end) if math.isfinite(end) else float(end > 0) for end in (low, high))  # without an end: to the edge
    return f'<line class="whisker h0" x1="{pct(left)}" x2="{pct(right)}" y1="50%" y2="50%"/>{dot}'


def _finite(series: Sequence[Point]) -> list[Point]:
    return [p for p in series if math.isfinite(p[0]) and math.isfinite(p[1])]


def _low(point: Point) -> float:
    return point[1] if point[2] is None or not math.isfinite(point[2]) else point[2]


def _high(point: Point) -> float:
    return point[1] if point[3] is None or not math.isfinite(point[3]) else point[3]


# ---- markup that several share ----


def _caption(title: str, what: str) -> str:
    return f'<caption class="sr">{escape(title)}: {what}</caption>'


def _row_head(label: str, body: str) -> str:
    return f'<th scope="row"{_LONG if len(label) > 24 else ""}>{body}</th>'


def _scrolling(kind: str, body: str) -> str:
    return f'<div class="scroll"><table class="{kind}">{body}</table></div>'


def _values(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col"{_NUM}>{escape(name)}</th>' for name in header)
    body = "".join("<tr>" + "".join(f"<td{_NUM}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<details><summary>Values</summary><table class="plain"><tr>{head}</tr>{body}</table></details>'


def _filter_link(field: str, value: str, body: str) -> str:
    return f'<a href="{_filter_href(field, value)}">{body}</a>' if field else body


def _filter_href(field: str, value: str) -> str:
    accepted = "" if field in ("status", "reject_reason") else "status=accepted&amp;"
    return f"#?{accepted}{_address(field)}={_address(value)}"


def _address(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe=".")


def _range(low: float, high: float, unit: str) -> str:
    return f"{quantity(low)} – {quantity(high, unit)}"
