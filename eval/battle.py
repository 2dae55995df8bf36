"""Battles: two answers to one conversation, judged in both orders, by one judge or a jury.

Each `Game` is one judge's view of the answers in one order. It keeps what the judge wrote, the prompt's hash, the names that the
sides bore, the parser's version and the ledger's key, so that a new parser or another weighting costs no call. `combine` makes
one outcome of the games by a stated rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from pica.eval.judge import MUCH, PAIRWISE, WORTH, Judge, Label, Verdict, names_for
from pica.eval.neutral import Neutral, neutralise
from pica.synth.errors import BadRequest
from pica.synth.models.base import Message, ModelConfig, Request, Sampling, conversation_text, user
from pica.synth.prompts import TooLong
from pica.synth.run import Draft, derive_seed, together
from pica.synth.structured import Unparsed

Order = Literal["ab", "ba"]
BOTH: tuple[Order, ...] = ("ab", "ba")
RETRY_TEMPERATURE = 0.7  # a greedy verdict that could not be read would come again
GREEDY = Sampling(temperature=0.0, max_tokens=1024)
MIRROR: dict[Label, Label] = {"a>>b": "b>>a", "a>b": "b>a", "a=b": "a=b", "b>a": "a>b", "b>>a": "a>>b"}


@dataclass(frozen=True)
class Contest:
    """Two answers to a conversation, which ends with the user. `key` names the contest for seeds, the same whatever else is
    judged. `notes` are what the task's author says a good answer holds: reference, checklist."""

    key: str
    conversation: Sequence[Message]
    answer_a: str
    answer_b: str
    notes: str = ""


class Game(msgspec.Struct, frozen=True, kw_only=True):
    """One judge's verdict on the answers in one order. `verdict` is in terms of a and b; None where it is unscored."""

    judge: Annotated[str, "model that judged"]
    order: Annotated[str, "ab: answer a stood first"]
    verdict: Annotated[Label | None, "a>>b, a>b, a=b, b>a, b>>a; none: unscored"]
    score_a: Annotated[float | None, "score of answer a, where the judge gives scores"] = None
    score_b: Annotated[float | None, "score of answer b"] = None
    reason: Annotated[str, "the judge's reason"] = ""
    text: Annotated[str, "all that the judge wrote"] = ""
    first: Annotated[str, "name of the answer that stood first"] = ""
    second: Annotated[str, "name of the other"] = ""
    prompt: Annotated[str, "hash of the judge's prompt file"] = ""
    parser: Annotated[str, "version of the parser"] = ""
    call: Annotated[str, "ledger key of the call"] = ""
    flags: Annotated[list[str], "what was broken up or noticed in the answers, by side"] = msgspec.field(default_factory=list)
    problem: Annotated[str, "why it is unscored"] = ""


@dataclass(frozen=True)
class Panel:
    """Who judges and how: one judge or several, a kind of verdict, the orders, tries until a verdict counts as unscored."""

    judges: Sequence[ModelConfig]
    kind: Judge = PAIRWISE
    orders: Sequence[Order] = BOTH
    tries: int = 3
    sampling: Sampling = GREEDY
    seed: int = 0


async def play(draft: Draft, contest: Contest, panel: Panel) -> list[Game]:
    """The games of a contest: every judge, every order, at once. Errors of the calls pass through; only what a judge refuses to
    read (`BadRequest`) leaves its game unscored."""
    return await together(*(_game(draft, contest, panel, judge, number, order)
                            for number, judge in enumerate(panel.judges) for order in panel.orders))


async def _game(draft: Draft, contest: Contest, panel: Panel, judge: ModelConfig, number: int, order: Order) -> Game:
    neutral = {"a": neutralise(contest.answer_a), "b": neutralise(contest.answer_b)}
    first, second = neutral[order[0]], neutral[order[1]]
    texts = {"conversation": conversation_text(contest.conversation), "notes": contest.notes or "none",
             "answer_first": first.text, "answer_second": second.text}
    names = names_for(panel.kind.prompt.hash, *texts.values())
    base = {"judge": judge.name, "order": order, "first": names[0], "second": names[1], "prompt": panel.kind.prompt.hash,
            "parser": panel.kind.parser, "flags": _flags(neutral)}
    try:
        prompt = panel.kind.fill({**texts, "first": names[0], "second": names[1]})
    except TooLong as error:
        return msgspec.convert({**base, "verdict": None, "problem": str(error)}, Game)
    asking = Asking(draft, judge, panel, f"judge_{number + 1}_{order}", derive_seed(panel.seed, contest.key, number, order))
    verdict, written = await asking.verdict(prompt, names)
    return msgspec.convert({**base, **written, **_of_sides(verdict, order)}, Game)


def _flags(neutral: dict[str, Neutral]) -> list[str]:
    return [f"{side}: {flag}" for side, found in neutral.items() for flag in found.flags]


