"""What a recipe is, and how a run of one becomes a dataset folder.

A recipe is a class with a config, a row type, `make_row` (one row, async) and `finish` (the whole table, plain). `make`
does the rest: makes rows until `n` are accepted, writes them, their rejects, the card, the report and the manifest.
"""

from __future__ import annotations

import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from pica import __version__
from pica.synth.card import Role, dataset_card, roles_of
from pica.synth.config import CallConfig, RunConfig
from pica.synth.errors import PicaError
from pica.synth.folder import DatasetFolder
from pica.synth.ledger import Ledger
from pica.synth.models.base import ModelConfig
from pica.synth.overview import overview
from pica.synth.plan import Plan
from pica.synth.progress import Progress
from pica.synth.report import Report, Section, write_report
from pica.synth.rows import REJECTED_COLUMNS, Column, Provenance, columns
from pica.synth.run import Draft, Run
from pica.synth.spool import Spool
from pica.synth.table import Table

C = TypeVar("C", bound=CallConfig)


class Recipe(ABC, Generic[C]):
    """A way to make a dataset. Subclasses state `name` and `config_class`, and implement `row_class`, `make_row`, `plan`."""

    name: ClassVar[str]
    config_class: ClassVar[type[CallConfig]]

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    @abstractmethod
    def row_class(self) -> type[Provenance]:
        """The type of the rows that this config makes."""

    @property
    def models(self) -> list[ModelConfig]:
        """The models that rows ask."""
        return list(self.config.models_by_role().values())

    @property
    def whole(self) -> Recipe[Any]:
        """What `make` makes: this recipe, or one around it that adds rows of its own."""
        return self

    @property
    def source_rows(self) -> int | None:
        """Candidates there are, for a recipe over given data; None where there is no end."""
        return None

    @property
    def candidates(self) -> int:
        """Rows that may be begun; asked for after `prepare`."""
        if self.source_rows is not None:
            return self.source_rows
        assert isinstance(self.config, RunConfig), "a recipe without given data has n rows to make"
        return self.config.candidate_limit

    @property
    def remedy(self) -> str:
        """What allows more candidates, for the message when there were too few."""
        return "raise max_candidates"

    @property
    def wanted(self) -> int:
        """Accepted rows wanted: `n`, unless the recipe gives it another meaning."""
        return self.config.n

    @property
    def pool(self) -> int:
        """Accepted rows that `finish` needs to see to keep those wanted: more than these where it selects."""
        return self.wanted

    async def prepare(self, run: Run) -> None:
        """Get what all rows need: a chat template, a file, a list of topics."""

    @abstractmethod
    async def make_row(self, draft: Draft) -> msgspec.Struct | Sequence[msgspec.Struct]:
        """Make one row (or several that belong together), or raise `Reject`."""

    def finish(self, table: Table, progress: Progress) -> None:
        """What needs all rows at once. May run more than once, each time on a larger table."""

    @abstractmethod
    def plan(self) -> Plan:
        """What would be asked, for `--plan`."""

    def sections(self, table: Table) -> list[Section]:
        """Sections of the report besides those that every dataset gets."""
        return []

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The report of the folder: by default an overview of the dataset with the recipe's own sections."""
        return overview(self.name, folder, table, manifest, wanted, self.sections(table))

    def files(self) -> dict[str, str]:
        """Further text files of the dataset folder, by name (each known to `pica.synth.folder`)."""
        return {}

    def card(self, table: Table) -> str:
        """Markdown for the dataset card: what this data is, its limits, its sources."""
        return self.config.summary

    @property
    def wrote(self) -> list[Role]:
        """Who wrote the rows, or judged them, for the card: the models of the config, unless the rows come from elsewhere."""
        return roles_of(self.config.model_dump(mode="json"))


@dataclass(frozen=True)
class Outcome:
    """What a run of a recipe came to. `fresh` is false when the folder was complete already."""

    folder: Path
    manifest: dict[str, Any]
    fresh: bool


class TooFew(PicaError):
    """The bound on candidates was reached before enough rows were accepted. What there is has been written."""


