"""Arena Learning: what the target lost becomes data.

    pica run arena-learning battles=EVAL_DIR k=3 --out D
    pica run arena-learning models=[hf/M,openai/A,openai/B] target=hf/M judge=openai/J tasks=POOL split=part1 --out D

Source: "Arena Learning: Build Data Flywheel for LLMs Post-training via Simulated Chatbot Arena" (arXiv 2407.10627). What the
paper leaves open, and what is chosen here, is in this folder's README.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from pica.eval.arena import Arena
from pica.eval.arena_config import ArenaConfig
from pica.eval.contestants import read_answers
from pica.eval.judging_config import JudgingConfig
from pica.eval.tasks import read_tasks
from pica.recipes.arena_learning.config import ArenaLearningConfig
from pica.recipes.arena_learning.fought import fought
from pica.recipes.arena_learning.held import overlaps
from pica.recipes.arena_learning.losses import Losses
from pica.recipes.arena_learning.reading import Battles, benchmark_warning, read_battles
from pica.recipes.arena_learning.rows import KS, ROWS, Fight, Maker, Weighed
from pica.recipes.arena_learning.rules import Rules
from pica.synth.card import Role
from pica.synth.errors import UsageError
from pica.synth.formats import pair
from pica.synth.markdown import code, plain
from pica.synth.models.base import ModelConfig
from pica.synth.plan import Plan, Step
from pica.synth.preferences import Diagnosis, diagnose
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import PREFERENCE, Pane, Report, Section, Side
from pica.synth.rows import Column, Provenance
from pica.synth.run import Draft, Run, together
from pica.synth.table import Table

BATTLE = Pane((Side("rival_answer", "Rival", "rival_score", "rival"), Side("target_answer", "Target", "target_score", "target")),
              title="Battle", outcome="result")
ANSWERS = ("rival_answer", "target_answer")  # of a pair, chosen and rejected say the same


class NothingSelected(UsageError):
    """No battle was lost by as much as the rules ask for."""


class ArenaLearning(Recipe[ArenaLearningConfig]):
    """Lost battles in, data out."""

    name = "arena-learning"
    config_class = ArenaLearningConfig

    def __init__(self, config: ArenaLearningConfig) -> None:
        super().__init__(config)
        self.arena = None if config.battles else Arena(_arena_config(config))
        self.maker: Maker
        self.fights: Sequence[Fight] = ()  # what is known before the first row: all of it, or the prompts alone
        self.rivals: Sequence[str] = ()
        self.notes: dict[str, Any] = {}
        self.roles: list[Role] | None = None  # who wrote and judged battles that were read
        self.losses: Losses
        self.diagnosis: Diagnosis | None = None

    @property
    def row_class(self) -> type[Provenance]:
        """Conversations, pairs or prompts."""
        return ROWS[self.config.use]

    @property
    def models(self) -> list[ModelConfig]:
        """Who fights and who judges; nobody where the battles were fought."""
        return self.arena.models if self.arena else []

    @property
    def source_rows(self) -> int | None:
        """Prompts."""
        return len(self.fights)

    @property
    def wanted(self) -> int:
        """Rows asked for, or as many as there can be."""
        return self.config.n or max(1, len(self.fights) * max(1, len(self.rivals)))

    async def prepare(self, run: Run) -> None:
        """Read battles or tasks, and look for prompts that must not be learnt from. Raises `UsageError`."""
        config = self.config
        if self.arena is None:
            read = read_battles(config)
            target, ratings, fights = read.target, read.ratings, list(read.fights)
            self.rivals, self.notes, self.roles = read.rivals, _notes_of(read), list(read.roles)
        else:
            target, ratings, fights = await self._enrol(self.arena, run), config.ratings, _unfought(self.arena)
        found = overlaps(config, [fight.prompt for fight in fights])
        self.fights = [replace(fight, overlap=overlap) for fight, overlap in zip(fights, found, strict=True)]
        self.maker = Maker(target, rules_of(config), config.use, config.seed, ratings)

    async def _enrol(self, arena: Arena, run: Run) -> str:
        """Set up the battles that are fought here; returns the target's label."""
        config = self.config
        await arena.prepare(run)
        target = config.target or arena.labels[0]
        self.rivals = config.rivals or [label for label in arena.labels if label != target]
        for key, label in [("target", target), *(("rivals", rival) for rival in self.rivals)]:
            if label not in arena.labels or (key == "rivals" and label == target):
                raise UsageError(f"{key}: {label!r} does not compete; labels: {', '.join(arena.labels)}")
        self.notes = {
            "target": {"label": target, "why": "as given" if config.target else "the first of the models"},
            "audit": "the judge was not audited here; see pica audit", "judge_prompt": arena.judge.prompt.hash,
            "warnings": benchmark_warning(config.tasks, "these battles")}
        return target

    async def make_row(self, draft: Draft) -> list[msgspec.Struct]:
        """The rows of a prompt: its battles are fought, all at once, unless they were."""
        fight = self.fights[draft.index]
        if self.arena is not None and not fight.overlap:
            arena, task, target = self.arena, self.arena.tasks[draft.index], self.maker.target
            asked = "messages" if self.config.use == "sft" else "prompt"
            draft.keep(**{asked: list(task.conversation)}, target=target, tags=list(task.tags))
            rows = await together(*(arena.battle(draft, task, target, rival) for rival in self.rivals))
            plain = [{**msgspec.to_builtins(row), "calls": draft.calls} for row in rows]
            fight = replace(fight, battles=fought(plain, target, self.maker.rules))
        return self.maker.rows(fight)

    def finish(self, table: Table, progress: Progress) -> None:
        """Where the target loses; then only what is selected stays. Raises `NothingSelected` where that is nothing at all."""
        config = self.config
        self.losses = Losses(self.maker.rules, config.k_for(config.use), config.level, len(self.rivals))
        why = []
        for row in table.rows():
            self.losses.add(row)
            why.append((row["kept_out"], row["detail"]))
        self._note(table)
        for reason in dict.fromkeys(reason for reason, _ in why if reason):
            table.keep([one != reason for one, _ in why], reason, [detail for _, detail in why])
            why = [one for one in why if one[0] != reason]
        if not len(table):
            if table.candidates >= self.candidates:
                raise NothingSelected(self._nothing(table))
            return
        if config.use in {"dpo", "reward"}:
            self.diagnosis = diagnose(pair(row) for row in islice(table.rows(), config.n or None))
            table.notes["preferences"] = self.diagnosis.to_json()
            table.notes["warnings"] += self.diagnosis.warnings()

    def _nothing(self, table: Table) -> str:
        """What was looked at, and what to lower."""
        losses, k = self.losses, self.losses.k
        if losses.counts["held"] == losses.counts["prompts"]:
            return (f"nothing is selected: all {losses.counts['held']:,} prompts hold one that must not be learnt from "
                    f"(decontaminate={self._decontaminate()}), so no battle counts; give other prompts, or leave out of "
                    f"decontaminate= what these come from{self._again()}")
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in table.reasons().most_common())
        largest = "no battle has a gap" if losses.greatest is None else f"the largest gap is {losses.greatest:g} and k={k:g}"
        said = (f"nothing is selected of {table.candidates:,} prompts with {losses.counts['battles']:,} battles: {reasons}; "
                f"{largest}")
        enough = [(at, count) for at, count in zip(KS, losses.at, strict=True) if count and at < k]
        lower = [f"lower k: k={at} selects {count:,}" for at, count in enough[-1:]]
        other = ("lost_to=any" if self.config.lost_to != "any" else "swap=mean" if self.config.swap != "mean"
                 else "at_k=take" if self.config.at_k == "skip" and losses.greatest == k else "")
        if not lower and other:
            lower = [f"try {other}"]
        mend = " or ".join(lower) or "give other prompts or stronger rivals, or look at the judge"
        return f"{said}{self._points()}; {mend}{self._again()}"

    def _points(self) -> str:
        """What outcomes count, where judges gave some."""
        config, k = self.config, self.losses.k
        if not (self.notes.get("outcomes") or (self.arena and config.verdict == "pairwise")):
            return ""
        clear = ", so that k=1 takes every clear loss" if 1 < config.better <= k else ""
        return (f"; the judge gave outcomes, of which better counts {config.better:g} points and much better {config.much:g}"
                f"{clear}")

    def _again(self) -> str:
        return " (with --update; what was answered is kept)" if self.arena else ""

    def _decontaminate(self) -> str:
        return ", ".join(dict.fromkeys(one.source for one in self.config.decontaminate))

    def _note(self, table: Table) -> None:
        """What the manifest says."""
        config, losses = self.config, self.losses
        names = ("prompts", "held", "battles", "without_gap", "unscored", "incomplete", "lost_at_all", "lost", "selected")
        counts = {name: losses.counts[name] for name in names}
        counts["selected"] = min(counts["selected"], self.wanted)
        rules = {**self.maker.rules.model_dump(), "k": losses.k, "wins": config.takes_wins}
        warnings = [*self.notes.get("warnings", []), *_warnings(losses)]
        table.notes.update({
            **self.notes, "rivals": list(self.rivals), "use": config.use, "rules": rules, "counts": counts,
            "selected_at_k": {str(k): count for k, count in zip(KS, losses.at, strict=True)}, "losses": losses.to_json(),
            "unfit": dict(losses.unfit), "warnings": warnings})

    def sections(self, table: Table) -> list[Section]:
        """Where the target loses, and what there is to say of pairs."""
        return [*self.losses.sections(), *(self.diagnosis.sections() if self.diagnosis else [])]

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The overview, with both answers of the battle side by side."""
        report = super().report(folder, table, manifest, wanted)
        return replace(report, rows=map(_shown, report.rows), panes=(PREFERENCE, BATTLE))

    def card(self, table: Table) -> str:
        """What the data is and how it was selected."""
        notes, config, k = table.notes, self.config, self.losses.k
        counts, target = notes["counts"], notes["target"]
        return "\n\n".join([
            f"Battles of {code(target['label'])} ({plain(target['why'])}) with {', '.join(map(code, self.rivals))}, judged "
            f"{_told(self.arena, config, notes)} (Arena Learning, [arXiv:2407.10627](https://arxiv.org/abs/2407.10627)).",
            f"{_USES[config.use]} {'more than' if config.at_k == 'skip' else 'at least'} {k:g} points: "
            f"`swap={config.swap}`, `lost_to={config.lost_to}`, `winner={config.winner}`. Of {counts['prompts']:,} prompts with "
            f"{counts['battles']:,} battles the target lost {counts['lost_at_all']:,} at all and {counts['lost']:,} by so much; "
            f"{counts['without_gap']:,} battles have no gap, {counts['unscored']:,} verdicts could not be read.",
            *([f"The judge gave outcomes, not scores, in some battles: better counts {config.better:g} points, much better "
               f"{config.much:g}."] if notes.get("outcomes") or (self.arena and config.verdict == "pairwise") else []),
            *(f"Note: {plain(warning)}." for warning in notes["warnings"])])

    @property
    def wrote(self) -> list[Role]:
        """Who answered and who judged, here or in the evaluations."""
        return super().wrote if self.roles is None else self.roles

    def plan(self) -> Plan:
        """Calls a prompt; none where the battles were fought."""
        config = self.config
        if self.arena is None:
            return Plan(len(read_battles(config).fights), [])
        labels = [*(one.title for one in config.models), *(read_answers(config.answers) if config.answers else ())]
        rivals = config.rivals or labels[1:]
        fighting = {config.target or labels[0], *rivals} if config.rivals else set(labels)
        steps = [Step(f"answer {one.title}"[:14], one.model, 1, 200, min(config.answer.max_tokens, 500))
                 for one in config.models if one.title in fighting]
        steps += [Step("judge", judge, len(rivals) * len(self.arena.panel.orders), 1500, 150) for judge in config.judge]
        return Plan(len(read_tasks(config.tasks, split=config.split, categories=config.categories)), steps)


_USES = {"sft": "The winner's answer where the target lost by",
         "dpo": "The winner's answer against the target's where it lost by",
         "reward": "A pair for every battle that was decided by", "online": "The prompts that the target lost by"}


def rules_of(config: ArenaLearningConfig) -> Rules:
    """The rules alone."""
    return Rules(**{name: getattr(config, name) for name in Rules.model_fields})


def _arena_config(config: ArenaLearningConfig) -> ArenaConfig:
    """The arena in which battles are fought here: all tasks, and no audit."""
    values = {name: getattr(config, name) for name in JudgingConfig.model_fields if name != "n"}
    return ArenaConfig.model_validate({**values, "verdict": config.verdict, "audit": 0})


def _unfought(arena: Arena) -> list[Fight]:
    return [Fight(task.id, task.category, task.tags, task.conversation) for task in arena.tasks]


def _notes_of(read: Battles) -> dict[str, Any]:
    """What the manifest says of battles that were fought before."""
    warnings = list(read.warnings)
    if read.missing:
        warnings.append(f"{read.missing:,} judgments could not be made in these evaluations; their prompts lack rivals, or are "
                        "missing (--retry there asks again)")
    return {"target": {"label": read.target, "why": read.why_target}, "evaluations": list(read.evaluations),
            "outcomes": read.outcomes, "warnings": warnings,
            **({"ratings": {name: round(value, 1) for name, value in read.ratings.items()}} if read.ratings else {})}


def _warnings(losses: Losses) -> list[str]:
    """What is wrong with the battles."""
    counts, found = losses.counts, []
    if counts["incomplete"]:
        found.append(f"{counts['incomplete']:,} of {counts['prompts']:,} prompts have no battle with some rival")
    if counts["without_gap"]:
        found.append(f"{counts['without_gap']:,} of {counts['battles']:,} battles have no gap (no verdict, or orders that "
                     "disagree) and count for nothing")
    if losses.unfit:
        why = ", ".join(f"{reason} ({count:,})" for reason, count in losses.unfit.most_common())
        found.append(f"{losses.unfit.total():,} decided battles of selected prompts cannot be learnt from: {why}")
    return found


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the report shows it, every answer once: as a pair where it is one, else as the battle that it comes from."""
    hidden = {*Weighed.__struct_fields__, "messages", *(ANSWERS if row.get("chosen") else ("chosen", "rejected"))}
    said = row.get("messages") or []
    asked = said[:-1] if said and said[-1]["role"] == "assistant" else said
    return {"prompt": asked} | {name: value for name, value in row.items() if name not in hidden}


def _told(arena: Arena | None, config: ArenaLearningConfig, notes: Mapping[str, Any]) -> str:
    """Where battles were judged, or by whom."""
    if arena is None:
        counts = (about["battles"] for about in notes["evaluations"])
        return "in " + ", ".join(f"{code(Path(name).name)} ({count:,} battles)"
                                 for name, count in zip(config.battles, counts, strict=True))
    judges = ", ".join(code(judge.name) for judge in config.judge)
    return f"by {judges} ({'1 to 10 for each answer' if config.verdict == 'scores' else 'one of five outcomes'})"


RECIPE = ArenaLearning
