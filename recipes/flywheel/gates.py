"""Gates of a promotion: what must hold before an iteration's model replaces the one that it started from.

    gates = [better(rows, "iteration 1", "start", config), categories(rows, "iteration 1", "start", config),
             clean(find_overlaps(prompts, evaluation), checked), judge(audit, config), budget(spent, caps)]
    decision = decide(gates, candidate="iteration 1", current="start")

`rows` are battles on held-out prompts (`pica.eval.battle_rows`). A gate is a pure function: the same input, the same answer.
What cannot be told refuses: a model stays until another one is proven better.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, nan
from typing import Any, NamedTuple

from pica.eval.likelihood import likelihood_interval
from pica.recipes.flywheel.limits import GatesConfig, percent
from pica.recipes.flywheel.records import Decision, Gate, Spent
from pica.synth.budget import Budget
from pica.synth.embed import Embedder
from pica.synth.errors import UsageError

MEND = "No prompt of a part holds one, so look at what battles= brings in: leave that out, or measure on other prompts"
NAMED = 3               # overlaps that a reason quotes
LONGEST = 200           # characters of a quoted overlap
UNITS = {"calls": "calls", "tokens": "tokens", "cost": "US dollars", "seconds": "seconds"}

Rows = Sequence[Mapping[str, Any]]


class Fought(NamedTuple):
    """A battle as the candidate sees it. `share`: of the win, a tie being half; None without a verdict."""

    task: str
    category: str
    share: float | None


def fought(rows: Rows, candidate: str, current: str) -> list[Fought]:
    """The battles between these two labels, in the order of the rows; other rows are left out."""
    found = []
    for row in rows:
        if (row["model_a"], row["model_b"]) in {(candidate, current), (current, candidate)}:
            share = row["share_a"]
            seen = share if share is None or row["model_a"] == candidate else 1 - share
            found.append(Fought(row["task"], row["category"], seen))
    return found


class _Shares(NamedTuple):
    """What battles say. `by_prompt`: the candidate's share of the win, its mean where a prompt has several battles."""

    by_prompt: list[float]
    battles: int
    unscored: int

    @classmethod
    def of(cls, battles: Sequence[Fought]) -> _Shares:
        """Those of these battles."""
        shares: dict[str, list[float]] = {}
        for battle in battles:
            if battle.share is not None:
                shares.setdefault(battle.task, []).append(battle.share)
        return cls([fsum(some) / len(some) for some in shares.values()], len(battles),
                   sum(battle.share is None for battle in battles))

    @property
    def prompts(self) -> int:
        """Prompts with a verdict."""
        return len(self.by_prompt)

    @property
    def mean(self) -> float:
        """The share over prompts; NaN without one."""
        return fsum(self.by_prompt) / self.prompts if self.prompts else nan

    @property
    def counted(self) -> str:
        """How many there are, in a sentence."""
        missing = f" ({self.unscored:,} battles without a verdict are left out)" if self.unscored else ""
        return f"{_many(self.prompts, 'prompt')} with a verdict{missing}"


def better(rows: Rows, candidate: str, current: str, config: GatesConfig, *, decision: int = 1) -> Gate:
    """The lower end of the candidate's share of the win over `current` is above one half plus the margin.

    Prompts are independent, and the interval is that of the empirical likelihood (`pica.eval.likelihood`), at the level of this
    decision of the campaign. Too few scored prompts, or too many battles without a verdict, refuse. `value` is the lower end,
    None where there is none.
    """
    shares, limit = _Shares.of(fought(rows, candidate, current)), 0.5 + config.margin
    if refusal := _too_little(shares, config, f"{candidate} against {current}"):
        return Gate("better", False, refusal, None, limit)
    level = config.level_of(decision)
    lower, upper = likelihood_interval(shares.by_prompt, level=level)
    passed = lower > limit
    never = "" if wins_needed(shares.prompts, config, decision) else ", and not even wins alone would be: hold out more prompts"
    return Gate("better", passed, f"{candidate} wins {shares.mean:.1%} ({percent(level)} interval {lower:.1%} to {upper:.1%}) "
                f"against {current} on {shares.counted}; the lower end {'is above' if passed else 'must be above'} {limit:.1%}"
                f"{never}", lower, limit, level)


