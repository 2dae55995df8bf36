"""A campaign from start to end: turn the wheel, decide, keep what is proven better, write down everything.

    campaign = run_campaign(config, Path("F"))

An iteration that is decided (`decision.json`) is never touched again. Everything before that is made of steps that can be given
again (`pica.recipes.flywheel.steps`), so a campaign that was killed, or stopped by an error, goes on by the same command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pica.eval.tasks import said
from pica.recipes.flywheel import gates
from pica.recipes.flywheel.config import START, FlywheelConfig, StageName
from pica.recipes.flywheel.fighter import Fighter, start_of, trained
from pica.recipes.flywheel.fixed import refuse_changes
from pica.recipes.flywheel.place import follow, note, root_of
from pica.recipes.flywheel.ratings import Rated, rate
from pica.recipes.flywheel.reason import reason_of
from pica.recipes.flywheel.records import Campaign, Decision, Gate, Iteration, StepRecord
from pica.recipes.flywheel.report import write_campaign_report
from pica.recipes.flywheel.shape import Look, look
from pica.recipes.flywheel.steps import Steps
from pica.recipes.flywheel.turn import Turn
from pica.recipes.prompt_pool.contamination import compared
from pica.synth.errors import BudgetSpent, Interrupted, PicaError
from pica.synth.folder import DatasetFolder
from pica.synth.progress import Progress


class NothingLearnt(PicaError):
    """No stage of an iteration found anything to learn from."""


@dataclass(frozen=True)
class Outcome:
    """What a campaign came to. `fresh` is false where it was complete already."""

    folder: Path
    campaign: Campaign
    fresh: bool


def run_campaign(config: FlywheelConfig, out: Path, *, update: bool = False, progress: Progress | None = None,
                 clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Run the campaign in folder `out`, or go on with it, or find it complete.

    `update`: changed settings hold for what is not decided yet; steps that they change are made again. `clock` gives the seconds
    that `budget.seconds` caps (a training goes by its own). Raises what stopped it
    (`Stopped`, `ModelError`, `UsageError`, `Diverged`, `NothingLearnt`, or an error that nobody foresaw), once `campaign.json`
    says so.
    """
    folder = DatasetFolder(out)
    try:
        follow(folder)
        update = update or _untouched(folder)
        if update:
            refuse_changes(config, out)
        folder.claim("flywheel", config.identity(), update=update)
        note(folder)
        return Wheel(config, folder, update=update, progress=progress or Progress("quiet"), clock=clock).run()
    finally:
        folder.close()


