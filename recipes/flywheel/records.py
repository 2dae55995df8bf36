"""What a campaign remembers: plain records, as they stand in `campaign.json` and in every iteration's `decision.json`.

Nothing in `decision.json` depends on time, place or a kill (but the budget gate, where seconds are capped): a campaign that was
killed and gone on with has the same one.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

StepKind = Literal["battle", "select", "train", "evaluate"]
StepState = Literal["done", "skipped", "stopped"]
State = Literal["running", "stopped", "complete"]


class Spent(msgspec.Struct, frozen=True):
    """What was used so far: answers of models, their tokens and price in US dollars, optimizer steps, seconds of work."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    train_steps: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class Rating(msgspec.Struct, frozen=True):
    """A Bradley-Terry rating with its interval. An end is None where nothing bounds it. A model that won or lost every game
    against the rest has neither rating nor ends, and `unbounded` says why. `n`: scored games."""

    model: str
    rating: float | None
    lower: float | None
    upper: float | None
    n: int
    unbounded: str = ""


class Gate(msgspec.Struct, frozen=True):
    """One condition of a promotion. `value` and `limit` are what was compared, None where nothing could be. `level`: of the
    interval that was asked, None where none was."""

    name: str
    passed: bool
    reason: str
    value: float | None = None
    limit: float | None = None
    level: float | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an iteration. `name`: such as battles-sft; `folder` is relative to the campaign's. `rows`: battles fought, rows
    selected, rows trained on. `figures`: a few more numbers, flat. `reason`: why it was skipped, or what stopped it."""

    name: str
    kind: StepKind
    folder: str
    state: StepState
    reason: str = ""
    rows: int = 0
    figures: dict[str, Any] = {}
    spent: Spent = Spent()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an iteration's model. `best` is the model that the next iteration starts from."""

    promoted: bool
    reason: str
    best: str


class Iteration(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the wheel. `number` counts from 1; 0 is the rating of the model that the campaign starts from. `started_from`
    and `candidate` are labels: `start`, `iteration 1`. `model`: the candidate's folder in the campaign's, or its name. `data`:
    rows selected, by stage. `learnt`: folders of all data that the candidate has learnt from, those of the model that it started
    from among them. `ratings`: of those that met in it, by all games up to then; `method`: how. `collapse`: what the answers look
    like (see `pica.eval.collapse`), flat."""

    number: int
    started_from: str
    candidate: str
    model: str = ""
    data: dict[str, int] = {}
    learnt: list[str] = []
    gates: list[Gate] = []
    decision: Decision | None = None
    ratings: list[Rating] = []
    method: str = ""
    collapse: dict[str, float | None] = {}
    warnings: list[str] = []
    steps: list[StepRecord] = []


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What `campaign.json` holds. `reason`: why it stopped, with the mend. `best`: label of the model to use; `best_model`: its
    name for other commands, such as hf/F/iterations/02/dpo. `ratings`: of all models of the campaign on one scale, best first;
    `method`: how they came about."""

    state: State
    reason: str = ""
    best: str
    best_model: str
    iterations: list[Iteration] = []
    ratings: list[Rating] = []
    method: str = ""
    spent: Spent = Spent()
    warnings: list[str] = []
