"""Reports: one self-contained HTML file that a person looks at first.

    write_report(Report(title=..., verdict=..., sections=[Bars(...)], rows=rows, columns=[Column("reward", "number")]), path)
"""

from pica.synth.report.build import write_report
from pica.synth.report.distribution import Distribution
from pica.synth.report.parts import (
    BATTLE,
    PREFERENCE,
    Bars,
    Column,
    Histogram,
    Intervals,
    Lines,
    Matrix,
    Pane,
    Point,
    Report,
    ReportInfo,
    Section,
    Side,
    Table,
)

__all__ = [
    "BATTLE", "PREFERENCE", "Bars", "Column", "Distribution", "Histogram", "Intervals", "Lines", "Matrix", "Pane", "Point",
    "Report", "ReportInfo", "Section", "Side", "Table", "write_report",
]
