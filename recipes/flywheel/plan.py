"""What a campaign would do, before anything runs: calls, tokens, training steps, money and time of every step.

Which rows battles bring is unknown before they are fought, so trainings are planned as if every battle were lost and selected:
their rows and steps are "at most". All else is an estimate: answers have typical lengths, every model answers, and every verdict
is read at the first try.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pica.synth.plan import Plan
from pica.synth.progress import duration

#: floating-point operations a second that training reaches, rough figures to tell minutes from days: a desktop's processor, one
#: recent data-centre GPU with a model that fills it, an Apple GPU
FLOPS = {"cpu": 1e11, "cuda": 1e14, "mps": 2e12}
#: operations a parameter and token: 2 forward, 4 backward (Kaplan et al., Scaling Laws for Neural Language Models, 2020)
OPERATIONS = 6
#: how many times that a stage takes: preference pairs also go through the reference; online training also writes the answers,
#: scores them, and reads them with the reference
TIMES = {"sft": 1, "dpo": 2, "reward": 1, "online": 4}
MOST_LINES = 40  # of the text: what a person reads


@dataclass(frozen=True)
class TrainEstimate:
    """A training that is not yet known. `rows_at_most`: rows, if every battle is selected; `steps_at_most`: optimizer steps over
    them; `tokens_at_most`: all tokens that go through the model, over all epochs, both answers of pairs and all answers to a
    prompt. `parameters` of the model, None where unknown; `device`: cpu, cuda or mps."""

    stage: str
    rows_at_most: int
    steps_at_most: int
    tokens_at_most: int
    parameters: int | None
    device: str

    @property
    def seconds(self) -> float | None:
        """A rough time; None where the model's size or the device's speed is unknown."""
        speed = FLOPS.get(self.device.partition(":")[0])
        if self.parameters is None or speed is None:
            return None
        return OPERATIONS * TIMES.get(self.stage, 1) * self.parameters * self.tokens_at_most / speed


@dataclass(frozen=True)
class PlannedStep:
    """A step with its figures, `train_rows` and `train_steps` at most; of several steps together, their sums. `cost` in US
    dollars and `seconds` are None where they are unknown. `train_tokens` go through a model in training, the others through
    calls."""

    name: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    train_rows: int = 0
    train_steps: int = 0
    train_tokens: int = 0
    cost: float | None = 0.0
    seconds: float | None = 0.0

    @classmethod
    def of(cls, name: str, what: Plan | TrainEstimate) -> PlannedStep:
        """The step that makes these calls, or trains so much."""
        if isinstance(what, Plan):
            return cls(name, what.calls, *what.tokens, cost=what.cost, seconds=what.seconds)
        return cls(name, train_rows=what.rows_at_most, train_steps=what.steps_at_most, train_tokens=what.tokens_at_most,
                   seconds=what.seconds)

    @classmethod
    def total(cls, name: str, steps: Sequence[PlannedStep]) -> PlannedStep:
        """All of them together; unknown where one is."""
        whole = {key: sum(getattr(step, key) for step in steps) for key in
                 ("calls", "prompt_tokens", "completion_tokens", "train_rows", "train_steps", "train_tokens")}
        return cls(name, **whole, cost=_sum([step.cost for step in steps]), seconds=_sum([step.seconds for step in steps]))

    def to_json(self) -> dict[str, Any]:
        """The figures for programs."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