async def make(recipe: Recipe[Any], out: Path, *, update: bool = False, retry: bool = False,
               progress: Progress | None = None) -> Outcome:
    """Make the dataset of `recipe` in folder `out`, or go on with it, or find it complete.

    `update`: a folder of another config is made again. `retry`: a complete folder asks again where no answer came.
    Raises what stops a run (`Stopped`, `ModelError`, `LedgerError`, `FolderError`), `TooFew`, and bugs of the recipe.
    """
    progress, recipe = progress or Progress("quiet"), recipe.whole
    config, started = recipe.config, time.monotonic()
    folder = DatasetFolder(out)
    try:
        folder.claim(recipe.name, config.identity(), update=update)
        if not retry and (manifest := folder.complete()) is not None:
            return Outcome(out, manifest, fresh=False)
        (out / "manifest.json").unlink(missing_ok=True)
        ledger = Ledger(Path(config.ledger) if config.ledger else out / "ledger.sqlite", owner=folder.id,
                        durability=config.durability)
        try:
            run = Run(ledger, name=recipe.name, seed=config.seed, concurrency=config.concurrency, budget=config.budget,
                      warn=progress.say, state=out)
            spool = Spool(folder.work("rows.ndjson"))
            try:
                table = await _table(recipe, run, spool, progress)
                progress.say("writing the dataset")
                manifest = _write(recipe, folder, table, run, ledger, time.monotonic() - started)
            except BaseException:
                if not (run.purse.calls or run.caller.counts.made or run.caller.counts.cached):
                    folder.disclaim()  # a mistyped model must not stand in the way of the right one
                raise
            finally:
                progress.unwatch()
                await run.caller.close()
                spool.close()
        finally:
            ledger.close()
    finally:
        folder.close()
    return Outcome(out, manifest, fresh=True)


async def _table(recipe: Recipe[Any], run: Run, spool: Spool, progress: Progress) -> Table:
    """Make rows and finish the table until enough rows are alive, or no more can be made."""
    await recipe.prepare(run)
    n, want, limit = recipe.wanted, recipe.pool, recipe.candidates
    while True:
        progress.watch(run, spool, want)
        await run.rows(recipe.make_row, spool, want=want, limit=limit, models=recipe.models)
        progress.unwatch()
        table = Table(spool, spool.prefix(want))
        made = len(table)
        recipe.finish(table, progress)
        if len(table) >= n or table.candidates >= limit:  # never len(spool): it depends on the order of answers
            break
        want = max(want + 1, want + ceil((n - len(table)) * made / max(len(table), 1)))
    table.keep([place < n for place in range(len(table))], "beyond the number asked for")
    return table


def _write(recipe: Recipe[Any], folder: DatasetFolder, table: Table, run: Run, ledger: Ledger, seconds: float,
           ) -> dict[str, Any]:
    """Write rows, rejects, card and report; then the manifest, if there are as many rows as were asked for."""
    wanted = columns(recipe.row_class)
    splits = folder.write_rows("data", table.splits(), wanted)
    rejects = folder.write_rows("rejected", (("train", row) for row in table.rejected()), [*wanted, *REJECTED_COLUMNS])
    manifest = _manifest(recipe, table, run, ledger, seconds, splits)
    assert manifest["rows"]["in"] == sum(splits.values()) + sum(rejects.values()), "rows in = rows out + rejected"
    for name, text in recipe.files().items():
        folder.write_text(name, text)
    folder.write_text("README.md", dataset_card(recipe.name, recipe.card(table), manifest, wanted, recipe.wrote))
    write_report(recipe.report(folder.path, table, manifest, wanted), folder.path / "report.html")
    manifest["files"] = folder.files()
    short = recipe.config.n - len(table)
    if short > 0 and recipe.source_rows is None:
        reason, number = next(iter(manifest["rows"]["rejected"].items()), ("none", 0))
        raise TooFew(f"{len(table):,} of {recipe.config.n:,} rows after {table.candidates:,} candidates, which is the bound; "
                     f"most were rejected because: {reason} ({number:,}). What there is stands in {folder.path} (without "
                     f"manifest.json); loosen what rejects, or {recipe.remedy}, and give the command again")
    folder.write_json("manifest.json", manifest)
    return manifest


def _manifest(recipe: Recipe[Any], table: Table, run: Run, ledger: Ledger, seconds: float, splits: dict[str, int],
              ) -> dict[str, Any]:
    counts, spent, reasons = run.caller.counts, ledger.spent(), table.reasons()
    return {
        "recipe": recipe.name, "config": recipe.config.model_dump(mode="json"), "seed": recipe.config.seed,
        "versions": {"pica": __version__, "python": platform.python_version()},
        "rows": {"in": len(table) + sum(reasons.values()), "out": len(table), "rejected": dict(reasons.most_common()),
                 "splits": splits},
        "calls": {"made": counts.made, "cached": counts.cached, "failed": counts.failed},
        "tokens": {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        "cost": round(counts.cost, 6), "seconds": round(seconds, 3),
        "folder_total": {"calls": spent.calls, "prompt_tokens": spent.prompt_tokens,
                         "completion_tokens": spent.completion_tokens, "cost": round(spent.cost, 6)},
        "models": {name: sorted(served) for name, served in sorted(counts.models.items())},
        "notes": table.notes,
    }