def _of_sides(verdict: Verdict | None, order: str) -> dict[str, object]:
    """The verdict in terms of a and b."""
    if verdict is None or verdict.label is None:
        return {"verdict": None}
    scores = verdict.scores or (None, None)
    if order == "ba":
        return {"verdict": MIRROR[verdict.label], "score_a": scores[1], "score_b": scores[0], "reason": verdict.reason}
    return {"verdict": verdict.label, "score_a": scores[0], "score_b": scores[1], "reason": verdict.reason}


@dataclass(frozen=True)
class Asking:
    """Asks one judge until its verdict can be read, or the tries are used up."""

    draft: Draft
    judge: ModelConfig
    panel: Panel
    step: str
    seed: int

    async def verdict(self, prompt: str, names: tuple[str, ...] = ()) -> tuple[Verdict | None, dict[str, str]]:
        """(what the judge said, or None; what to keep of it: `text`, `call`, and `problem` where there is none)."""
        kind, problems, kept = self.panel.kind, dict[str, None](), {"text": "", "call": ""}
        for attempt in range(self.panel.tries):
            sampling = self._sampling(attempt)
            request = Request(task="chat", messages=(user(prompt),), sampling=sampling, schema=kind.schema(names),
                              seed=None if sampling.greedy else derive_seed(self.seed, attempt))
            try:
                key, answer = (await self.draft.asked(self.step, self.judge, request, attempt=attempt))[0]
            except BadRequest as error:
                return None, {**kept, "problem": f"the judge cannot read this: {error}"}
            kept = {"text": answer.text, "call": key}
            try:
                return kind.verdict(answer.text, names, cut=answer.truncated), kept
            except Unparsed as error:
                problems[f"{error}{' (cut by max_tokens)' if answer.truncated else ''}"] = None
        return None, {**kept, "problem": f"no verdict in {self.panel.tries} tries: {'; '.join(problems)}"}

    def _sampling(self, attempt: int) -> Sampling:
        """How the `attempt`-th try samples: a greedy judge that could not be read would say the same again."""
        sampling = self.panel.sampling
        if attempt == 0:
            return sampling
        return sampling.model_copy(update={"temperature": max(sampling.temperature, RETRY_TEMPERATURE)})


@dataclass(frozen=True)
class Outcome:
    """What the games of a battle come to. `score` is a's share of the win, None where nothing was scored; `label` its five-fold
    form; `consistent` says whether all orders agree on who is better (None where fewer than two were scored)."""

    winner: Literal["a", "b", "tie", "unscored"]
    score: float | None
    label: Label | None
    consistent: bool | None
    scored: int
    games: int


def combine(games: Sequence[Game], rule: Literal["agree", "average"] = "agree") -> Outcome:
    """One outcome of a battle. A jury's verdict on an order needs more than half of all its members, those without a verdict
    included. `agree`: orders that disagree are a tie (MT-Bench). `average`: every order counts by itself, and a's share is their
    mean (Arena-Hard)."""
    verdicts = [verdict for order in dict.fromkeys(game.order for game in games)
                if (verdict := majority([game.verdict for game in games if game.order == order])) is not None]
    orders = len({game.order for game in games})
    if not verdicts:
        return Outcome("unscored", None, None, None, 0, orders)
    worths = [WORTH[label] for label in verdicts]
    consistent = len(set(worths)) == 1 if len(worths) > 1 else None
    score = sum(worths) / len(worths)
    if rule == "agree" and consistent is False:
        score = 0.5
    winner: Literal["a", "b", "tie"] = "a" if score > 0.5 else "b" if score < 0.5 else "tie"
    much = all(verdict in MUCH for verdict in verdicts)
    label: Label = "a=b" if winner == "tie" else ("a>>b" if much else "a>b") if winner == "a" else "b>>a" if much else "b>a"
    return Outcome(winner, score, label, consistent, len(verdicts), orders)


def majority(verdicts: Sequence[Label | None]) -> Label | None:
    """What more than half of all members say, None (no verdict) among them; `>>` where more than half say so much."""
    for labels in _WON:
        if 2 * sum(verdict in labels for verdict in verdicts) > len(verdicts):
            return labels[0]
    return None


_WON: tuple[tuple[Label, ...], ...] = (("a>>b",), ("b>>a",), ("a>b", "a>>b"), ("b>a", "b>>a"), ("a=b",))


def flips(games: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How the two orders of each judge go together: `same`, `flipped` (the same place won both times), `half` (a tie in one order
    only), `unscored`. `games` as rows hold them; a judge that saw one order only is not counted."""
    found: Counter[str] = Counter()
    for judge in dict.fromkeys(game["judge"] for game in games):
        one, other = ([game["verdict"] for game in games if (game["judge"], game["order"]) == (judge, order)] for order in BOTH)
        found.update(map(_together, one, other))  # a model may sit in a jury twice
    return found


def _together(one: Label | None, other: Label | None) -> str:
    """How the verdicts on the two orders go together."""
    if one is None or other is None:
        return "unscored"
    apart = abs(WORTH[one] - WORTH[other])
    return "same" if apart == 0 else "flipped" if apart == 1 else "half"
