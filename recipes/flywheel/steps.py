"""The steps of a campaign, each in a folder of its own: prompts made ready, battles, selection, training, measuring.

A step that is complete is found so and costs nothing; one that was killed goes on. So a campaign goes on by doing all of its
steps again. One ledger holds the calls of all: what a rival said to a prompt once is never asked again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pica.eval.arena import Arena
from pica.eval.tasks import Task, read_tasks
from pica.recipes.arena_learning.recipe import ArenaLearning, NothingSelected
from pica.recipes.flywheel.config import FlywheelConfig, StageName
from pica.recipes.flywheel.fighter import Fighter
from pica.recipes.flywheel.limits import CampaignBudget
from pica.recipes.flywheel.records import Spent, StepKind, StepRecord
from pica.recipes.prompt_pool.recipe import PromptPool
from pica.synth.budget import Budget
from pica.synth.embed import Embedder, open_embedder
from pica.synth.errors import BudgetSpent, TooManyFailures, UsageError
from pica.synth.ledger import Spent as Used
from pica.synth.ledger.stats import spent_by_owner, stats
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe, make
from pica.synth.source import open_source
from pica.train.progress import TrainProgress
from pica.train.run import train
from pica.train.seconds import read_work
from pica.train.stage import load_stage

HELD_OUT = "held_out"
NO_ANSWER = "no answer: "  # how the reason of a row begins that failed for want of one


@dataclass
class Steps:
    """Does the steps of the campaign in `root`. `since`: seconds of work before this process; `clock` gives seconds.
    `under_way`: the step that is being done, as it is recorded should it stop."""

    config: FlywheelConfig
    root: Path
    update: bool = False
    progress: Progress = field(default_factory=lambda: Progress("quiet"))
    since: float = 0.0
    clock: Callable[[], float] = field(default=time.monotonic)
    under_way: StepRecord | None = None
    _embedders: dict[str, Embedder] = field(default_factory=dict)
    _began: float = field(init=False)
    _counted: tuple[list[tuple[int, int]], dict[str, Used]] | None = None

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def ledger(self) -> Path:
        """The ledger of all steps."""
        return Path(self.config.ledger) if self.config.ledger else self.root / "ledger.sqlite"

    @property
    def seconds(self) -> float:
        """Seconds of work so far, this process and those before."""
        return self.since + self.clock() - self._began

    def pool(self, used: int, left: int) -> None:
        """Make the prompts ready, in as many parts as `left` iterations need besides the `used` ones. Raises `UsageError` where
        there are fewer."""
        self.progress.say("prompts are made ready")
        needed = used + left * len(self.config.fed)
        before = (_json(self.root / "pool" / "config.json") or {}).get("config", {}).get("parts")
        manifest = self._make(PromptPool(self.config.pool_config(before or needed, self.ledger)), self.root / "pool")
        there = sum(name.startswith("part") for name in manifest["rows"]["splits"])
        if there < needed:
            mend = ("give fewer iterations, a smaller part_size or more prompts" if self.config.part_size else
                    "begin in another --out, with part_size if iterations are to be added later")
            dropped = ", ".join(f"{reason} ({count:,})" for reason, count in manifest["rows"]["rejected"].items()) or "nothing"
            raise UsageError(f"the prompts make {there:,} parts, of which {used:,} are used, and {_many(left, 'iteration')} of "
                             f"{_many(len(self.config.fed), 'part')} need {needed - used:,} more; {mend} (dropped: {dropped})")

    def tasks(self, split: str) -> str:
        """The file with these prompts; the folder where several files hold them."""
        files = sorted((self.root / "pool" / "data").glob(f"{split}-*.parquet"))
        return str(files[0]) if len(files) == 1 else str(self.root / "pool")

    def measured(self) -> list[Task]:
        """What every model is measured on."""
        return read_tasks(self._held["tasks"], split=self._held["split"])

    def battle(self, folder: Path, target: Fighter, part: int) -> StepRecord:
        """The target fights every rival on a part of the prompts."""
        split = f"part{part}"
        with self._doing(folder, "battle", f"{target.label} against {len(self.config.rivals)} rivals on {split}"):
            manifest = self._fight(folder, target, [target], self._where(split), measuring=False)
            prompts = manifest["rows"]["in"] // len(self.config.rivals)
            return self._read(self._record(folder, "battle", manifest["rows"]["out"],
                                           {"prompts": prompts, **_own(manifest, target.label)}))

    def evaluate(self, folder: Path, candidate: Fighter, others: Sequence[Fighter]) -> StepRecord:
        """The candidate against the other models and every rival, on what no training sees."""
        with self._doing(folder, "evaluate", f"{candidate.label} is measured"):
            manifest = self._fight(folder, candidate, [candidate, *others], self._held, measuring=True)
            made = self._record(folder, "evaluate", manifest["rows"]["splits"].get("train", 0), _own(manifest, candidate.label))
            return made if others else self._read(made)  # of a new model the gates say so

    def select(self, folder: Path, stage: StageName, battles: str, target: str, iteration: int) -> StepRecord:
        """What a stage learns from: battles that the target lost. No rows where it lost none by enough."""
        with self._doing(folder, "select", "lost battles are selected"):
            recipe = ArenaLearning(self.config.select_config(stage, battles, target, iteration=iteration, ledger=self.ledger))
            try:
                manifest = self._make(recipe, folder)
            except NothingSelected as error:
                return msgspec.structs.replace(self._record(folder, "select", 0, {}), state="skipped", reason=str(error))
            return self._record(folder, "select", manifest["rows"]["out"], {"k": recipe.config.k_for(stage)})

    def mark(self, battles: str) -> str:
        """What tells an evaluation that was there before from others, wherever it stands in the settings."""
        return str((_json(Path(battles) / "config.json") or {}).get("id", ""))[:8]

    def train(self, folder: Path, stage: StageName, data: Sequence[Path], start: Fighter, reward: Fighter | None) -> StepRecord:
        """A stage of training on these datasets."""
        with self._doing(folder, "train", f"{start.label} learns by {stage}"):
            left = self._left(folder)
            config = self.config.train_config(stage, [{"source": str(one)} for one in data], start.weights,
                                              start.model.revision)
            given = config.model_dump(exclude_unset=True)
            given["budget"] = {name: cap for name, cap in left if name in type(config.budget).model_fields}
            if left.seconds is not None:  # a training counts its earlier attempts, and so did the campaign
                given["budget"]["seconds"] = left.seconds + read_work(folder).seconds
            if stage == "online" and reward is not None and not self.config.online.train.get("rewards"):
                given["rewards"] = [{"model": reward.weights}]
            told = TrainProgress(self.progress.style)
            with self._capped(folder):
                manifest = train(load_stage(stage), type(config).model_validate(given), folder, update=self.update,
                                 progress=told).manifest
            figures = {"steps": manifest["steps"], "loss_first": manifest["loss"]["first"], "loss_last": manifest["loss"]["last"]}
            return self._record(folder, "train", manifest["rows"]["used"], figures)

    def divergence(self, folder: Path, model: Fighter, start: Fighter) -> dict[str, Any]:
        """The KL divergence of a model from the start, on prompts that no training sees; what the manifest notes of it."""
        from pica.eval.divergence import Divergence

        with self._doing(folder, "evaluate", f"how far {model.label} went from {start.label}"):
            values = {**self.config.shared(self._left(folder), self.ledger), "model": model.scored, "start": start.scored,
                      **self._held}
            manifest = self._make(Divergence(self.config.divergence_config(values)), folder)
            return dict(manifest["notes"])

    def embedder(self, name: str) -> Embedder | None:
        """The embedder of that name, opened once a campaign; None for `none`."""
        if name != "none" and name not in self._embedders:
            self._embedders[name] = open_embedder(name)
        return self._embedders.get(name)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """The battles of an evaluation, those of its audit left out."""
        return list(open_source(str(folder)))

    def spent(self, folder: Path) -> Spent:
        """What a step has used, one that is under way as well."""
        found = _json(folder / "manifest.json")
        if (folder / "settings.json").is_file():
            own = stats(folder / "ledger.sqlite").models if (folder / "ledger.sqlite").is_file() else ()
            work = read_work(folder)
            steps, seconds = (found["steps"], found["seconds"]) if found else (work.step, round(work.seconds, 3))
            return Spent(sum(one.calls for one in own), sum(one.prompt_tokens + one.completion_tokens for one in own),
                         sum(one.cost for one in own), steps, seconds)
        seconds = found["seconds"] if found else 0.0
        used = self._owners().get(str((_json(folder / "config.json") or {}).get("id", "")))
        if used is None:
            return Spent(seconds=seconds)
        return Spent(used.calls, used.prompt_tokens + used.completion_tokens, used.cost, 0, seconds)

    def total(self) -> Spent:
        """What the campaign has used so far. Seconds are those of its work, whatever it was."""
        found = sum((self.spent(folder) for folder in self._folders()), Spent())
        return Spent(found.calls, found.tokens, found.cost, found.train_steps, round(self.seconds, 3))

    def _owners(self) -> dict[str, Used]:
        """What each folder's calls have used, counted again only where the ledger has changed."""
        files = [self.ledger, self.ledger.with_name(f"{self.ledger.name}-wal")]
        state = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
        if self._counted is None or self._counted[0] != state:
            self._counted = state, spent_by_owner(self.ledger)
        return self._counted[1]

    def _fight(self, folder: Path, target: Fighter, models: Sequence[Fighter], where: dict[str, Any], *, measuring: bool,
               ) -> dict[str, Any]:
        rivals = [rival.model_dump() for rival in self.config.rivals]
        values = {**self.config.shared(self._left(folder), self.ledger), **where, "target": target.label,
                  "models": [*(one.contestant for one in models), *rivals]}
        return self._whole(Arena(self.config.arena_config(values, measuring=measuring)), folder)

    def _whole(self, arena: Arena, folder: Path) -> dict[str, Any]:
        """The battles, asked for again where too many had no answer before. Raises `TooManyFailures` where too many have none."""
        before = (folder / "manifest.json").exists()
        manifest = self._make(arena, folder)
        if before and self._unanswered(manifest):
            manifest = self._make(arena, folder, retry=True)
        if found := self._unanswered(manifest):
            raise TooManyFailures(f"{self._named(folder)}: {found}; give the same command when they answer again: it asks for "
                                  f"what is missing (or allow more with missing=, now {self.config.missing:g})")
        return manifest

    def _unanswered(self, manifest: dict[str, Any]) -> str:
        """How many battles had no answer, and why; empty where they are few enough."""
        whys = {reason: count for reason, count in manifest["rows"]["rejected"].items() if reason.startswith(NO_ANSWER)}
        if sum(whys.values()) <= self.config.missing * manifest["rows"]["in"]:
            return ""
        told = ", ".join(f"{reason.removeprefix(NO_ANSWER)} {count:,}" for reason, count in whys.items())
        return f"{sum(whys.values()):,} of {manifest['rows']['in']:,} battles got no answer ({told})"

    def _read(self, made: StepRecord) -> StepRecord:
        """The record of battles, if enough of them have a verdict. Raises `TooManyFailures` where a judge cannot be read."""
        unscored, most = made.figures["unscored"], self.config.gates.unscored
        games = unscored + sum(made.figures[name] for name in ("wins", "ties", "losses"))
        if unscored > most * games:
            raise TooManyFailures(
                f"{unscored:,} of {games:,} games in {made.folder} have no verdict that can be read, and at most {most:.0%} may "
                f"have none (gates.unscored); see what the judge said in {self.root / made.folder}/report.html, and give the "
                "command with another judge and --update")
        return made

    @property
    def _held(self) -> dict[str, str]:
        """What every model is measured on, and no training sees."""
        return {"tasks": self.config.tasks, "split": ""} if self.config.tasks else self._where(HELD_OUT)

    def _where(self, split: str) -> dict[str, str]:
        tasks = self.tasks(split)
        return {"tasks": tasks, "split": "" if tasks.endswith(".parquet") else split}

    def _make(self, recipe: Recipe[Any], folder: Path, *, retry: bool = False) -> dict[str, Any]:
        with self._capped(folder):
            return asyncio.run(make(recipe, folder, update=self.update, retry=retry, progress=self.progress)).manifest

    @contextmanager
    def _capped(self, folder: Path) -> Iterator[None]:
        """A step that stops at what is left of a cap says so of the campaign's caps."""
        try:
            yield
        except BudgetSpent:
            caps, work = ", ".join(f"{name}={cap:g}" for name, cap in self.config.budget if cap is not None), read_work(folder)
            at = f" at step {work.step:,} of {work.steps:,}" if work.steps else ""
            raise BudgetSpent(f"the campaign's budget ({caps}) was spent in {self._named(folder)}{at}; raise it and give the "
                              "same command to go on") from None

    def _left(self, folder: Path) -> Budget:
        """What a step may use: the campaign's caps less what all other steps have used. Raises `BudgetSpent`."""
        caps = self.config.budget
        if caps == CampaignBudget():
            return Budget()
        others = sum((self.spent(one) for one in self._folders() if one != folder), Spent())
        left: dict[str, Any] = {}
        for name, used in (("calls", others.calls), ("tokens", others.tokens), ("cost", others.cost), ("seconds", self.seconds)):
            cap = getattr(caps, name)
            if cap is not None:
                left[name] = cap - used
                if left[name] <= 0:
                    raise BudgetSpent(f"budget.{name}={cap:g} is spent ({used:,.6g} used) before {self._named(folder)}; raise it "
                                      "and give the same command to go on")
        return Budget(**left)

    @contextmanager
    def _doing(self, folder: Path, kind: StepKind, what: str) -> Iterator[None]:
        """Say that a step begins, and keep how it is recorded should it stop."""
        self.progress.say(f"{self._named(folder)}: {what}")
        self.under_way = StepRecord(name=folder.name, kind=kind, folder=self._relative(folder), state="stopped")
        yield
        self.under_way = None

    def _record(self, folder: Path, kind: StepKind, rows: int, figures: dict[str, Any]) -> StepRecord:
        return StepRecord(name=folder.name, kind=kind, folder=self._relative(folder), state="done", rows=rows, figures=figures)

    def _relative(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _named(self, folder: Path) -> str:
        return self._relative(folder).replace("iterations/", "iteration ").replace("/", ", ")

    def _folders(self) -> Iterator[Path]:
        """The folders of all steps so far."""
        for pattern in ("pool", "start/*", "iterations/*/*"):
            yield from (path for path in sorted(self.root.glob(pattern)) if path.is_dir())


def _own(manifest: dict[str, Any], label: str) -> dict[str, Any]:
    """Rows that were rejected in an evaluation; wins, ties and losses of a model there, and what was not scored."""
    entry = next(one for one in manifest["notes"]["leaderboard"] if one["model"] == label)
    return {"rejected": sum(manifest["rows"]["rejected"].values()),
            **{name: entry[name] for name in ("wins", "ties", "losses", "unscored", "missing")}}


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _json(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None

