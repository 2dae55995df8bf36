"""What a campaign would do: the plans of its battles and trainings, put together before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pica.eval.arena import Arena
from pica.eval.audit.beside import Audited
from pica.eval.tasks import read_tasks
from pica.recipes.arena_learning.sources import check_battles
from pica.recipes.flywheel.config import FlywheelConfig, StageName
from pica.recipes.flywheel.fighter import Fighter, label_of, start_of
from pica.recipes.flywheel.gates import wins_needed
from pica.recipes.flywheel.limits import percent
from pica.recipes.flywheel.plan import FlywheelPlan, Planned, TrainEstimate, plan_campaign
from pica.synth.errors import Denied, UsageError
from pica.synth.models import open_model
from pica.synth.plan import Plan
from pica.synth.source import open_source
from pica.train.online import OnlineConfig

PROMPT_TOKENS, ANSWER_TOKENS = 200, 400  # typical lengths
ANSWERS = {"sft": 1, "dpo": 2, "reward": 2}  # in a row


def plan(config: FlywheelConfig) -> FlywheelPlan:
    """The plan of a campaign. Reads the data to count it; asks and trains nothing. Raises `UsageError`."""
    for model in [config.target, *(rival.model for rival in config.rivals), *config.judge]:
        open_model(model)  # an unknown one is an error; nothing is loaded or asked
    prompts = sum(len(open_source(name)) for name in config.sources)
    prompts = min(prompts, config.n or prompts)
    measured = config.held_out or len(read_tasks(config.tasks, n=config.evaluation.get("n", 0)))
    parts = config.iterations * len(config.fed)
    part = config.part_size or max(prompts - config.held_out, 0) // parts
    if part < 1 or prompts - config.held_out < part * parts:
        each = f" of {part:,}" if part else ""
        mend = "held_out or part_size" if config.part_size else "held_out"
        raise UsageError(f"{prompts:,} prompts less held_out={config.held_out:,} are too few for {config.iterations} iterations "
                         f"of {len(config.fed)} parts{each}; give more data, fewer iterations, or a smaller {mend}")
    start = start_of(config)
    size, device = _size(start, config)
    first: Planned = {"evaluation": _battles(config, [start], measured, measuring=True)}
    given = sum(len(source) for source in check_battles(config.battles))
    iterations = [_iteration(config, number, part, given, measured, size=size, device=device)
                  for number in range(1, config.iterations + 1)]
    notes = [f"prompts {prompts:,} before they are made ready: {measured:,} to measure on, {part:,} a part"]
    notes += _gates(config, measured)
    if config.collapse.kl:
        notes.append(f"the KL divergence to the start asks each iteration's model for {config.collapse.kl} answers more")
    return plan_campaign(first, iterations, notes)


def _gates(config: FlywheelConfig, prompts: int) -> list[str]:
    """What the gates ask of a model in the first iteration and in the last, and how often luck passes."""
    gates, last = config.gates, config.iterations
    told = []
    for number in (1,) if gates.error_rate == "per-decision" else sorted({1, last}):
        wins = wins_needed(prompts, gates, number)
        when = "every iteration" if gates.error_rate == "per-decision" else f"iteration {number}"
        needed = "all are not enough: hold out more" if wins is None else f"{wins:,} must be won"
        told.append(f"in {when} ({percent(gates.level_of(number))} interval) {needed}")
    return [f"gates  of {prompts:,} prompts without a tie, {'; '.join(told)}",
            f"if no model is better, one of {last:,} is promoted by luck with a chance of up to {100 * gates.lucky(last):.2g}%"]


def _rows_of_prompt(config: FlywheelConfig, stage: StageName) -> int:
    """Rows that a prompt can bring: one against every rival where wins make pairs too and for a reward model, else one."""
    made = config.select_config(stage, "battles", "")
    return len(config.rivals) if stage == "reward" or (stage == "dpo" and made.takes_wins) else 1


def _iteration(config: FlywheelConfig, number: int, part: int, given: int, measured: int, *, size: int | None,
               device: str) -> Planned:
    """The steps of an iteration. `part`: prompts of a part; `given`: battles of evaluations that were there before, of which each
    brings a row at most, in the first iteration; `measured`: prompts to measure on."""
    start, steps = start_of(config), dict[str, Any]()
    new = Fighter(label_of(number), start.model, start.weights)
    for stage in config.ordered:
        if stage in config.fed:
            steps[f"battles-{stage}"] = _battles(config, [new], part, measuring=False)
        fought = part * _rows_of_prompt(config, stage)
        rows = number * fought + given if config.accumulate else fought + (given if number == 1 else 0)
        steps[stage] = _training(config, stage, rows, size, device)
    old = Fighter("the model before", start.model, start.weights)
    return {**steps, "evaluation": _battles(config, [new, old], measured, measuring=True)}


def _battles(config: FlywheelConfig, models: list[Fighter], tasks: int, *, measuring: bool) -> Plan:
    contestants = [{**one.model.model_dump(), "label": one.label} for one in models]
    arena = Arena(config.arena_config({"models": [*contestants, *(rival.model_dump() for rival in config.rivals)],
                                       "target": models[0].label}, measuring=measuring))
    found = arena.planned(tasks)
    whole = arena.whole
    return whole.beside(found) if isinstance(whole, Audited) else found


def _training(config: FlywheelConfig, stage: StageName, rows: int, size: int | None, device: str) -> TrainEstimate:
    from pica.train.plan import total_steps

    made = config.train_config(stage, [{"source": "data"}], "local")
    steps = total_steps(made, rows)
    answers = made.answers if isinstance(made, OnlineConfig) else ANSWERS[stage]
    tokens = min(PROMPT_TOKENS + ANSWER_TOKENS, made.max_length) * answers
    return TrainEstimate(stage, rows, steps, steps * made.batch_size * tokens, size, device)


def _size(start: Fighter, config: FlywheelConfig) -> tuple[int | None, str]:
    """(parameters of the model, kind of device that it is trained on); None where they cannot be found out here."""
    from pica.train.device import find_place
    from pica.train.weights import measure

    made = config.train_config(config.ordered[0], [{"source": "data"}], start.weights, start.model.revision)
    device = find_place(made).device
    try:
        found = config.trainable()
    except Denied:  # the embedded model is not here yet, and there is no network
        return None, device
    try:
        return measure(found, "text").parameters, device
    except UsageError:
        if Path(found.path).exists():
            raise
        return None, device
