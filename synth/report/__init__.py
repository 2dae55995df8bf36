"""Reports: one self-contained HTML file that a person looks at first.

    report = Report("Magpie", "900 rows accepted of 1,000 made", sections=[Bars(...)], rows=rows,
                    columns=[Column("reward", "number")])
    write_report(report, folder / "report.html")
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
    Link,
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
    "BATTLE", "PREFERENCE", "Bars", "Column", "Distribution", "Histogram", "Intervals", "Lines", "Link", "Matrix",
    "Pane", "Point", "Report", "ReportInfo", "Section", "Side", "Table", "write_report",
]
