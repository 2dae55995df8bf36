"""Campaigns made up for tests: what the records of up to four iterations look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pica.recipes.flywheel.records import Campaign, Decision, Gate, Iteration, Rating, Spent, StepRecord

Kind = Literal["battle", "select", "train", "evaluate"]
#: candidate -> rating, lower and upper end; the third is worse than what it started from
CANDIDATES = {1: (1040.0, 1012.0, 1069.0), 2: (1085.0, 1040.0, 1130.0), 3: (1079.0, 1035.0, 1122.0), 4: (1120.0, 1070.0, 1171.0)}
PROMOTED = {0: "start", 1: "iteration 1", 2: "iteration 2", 3: "iteration 2", 4: "iteration 4"}
REFUSAL = "the lower end of the lead over iteration 2, -31.25, does not clear the margin 0"


def step(number: int, name: str, kind: Kind, rows: int, spent: Spent, **figures: Any) -> StepRecord:
    """A finished step in the usual folder."""
    folder = f"iterations/{number:02d}/{name}" if number else f"start/{name}"
    return StepRecord(name=name, kind=kind, folder=folder, state="done", rows=rows, spent=spent, figures=figures)


def steps(number: int) -> list[StepRecord]:
    """Battles, selection and training for sft and dpo, then the evaluation."""
    found = []
    for place, stage in enumerate(("sft", "dpo")):
        selected = (600 - 100 * number) // (place + 1)
        fought = Spent(4000, 2_400_000, 1.25, 0, 610.0)
        found += [step(number, f"battles-{stage}", "battle", 1000, fought, prompts=500, unscored=3),
                  step(number, f"data-{stage}", "select", selected, Spent(seconds=1.5), k=3 if number == 1 else 1),
                  step(number, stage, "train", selected, Spent(train_steps=selected // 8, seconds=95.5), loss_last=1.31)]
    return [*found, step(number, "evaluation", "evaluate", 400, Spent(1600, 960_000, 0.5, 0, 250.0))]


def gates(number: int) -> list[Gate]:
    """All passed, but for the third iteration's margin."""
    lower = {1: 12.0, 2: 8.5, 3: -31.25, 4: 4.0}[number]
    return [Gate("better", number != 3, REFUSAL if number == 3 else "clears the margin", lower, 0.0,
                 0.95),
            Gate("categories", True, "no category falls by more than 0.1", 0.02, 0.1),
            Gate("judge", True, "every null model loses", 0.03, 0.5), Gate("budget", True, "12 % of the calls are used")]


def shape(number: int) -> dict[str, float | None]:
    """What the answers look like: longer and more alike from turn to turn; the start has no divergence."""
    kl = {"kl": 0.12 * number, "kl_lower": 0.1 * number, "kl_upper": 0.14 * number} if number else {}
    return {"answers": 200, "empty": 0.0, "words": 110.0 + 8 * number, "length_ratio": 1 + 0.07 * number,
            "length_ratio_lower": 1 + 0.05 * number, "length_ratio_upper": 1 + 0.09 * number, "distinct_1": 0.31 - 0.01 * number,
            "distinct_2": 0.72 - 0.02 * number, "distinct_3": 0.85, "self_similarity": 0.2 + 0.015 * number,
            "repeated": 0.01 * number, "topic_entropy": None if number == 2 else 0.9, **kl}


def start() -> Iteration:
    """What a campaign begins with: the measured start."""
    return Iteration(
        number=0, started_from="start", candidate="start", collapse=shape(0), warnings=["the judge did not pass its audit"],
        decision=Decision(promoted=True, reason="the model that the campaign starts from", best="start"),
        steps=[step(0, "evaluation", "evaluate", 400, Spent(1200, 700_000, 0.4, 0, 180.0))])


def iteration(number: int) -> Iteration:
    """A finished turn of the wheel."""
    promoted = number != 3
    return Iteration(
        number=number, started_from=PROMOTED[number - 1], candidate=f"iteration {number}", model=f"iterations/{number:02d}/dpo",
        data={"sft": 600 - 100 * number, "dpo": (600 - 100 * number) // 2}, gates=gates(number), collapse=shape(number),
        decision=Decision(promoted=promoted, reason="all gates passed" if promoted else f"better: {REFUSAL}",
                          best=PROMOTED[number]),
        warnings=["answers grew by 20 % in length"] if number == 4 else [], steps=steps(number))


def campaign(iterations: int = 4, **more: Any) -> Campaign:
    """A complete campaign of up to four iterations with two rivals, one of them without a rating."""
    turns = [iteration(number) for number in range(1, iterations + 1)]
    best = PROMOTED[iterations]
    ratings = [Rating("a large rival", 1302.5, 1250.0, None, 1600), Rating("start", 1000.0, 1000.0, 1000.0, 1200),
               *(Rating(one.candidate, *CANDIDATES[one.number], 1200) for one in turns),
               Rating("silent rival", None, None, None, 0)]
    turns = [start(), *turns]
    spent = sum((one.spent for turn in turns for one in turn.steps), Spent(seconds=12.5))
    values: dict[str, Any] = {
        "state": "complete", "best": best, "best_model": f"hf/F/{best}", "iterations": turns, "ratings": ratings, "spent": spent,
        "method": "Bradley-Terry ratings; 'start' is set to 1000. 95% intervals by bootstrap."}
    return Campaign(**{**values, **more})


def pages(folder: Path, made: Campaign) -> None:
    """A page for every step, as the steps themselves leave one, and for what is no step."""
    for place in ("pool", "iterations/01/divergence", *(one.folder for turn in made.iterations for one in turn.steps)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "report.html").write_text(f"<title>{place}</title>", encoding="utf-8")
