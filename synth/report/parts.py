"""What a report is made of: plain frozen values. `pica.synth.report.build` turns them into a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True)
class Bars:
    """Counts by label, in the given order.

    `field`: the row column that a label filters when clicked, among accepted rows unless it is `reject_reason`.
    """

    title: str
    items: Sequence[tuple[str, float]]
    note: str = ""
    field: str = ""


@dataclass(frozen=True)
class Histogram:
    """A distribution: the values themselves, or (edges, counts) with one more edge than counts.

    `log` spaces the axis by magnitude, for positive values only. `summary` stands above the plot; for plain values it
    is worked out when left empty. `field`: the number column that a bin filters, among accepted rows, when clicked.
    """

    title: str
    values: Sequence[float] | tuple[Sequence[float], Sequence[int]]
    unit: str = ""
    note: str = ""
    log: bool = False
    field: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page beside this one. `page`: its path, such as `a/report.html`, relative to the
    report's folder and below it; what is no such path shows as text alone."""

    text: str
    page: str


@dataclass(frozen=True)
class Table:
    """A small table; numbers are set flush right with separators. A cell may be a `Link`."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


#: x, y, and the ends of y's interval (None where there is none).
Point: TypeAlias = "tuple[float, float, float | None, float | None]"


@dataclass(frozen=True)
class Lines:
    """Curves with interval bands, by series name. `x` and `y` name the axes."""

    title: str
    series: Mapping[str, Sequence[Point]]
    x: str = ""
    y: str = ""
    note: str = ""


@dataclass(frozen=True)
class Intervals:
    """Dots with intervals on one shared axis: (label, value, low, high), low and high None where unknown, infinite where there is
    no bound."""

    title: str
    items: Sequence[tuple[str, float, float | None, float | None]]
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """A heat table of `values[row][column]` (None for an empty cell), shaded between the least and the greatest."""

    title: str
    labels: Sequence[str]
    values: Sequence[Sequence[float | None]]
    columns: Sequence[str] = ()
    note: str = ""


Section: TypeAlias = "Bars | Histogram | Table | Lines | Intervals | Matrix"


@dataclass(frozen=True)
class Column:
    """A flat column of the rows that the page's table can filter and sort.

    `order` ranks categories that have an order (easy, medium, hard). A column with `shown` off is a filter only. A `link` leads
    to an http(s) address or to a page below the report's folder, such as `a/report.html`; anything else is shown as text.
    """

    name: str
    kind: Literal["text", "number", "category", "link"] = "text"
    description: str = ""
    label: str = ""
    unit: str = ""
    order: Sequence[str] = ()
    shown: bool = True


@dataclass(frozen=True)
class Side:
    """One of several answers that stand side by side.

    `field` holds the text or the messages; `score` and `name` are the columns of its score and of what made it, if any.
    """

    field: str
    label: str
    score: str = ""
    name: str = ""
    tone: Literal["plain", "good", "bad"] = "plain"


@dataclass(frozen=True)
class Pane:
    """How the detail of a row shows answers to one prompt; used by rows that have every side's field.

    `games`: the column with the verdicts on two sides, a list of `{judge, order, verdict, reason, text, problem, first, second,
    score_a, score_b}`: `order` is `ab` or `ba`, the side that stood first in front, and `verdict` such as `a>>b`; `first` and
    `second` are what the judge called them.
    """

    sides: Sequence[Side]
    prompt: str = "prompt"
    title: str = ""
    outcome: str = ""
    games: str = ""


PREFERENCE = Pane((Side("chosen", "Chosen", "score_chosen", "model_chosen", "good"),
                   Side("rejected", "Rejected", "score_rejected", "model_rejected", "bad")), title="Preference")
BATTLE = Pane((Side("answer_a", "A", "score_a", "model_a"), Side("answer_b", "B", "score_b", "model_b")),
              title="Battle", outcome="outcome")


@dataclass(frozen=True)
class Report:
    """Everything on the page. `verdict` is the first line that a person reads.

    `rows`: mappings, read once. Fields with a meaning: `id` (unique), `messages`, `reject_reason` and `reject_detail`
    (set on rows that were dropped), `calls` (ledger keys), and the fields of `panes`. A list of `{role, content}` shows
    as a conversation, any other list of mappings as a table, a mapping or plain value as metadata. `preview` names the
    column that stands for a row in the list; by default its first user message. `trace` is the command shown beside the
    calls of a row.
    """

    title: str
    verdict: str
    subtitle: str = ""
    warnings: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    rows: Iterable[Mapping[str, Any]] = ()
    columns: Sequence[Column] = ()
    panes: Sequence[Pane] = (PREFERENCE, BATTLE)
    preview: str = ""
    trace: str = "pica trace DIR {id}"


@dataclass(frozen=True)
class ReportInfo:
    """What was written: size in bytes, rows read and rows shown, by fate."""

    path: str
    bytes: int
    accepted: int
    rejected: int
    accepted_shown: int
    rejected_shown: int

    @property
    def sampled(self) -> bool:
        """Whether the page holds fewer rows than were given."""
        return self.accepted_shown + self.rejected_shown < self.accepted + self.rejected