@dataclass(frozen=True)
class FlywheelPlan:
    """What `--plan` prints. `start`: steps before the first iteration; `iterations`: the steps of each. `notes`: what a reader
    must know of these figures."""

    start: Sequence[PlannedStep]
    iterations: Sequence[Sequence[PlannedStep]]
    notes: Sequence[str] = ()

    @property
    def steps(self) -> list[PlannedStep]:
        """All steps in their order."""
        return [*self.start, *(step for steps in self.iterations for step in steps)]

    @property
    def whole(self) -> PlannedStep:
        """All of them together."""
        return PlannedStep.total("total", self.steps)

    def text(self) -> str:
        """The plan for people: every step, iterations that are alike once; of many different ones, sums by iteration and by
        step."""
        whole = self.whole
        head = [f"{len(self.iterations):,} iterations; rows and steps are at most, as if every battle were lost and selected;",
                "all else is an estimate: typical lengths, and no second try of a call or a verdict", "", _HEADER]
        foot = ["", _line(whole), "", f"cost   {_cost(self.steps)}", f"time   {_time(self.steps)}", *self.notes,
                "nothing was asked and nothing was trained"]
        body = self._detailed()
        if len(head) + len(body) + len(foot) > MOST_LINES:
            body = self._summed()
        return "\n".join([*head, *body, *foot])

    def _detailed(self) -> list[str]:
        lines = _block("start", self.start)
        number = 1
        for steps, alike in groupby(self.iterations, tuple):
            times = len(list(alike))
            name = f"iteration {number}" if times == 1 else f"iterations {number} to {number + times - 1}, each (x {times})"
            lines += _block(name, steps)
            number += times
        return lines

    def _summed(self) -> list[str]:
        """One line an iteration, then one line a step of all iterations."""
        sums = [PlannedStep.total("start", self.start)] if self.start else []
        sums += [PlannedStep.total(f"iteration {number}", steps) for number, steps in enumerate(self.iterations, 1)]
        names = dict.fromkeys(step.name for steps in self.iterations for step in steps)
        by_step = [PlannedStep.total(name, [step for steps in self.iterations for step in steps if step.name == name])
                   for name in names]
        return ["by iteration", *(_line(one, "  ") for one in sums), "by step, all iterations together",
                *(_line(one, "  ") for one in by_step)]

    def to_json(self) -> dict[str, Any]:
        """The plan for programs."""
        return {"at_most": ["train_rows", "train_steps"], "total": self.whole.to_json(),
                "start": [step.to_json() for step in self.start],
                "iterations": [[step.to_json() for step in steps] for steps in self.iterations], "notes": list(self.notes)}


Planned = Mapping[str, "Plan | TrainEstimate"]


def plan_campaign(start: Planned, iterations: Sequence[Planned], notes: Sequence[str] = ()) -> FlywheelPlan:
    """The plan of a campaign.

    `start`: what comes before the first iteration, by the name of the step; `iterations`: the steps of each, in their order. A
    step is the plan of its calls (a battle, an evaluation) or the estimate of its training; a selection asks nothing and is left
    out.
    """
    return FlywheelPlan(_planned(start), [_planned(steps) for steps in iterations], notes)


def _planned(steps: Planned) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep.of(name, what) for name, what in steps.items())


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# ---- text ----

_COLUMNS: Sequence[tuple[str, int, Callable[[PlannedStep], str]]] = (
    ("calls", 11, lambda step: _count(step.calls)), ("prompt tokens", 15, lambda step: _count(step.prompt_tokens)),
    ("completion", 13, lambda step: _count(step.completion_tokens)), ("rows", 9, lambda step: _count(step.train_rows)),
    ("steps", 8, lambda step: _count(step.train_steps)), ("train tokens", 14, lambda step: _count(step.train_tokens)),
    ("cost", 10, lambda step: "unknown" if step.cost is None else f"${step.cost:,.2f}" if step.cost else "-"),
    ("time", 9, lambda step: "unknown" if step.seconds is None else duration(step.seconds)))
_HEADER = f"{'step':<18}" + "".join(f"{name:>{width}}" for name, width, _ in _COLUMNS)


def _line(step: PlannedStep, indent: str = "") -> str:
    return f"{indent + step.name:<18}" + "".join(f"{show(step):>{width}}" for _, width, show in _COLUMNS)


def _block(name: str, steps: Sequence[PlannedStep]) -> list[str]:
    return [name, *(_line(step, "  ") for step in steps)] if steps else []


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _cost(steps: Sequence[PlannedStep]) -> str:
    known = sum(step.cost for step in steps if step.cost is not None)
    if all(step.cost is not None for step in steps):
        return f"${known:,.2f}"
    beside = f", beside ${known:,.2f} for the rest" if known else ""
    return f"unknown: state price_prompt and price_completion of every model that is paid for{beside}"


def _time(steps: Sequence[PlannedStep]) -> str:
    known = duration(sum(step.seconds for step in steps if step.seconds is not None))
    unknown = dict.fromkeys(step.name for step in steps if step.seconds is None)
    return f"about {known}, and that of {', '.join(unknown)}, which is unknown" if unknown else f"about {known}"