def _too_little(shares: _Shares, config: GatesConfig, who: str) -> str:
    """Why nothing can be told of these battles; empty where something can."""
    if not shares.battles:
        return f"there is no battle of {who}"
    if not shares.prompts:
        return f"none of the {shares.battles:,} battles of {who} has a verdict"
    if shares.prompts < config.least:
        return f"only {shares.counted} of {who}; at least {config.least:,} are needed"
    if shares.unscored > config.unscored * shares.battles:
        return (f"{shares.unscored:,} of {shares.battles:,} battles of {who} have no verdict; at most {config.unscored:.0%} may "
                "have none")
    return ""


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def wins_needed(prompts: int, config: GatesConfig, decision: int) -> int | None:
    """Of so many prompts without a tie, how many a model must win to pass `better`; None where not even all are enough."""
    level, limit = config.level_of(decision), 0.5 + config.margin

    def passes(wins: int) -> bool:
        return likelihood_interval([1.0] * wins + [0.0] * (prompts - wins), level=level)[0] > limit

    if prompts < config.least or not passes(prompts):
        return None
    return bisect_left(range(prompts + 1), True, key=passes)


def categories(rows: Rows, candidate: str, current: str, config: GatesConfig) -> Gate:
    """No category of the held-out prompts falls by more than its limit: in each, the candidate's share of the win over `current`
    is at least one half less the limit.

    With `category_by=share` the share alone is compared, so a category of few prompts refuses by luck now and then, and one of
    many categories often; with `upper`, the upper end of its interval at `level`. A category with fewer scored prompts than
    `category_least` is not judged, and named. `value` and `limit` are those of the category that is nearest to its limit, or
    furthest below.
    """
    battles = fought(rows, candidate, current)
    every = [_Category.of(name, battles, config) for name in sorted({battle.category for battle in battles})]
    if not any(one.prompts for one in every):
        return Gate("categories", False, f"no battle of {candidate} against {current} has a verdict")
    judged = sorted((one for one in every if one.prompts >= config.category_least), key=lambda one: one.room)
    fallen = [one.told for one in judged if one.fell]
    small = [f"{one.title} ({one.prompts:,})" for one in every if one.prompts < config.category_least]
    said = [f"below the limit: {', '.join(fallen)}"] if fallen else [f"none of {len(judged):,} categories is below its limit"]
    if small:
        said.append(f"not judged, with fewer than {config.category_least:,} scored prompts: {', '.join(small)}")
    worst = judged[0] if judged else None
    return Gate("categories", not fallen, "; ".join(said), worst.most if worst else None, worst.floor if worst else None,
                config.level if config.category_by == "upper" else None)


class _Category(NamedTuple):
    """How a category went. `prompts`: those with a verdict. `share`: of the win, NaN without one. `most`: what is compared, the
    share or its upper end; `floor`: the least that it may be."""

    name: str
    prompts: int
    share: float
    most: float
    floor: float

    @classmethod
    def of(cls, name: str, battles: Sequence[Fought], config: GatesConfig) -> _Category:
        """The category `name` of these battles."""
        shares = _Shares.of([battle for battle in battles if battle.category == name])
        most = shares.mean
        if config.category_by == "upper":  # one prompt tells nothing
            most = likelihood_interval(shares.by_prompt, level=config.level)[1] if shares.prompts > 1 else 1.0
        return cls(name, shares.prompts, shares.mean, most, config.floor(name))

    @property
    def room(self) -> float:
        """How far it is above its limit."""
        return self.most - self.floor

    @property
    def fell(self) -> bool:
        """Whether it is below its limit, by more than the last bits of a sum."""
        return self.room < -1e-9

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return repr(self.name) if self.name else "(no category)"

    @property
    def told(self) -> str:
        """Its share, and what is allowed."""
        end = f", upper end {self.most:.1%}" if self.most != self.share else ""
        return f"{self.title} wins {self.share:.1%} of {_many(self.prompts, 'prompt')}{end} (at least {self.floor:.1%})"


