"""What recipes over given prompts share: `n` counts the rows that are read, and which of them stay is known at the end."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, TypeVar

from pica.recipes.prompt_pool.reading import Named, rows_in
from pica.synth.config import CallConfig
from pica.synth.overview import overview
from pica.synth.recipe import Recipe
from pica.synth.report import Report
from pica.synth.rows import Column
from pica.synth.table import Table

C = TypeVar("C", bound=CallConfig)


class OverPrompts(Recipe[C]):
    """A recipe over given prompts."""

    @property
    @abstractmethod
    def sources(self) -> list[Named]:
        """The data, a split at a time."""

    @property
    def source_rows(self) -> int | None:
        """Rows that are read."""
        return self.wanted

    @property
    def wanted(self) -> int:
        """All that are read."""
        return rows_in(self.sources, self.config.n)

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The overview; `n` counts rows that are read, so fewer are no shortfall."""
        config = {**manifest["config"], "n": 0}
        return overview(self.name, folder, table, {**manifest, "config": config}, wanted, self.sections(table))