class Wheel:
    """A campaign being run."""

    def __init__(self, config: FlywheelConfig, folder: DatasetFolder, *, update: bool, progress: Progress,
                 clock: Callable[[], float]) -> None:
        self.config, self.folder, self.root = config, folder, root_of(folder)
        self.progress = progress
        self.iterations: list[Iteration] = []
        self.start = start_of(config)
        self.turning: Turn | None = None
        self._ratings: dict[int, Rated] = {}
        self.before = self._last()
        self.steps = Steps(config, self.root, update, progress, self.before.spent.seconds if self.before else 0.0, clock)

    def run(self) -> Outcome:
        """Every iteration, in order."""
        self.iterations = list(self._decided())
        fresh = len(self.iterations) <= self.config.iterations
        if not fresh and self.before and self.before.state == "complete":
            return Outcome(self.folder.path, self.before, fresh)
        with self._told():
            if fresh:
                self._turn_all()
            return Outcome(self.folder.path, self._write("complete"), fresh)

    def _last(self) -> Campaign | None:
        """What campaign.json said last; None where it is not there, or another version wrote it."""
        try:
            return msgspec.json.decode((self.root / "campaign.json").read_bytes(), type=Campaign)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _turn_all(self) -> None:
        config = self.config
        config.check()
        for name in (config.collapse.embedder, config.gates.embedder):
            self.steps.embedder(name)  # an unknown one is an error before anything runs
        if self.iterations:
            refuse_changes(config, self.folder.path)
        self.steps.pool(self._parts_used, config.iterations - max(len(self.iterations) - 1, 0))
        config.gates.check({task.category for task in self.steps.measured()})
        if not self.iterations:
            self._begin()
        self._write("running")
        while len(self.iterations) <= config.iterations:
            self._turn(len(self.iterations))

    def _decided(self) -> Iterator[Iteration]:
        """The iterations that are decided, the start first."""
        for number in range(self.config.iterations + 1):
            file = self._place(number) / "decision.json"
            if not file.is_file():
                return
            yield msgspec.json.decode(file.read_bytes(), type=Iteration)

    @property
    def _parts_used(self) -> int:
        """Parts of the prompts that decided iterations fought on: the first ones, whatever stages there were."""
        return sum(step.kind == "battle" for one in self.iterations for step in one.steps)

    def _place(self, number: int) -> Path:
        return self.root / "iterations" / f"{number:02d}" if number else self.root / START

    def _begin(self) -> None:
        """Measure the model that the campaign starts from."""
        turn = self.turning = Turn(0, self._place(0), self.start, self.start)
        self._step(turn, self.steps.evaluate(turn.folder / "evaluation", self.start, []))
        audit = orjson.loads((turn.folder / "evaluation" / "audit.json").read_bytes())
        if not gates.judge(audit, self.config.gates).passed:
            turn.warnings.append(f"the judge did not pass its audit at the start: {audit['sentence']}")
        shape = look(self.steps, turn.folder, self.start, self.start)
        self._decide(turn, Decision(promoted=True, reason="the model that the campaign starts from", best=START), shape)

    def _turn(self, number: int) -> None:
        best = self._fighter(self.iterations[-1])
        learnt = next(one.learnt for one in self.iterations if one.candidate == best.label)
        turn = self.turning = Turn(number, self._place(number), best, best, learnt=list(learnt))
        for stage in self.config.ordered:
            self._learn(turn, stage)
        if turn.model is best:
            whys = "; ".join(f"{step.name}: {step.reason}" for step in turn.steps if step.state == "skipped")
            end = f", or end the campaign with iterations={number - 1}" if number > 1 else ""
            raise NothingLearnt(f"iteration {number} found nothing to learn from ({whys}); change the rules of its stages and "
                                f"give the command with --update (battles are kept){end}")
        candidate = Fighter(turn.label, turn.model.model, turn.model.weights)
        self._step(turn, self.steps.evaluate(turn.folder / "evaluation", candidate, [best]))
        shape = look(self.steps, turn.folder, candidate, self.start)
        turn.warnings += shape.warnings
        turn.gates = self._gates(turn, candidate)
        self._decide(turn, gates.decide(turn.gates, candidate=candidate.label, current=best.label), shape)

    def _learn(self, turn: Turn, stage: StageName) -> None:
        """A stage of an iteration: battles on its part of the prompts, what was lost in them, and training on that."""
        config, folder = self.config, turn.folder
        if stage in config.fed:
            fought = folder / f"battles-{stage}"
            self._step(turn, self.steps.battle(fought, turn.model, config.part(self._parts_used, stage)))
            turn.battles = str(fought)
        selected = [self.steps.select(folder / f"data-{stage}", stage, turn.battles, turn.model.label, turn.number),
                    *self._given(turn, stage)]
        turn.data[stage] = sum(step.rows for step in selected)
        if why := self._unfit(turn, stage):
            selected = [msgspec.structs.replace(step, state="skipped", reason=step.reason or why) for step in selected]
        for step in selected:
            self._step(turn, step)
        if data := [self.root / step.folder for step in selected if step.state == "done"]:
            self._train(turn, stage, [*self._earlier(stage), *data])

    def _unfit(self, turn: Turn, stage: StageName) -> str:
        """Why a stage is left out, whatever was selected; empty where it is not."""
        least = self.config.stage(stage).least
        if stage == "online" and "reward" in self.config.stages and turn.reward is None:
            return "there is no reward model to score answers"
        return f"{turn.data[stage]:,} rows are selected, and least={least}" if turn.data[stage] < least else ""

    def _train(self, turn: Turn, stage: StageName, data: list[Path]) -> None:
        start, folder = turn.model, turn.folder / stage
        if stage == "sft" and self.config.sft_from == "start":
            start, turn.learnt = self.start, []
        turn.learnt += [place for one in data if (place := one.relative_to(self.root).as_posix()) not in turn.learnt]
        self._step(turn, self.steps.train(folder, stage, data, start, turn.reward))
        made = trained(f"{turn.label} {stage}", folder, self.config)
        if stage == "reward":
            turn.reward = made
        else:
            turn.model = made

    def _given(self, turn: Turn, stage: StageName) -> list[StepRecord]:
        """What is learnt from evaluations that were there before, each by the first iteration that finds it in the settings."""
        taken = {step.name for one in self.iterations for step in one.steps}
        names = {f"data-{stage}-given-{self.steps.mark(battles)}": battles for battles in self.config.battles}
        return [self.steps.select(turn.folder / name, stage, str(Path(battles).absolute()), "", turn.number)
                for name, battles in names.items() if name not in taken]

    def _earlier(self, stage: StageName) -> list[Path]:
        """The data of the same stage of earlier iterations, where it is to be learnt from again; without that of iterations that
        were refused for what it holds."""
        if not self.config.accumulate:
            return []
        clean = [one for one in self.iterations if all(gate.passed for gate in one.gates if gate.name == "clean")]
        return [self.root / step.folder for one in clean for step in one.steps
                if step.kind == "select" and step.state == "done" and step.name.startswith(f"data-{stage}")]

    def _gates(self, turn: Turn, candidate: Fighter) -> list[Gate]:
        config, rows = self.config.gates, self.steps.rows(turn.folder / "evaluation")
        audit = orjson.loads((turn.folder / "evaluation" / "audit.json").read_bytes())
        learnt = {place: prompts_of(self.root / place) for place in turn.learnt}
        overlaps = gates.find_overlaps(
            learnt, {"the evaluation": sorted({said(row["prompt"]) for row in rows})}, ngram=self.config.pool_config(1).ngram,
            embedder=self.steps.embedder(config.embedder), distance=config.distance, among=compared(self.root / "pool"))
        return [gates.better(rows, candidate.label, turn.best.label, config, decision=turn.number),
                gates.categories(rows, candidate.label, turn.best.label, config),
                gates.clean(overlaps, sum(map(len, learnt.values()))), gates.judge(audit, config),
                gates.budget(self.steps.total(), self.config.budget)]

    def _step(self, turn: Turn, step: StepRecord) -> None:
        """A step is done: keep it, and say so in campaign.json."""
        turn.steps.append(step)
        self._write("running")

    def _decide(self, turn: Turn, decision: Decision, shape: Look) -> None:
        """Write the decision; from now on the iteration stays as it is."""
        rated = self._rated(turn.number + 1)
        model = Path(turn.model.weights.removeprefix("hf/"))
        inside = model.is_relative_to(self.root)
        record = turn.record(
            decision=decision, collapse=shape.figures, ratings=rated.by_iteration.get(turn.number, []), method=rated.method,
            model=model.relative_to(self.root).as_posix() if inside else turn.model.model.name)
        file = turn.folder.relative_to(self.root) / "decision.json"
        self.folder.write_text(file.as_posix(), msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n")
        self.iterations.append(record)
        self.turning = None
        self.progress.say(f"{turn.label}: {decision.reason}")
        self._write("running")

    def _fighter(self, last: Iteration) -> Fighter:
        """The best model after an iteration."""
        assert last.decision is not None
        best = next(one for one in self.iterations if one.candidate == last.decision.best)
        if best.number == 0:
            return self.start
        return trained(best.candidate, self.root / best.model, self.config)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever stops the campaign is written down before it is raised."""
        try:
            yield
        except KeyboardInterrupt:
            error = Interrupted("interrupted; what is done is kept: give the same command to go on")
            self._stop(error)
            raise error from None
        except Exception as error:
            with suppress(OSError):  # a full disk: what stopped the campaign is to be raised, not that it cannot be written down
                self._stop(error)
            raise

    def _stop(self, error: Exception) -> None:
        """Write down why, and in which step."""
        turn, step, reason = self.turning, self.steps.under_way, reason_of(error, self.config)
        if turn is not None and step is not None:
            turn.steps.append(msgspec.structs.replace(step, reason=reason))
        if turn is not None and turn.number and isinstance(error, BudgetSpent):
            turn.gates = [Gate("budget", False, reason)]
        self._write("stopped", reason)

    def _rated(self, count: int) -> Rated:
        """All models of the first `count` iterations on one scale, worked out once."""
        if count not in self._ratings:
            config, arena = self.config, self.config.arena_config({})
            rows = {number: self.steps.rows(self._place(number) / "evaluation") for number in range(count)}
            self._ratings[count] = rate(rows, anchor=START, level=config.gates.level, rounds=config.rounds,
                                        seed=config.seed, prior=arena.prior, strong=arena.strong)
        return self._ratings[count]

    def _write(self, state: Any, reason: str = "") -> Campaign:
        """Write campaign.json and the page, as things stand."""
        iterations = [self._with_costs(one) for one in self.iterations]
        rated = self._rated(len(self.iterations)) if self.iterations else None
        if self.turning is not None:
            refused = [f"{gate.name}: {gate.reason}" for gate in self.turning.gates if not gate.passed]
            decision = Decision(promoted=False, reason="; ".join(refused), best=self.turning.best.label) if refused else None
            iterations.append(self._with_costs(self.turning.record(decision=decision)))
        best = self._fighter(self.iterations[-1]) if self.iterations else self.start
        warnings = [*(rated.warnings if rated else []),
                    *(f"{one.candidate}: {text}" for one in iterations for text in one.warnings)]
        campaign = Campaign(
            state=state, reason=reason, best=best.label, best_model=self._shown(best), iterations=iterations,
            ratings=rated.ratings if rated else [], method=rated.method if rated else "", spent=self.steps.total(),
            warnings=warnings)
        self.folder.write_text("campaign.json", msgspec.json.format(msgspec.json.encode(campaign), indent=2).decode() + "\n")
        write_campaign_report(campaign, self.folder.path)
        return campaign

    def _with_costs(self, iteration: Iteration) -> Iteration:
        """With what every step has used, which decision.json leaves out."""
        return msgspec.structs.replace(iteration, steps=[
            msgspec.structs.replace(step, spent=self.steps.spent(self.root / step.folder)) for step in iteration.steps])

    def _shown(self, fighter: Fighter) -> str:
        """A model's name for other commands, its folder as the user calls it."""
        path = Path(fighter.weights.removeprefix("hf/"))
        if fighter.label == START or not path.is_relative_to(self.root):
            return fighter.model.name
        return f"hf/{self.folder.path / path.relative_to(self.root)}"


def _untouched(folder: DatasetFolder) -> bool:
    """Whether a campaign began here and no model was asked: the settings that it failed with must not stand in the way of
    mended ones."""
    known = folder.read("config.json")
    asked = (folder.path / START / "evaluation" / "config.json").exists()
    return isinstance(known, dict) and known.get("recipe") == "flywheel" and not asked


def prompts_of(folder: Path) -> list[str]:
    """What the user says in the prompts of a dataset that was learnt from."""
    from pica.synth.formats import prompt_of
    from pica.synth.source import open_source

    return [said(prompt_of(row)) for row in open_source(str(folder))]