def clean(overlaps: Sequence[str], checked: int) -> Gate:
    """No row of the training data holds an evaluation prompt. `overlaps`: a sentence for each row that does
    (`find_overlaps`); `checked`: rows looked at. Where nothing was trained on there is nothing that could hold one: it passes.
    `value` is the number of such rows.
    """
    if not checked and not overlaps:
        return Gate("clean", True, "nothing was trained on, so nothing can hold an evaluation prompt", 0, 0)
    if not overlaps:
        return Gate("clean", True, f"none of {_many(checked, 'row')} trained on holds an evaluation prompt", 0, 0)
    more = f"; and {len(overlaps) - NAMED:,} more" if len(overlaps) > NAMED else ""
    return Gate("clean", False, f"{len(overlaps):,} of {_many(checked, 'row')} trained on hold an evaluation prompt: "
                f"{'; '.join(overlaps[:NAMED])}{more}. {MEND}", len(overlaps), 0)


def find_overlaps(prompts: Mapping[str, Sequence[str]], evaluation: Mapping[str, Sequence[str]], *,
                  embedder: Embedder | None = None, distance: float = 0.05, ngram: int = 13, among: Iterable[str] = (),
                  ) -> list[str]:
    """A sentence for each text that holds an evaluation prompt, by shared words and, with an `embedder`, by embeddings within
    `distance`. Words that stand in many texts of `among` are no evidence (`pica.synth.filters.decontaminate`).

    `prompts`: name of a dataset -> the texts of its rows, in their order; `evaluation`: name of an evaluation -> its prompts.
    Raises `UsageError` where there is no evaluation prompt to look for.
    """
    from pica.synth.filters.decontaminate import EvalIndex

    if not any(evaluation.values()):
        raise UsageError("there is no evaluation prompt to look for in the training data; give held-out prompts")
    index = EvalIndex(evaluation, ngram=ngram, embedder=embedder, threshold=distance, among=among)
    return [f"row {number:,} of {name} {_shortened(overlap.explain())}" for name, texts in prompts.items()
            for number, overlap in enumerate(index.overlaps(texts), 1) if overlap is not None]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def judge(audit: Mapping[str, Any] | None, config: GatesConfig) -> Gate:
    """The judge of the evaluation passed its audit. `audit`: what the evaluation's `audit.json` holds, None without one."""
    verdict = audit["verdict"] if audit else "not audited"
    said = audit["sentence"] if audit else "The judge was not audited"
    if config.judge == "off":
        return Gate("judge", True, f"not asked for (judge=off). {said}")
    passed = verdict == "passes" or (verdict == "undecided" and config.judge == "not-fails")
    return Gate("judge", passed, said)


def budget(spent: Spent, caps: Budget) -> Gate:
    """Nothing spent is above its cap. `value` and `limit` are those of the cap that is used up the most, by its share."""
    used = {name: (float(getattr(spent, name)), float(cap)) for name in UNITS if (cap := getattr(caps, name)) is not None}
    if not used:
        return Gate("budget", True, "no cap is set")
    above = [f"{value:,.6g} {UNITS[name]} are spent, and the cap is {cap:,.6g}" for name, (value, cap) in used.items()
             if value > cap]
    value, cap = max(used.values(), key=lambda one: one[0] / one[1])
    return Gate("budget", not above, "; ".join(above) or "nothing is above its cap: " + ", ".join(
        f"{value:,.6g} of {cap:,.6g} {UNITS[name]}" for name, (value, cap) in used.items()), value, cap)


def decide(gates: Sequence[Gate], *, candidate: str, current: str) -> Decision:
    """Promoted only if every gate passes. The reason names each one that refuses, or says how much better the model is."""
    assert gates, "a promotion without gates is no decision"
    refused = [f"{gate.name}: {gate.reason}" for gate in gates if not gate.passed]
    if refused:
        return Decision(promoted=False, reason=f"{current} stays. {'. '.join(refused)}", best=current)
    proof = next((gate.reason for gate in gates if gate.name == "better"), "every gate passes")
    return Decision(promoted=True, reason=f"{candidate} replaces {current}: {proof}", best=candidate)
