"""What every evaluation shares: its leaderboard, its report, and the audit of its judge beside them.

An evaluation is a recipe whose rows are judgments (`pica.eval.judging`), and which ranks what was judged.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pica.eval.evaluation_config import EvalConfig
from pica.eval.judging import Judging
from pica.eval.leaderboard import Leaderboard
from pica.eval.report import BATTLE_COLUMNS, BATTLES, first_line, warnings_of
from pica.synth.errors import PicaError, TooManyFailures, UsageError
from pica.synth.overview import facts_of, rows_of
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import Column as Shown
from pica.synth.report import Pane, Report
from pica.synth.rows import Column
from pica.synth.run import Run
from pica.synth.table import Table

C = TypeVar("C", bound=EvalConfig)

NO_ANSWER = "no answer: "  # how the reason of a row starts that a model did not answer


class Evaluation(Judging[C]):
    """An evaluation: rows are judgments, `finish` ranks. Subclasses state what a row is and how it is ranked."""

    report_columns: ClassVar[Sequence[Shown]] = BATTLE_COLUMNS  # of the rows, as the report lists them
    panes: ClassVar[Sequence[Pane]] = (BATTLES,)                # how the report shows answers beside each other
    leaderboard: Leaderboard

    @property
    def whole(self) -> Recipe[Any]:
        """The evaluation with the audit of its judge."""
        from pica.eval.audit.beside import Audited  # which wraps evaluations

        return Audited(self)

    @property
    def source_rows(self) -> int | None:
        """Judgments there are to make."""
        return len(self.tasks) * len(self.matches)

    @property
    def wanted(self) -> int:
        """All of them."""
        return len(self.tasks) * len(self.matches)

    @property
    @abstractmethod
    def matches(self) -> Sequence[Any]:
        """What is judged of each task: pairs of labels, or labels."""

    @abstractmethod
    def rank(self, table: Table) -> Leaderboard:
        """The leaderboard of these rows."""

    def finish(self, table: Table, progress: Progress) -> None:
        """Rank, and keep the ranking in the manifest. Raises `TooManyFailures` where nothing could be judged for want of answers,
        and `UsageError` where there is nothing for any other reason."""
        if not len(table):
            raise self._nothing(table)
        progress.say("ranking")
        self.leaderboard = self.rank(table)
        table.notes["leaderboard"] = self.leaderboard.to_list()
        table.notes["metric"], table.notes["method"] = self.leaderboard.metric, self.leaderboard.method
        table.notes["judge_prompt"] = self.judge.prompt.hash
        table.notes.setdefault("warnings", []).extend(self.leaderboard.warnings)

    def _nothing(self, table: Table) -> PicaError:
        """Why there is no judgment at all; battles of an audit are none."""
        own = [row for row in table.rejected() if row["index"] < self.candidates]
        if not own:
            return UsageError("nothing to rank: there are no tasks")
        reason, count = Counter(str(row["reject_reason"]) for row in own).most_common(1)[0]
        whole = f"nothing to rank: none of the {len(own):,} judgments could be made, most because: {reason} ({count:,})"
        if not reason.startswith(NO_ANSWER):
            return UsageError(whole)
        who = ", ".join(repr(label) for label, _ in self.silent.most_common()) or "a judge"
        return TooManyFailures(f"{whole}; {who} did not answer. Give the same command when it does: it asks for what is missing")

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The leaderboard first, then the evaluation's own sections, then every judgment."""
        warnings = warnings_of(manifest)
        return Report(title=f"{self.name}: {len(self.leaderboard.entries)} models", subtitle=folder.name,
                      verdict=first_line(self.leaderboard, warnings), warnings=warnings, facts=facts_of(manifest),
                      sections=[*self.leaderboard.sections(), *self.sections(table)], rows=rows_of(table),
                      columns=self.report_columns, panes=self.panes, trace=f"pica trace {folder} {{id}}")

    def files(self) -> dict[str, str]:
        """The leaderboard for programs."""
        return {"leaderboard.json": self.leaderboard.to_json(), "leaderboard.csv": self.leaderboard.to_csv()}


class Listed(Evaluation[C]):
    """An evaluation whose matches each name their task: not every model need be judged on every one."""

    @abstractmethod
    def read(self) -> None:
        """Read what `matches` are made of. Raises `UsageError`."""

    @property
    def source_rows(self) -> int | None:
        """All matches."""
        return len(self.matches)

    @property
    def wanted(self) -> int:
        """All of them."""
        return len(self.matches)

    async def prepare(self, run: Run) -> None:
        """Read everything, before anything is asked."""
        self.read()
