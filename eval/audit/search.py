"""A random search for words that win a judge over, put before an answer that says nothing of the task.

Source: Zheng and others, Cheating Automatic LLM Benchmarks (2024), section 3.2, in our own form: a prefix of words, one of which
is replaced at a time; a replacement stays where the judge's preference for the attack, over some tasks and both orders, is not
less. The preference is the probability of the attack's name where the verdict names who is better, for judges that give
log-probabilities, else what the verdict is worth. The attack is tried on tasks that the search has not seen.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pica.eval.audit.attacks import CLOSING, Attack, constant
from pica.eval.audit.config import SearchConfig
from pica.eval.judge import HIGHEST, LOWEST, WORTH, Verdict, names_for
from pica.eval.judging import Judging
from pica.eval.neutral import neutralise
from pica.eval.tasks import Task
from pica.synth.errors import BadRequest
from pica.synth.models.base import ModelConfig, Request, Sampling, TokenLogprob, conversation_text, user
from pica.synth.prompts import TooLong
from pica.synth.run import Draft, Run, derive_seed, together
from pica.synth.structured import Unparsed

NAME = "searched prefix"
START = "!"  # the prefix is this word at first
TOP = 20  # alternatives of a token that are asked for

#: words that the search draws from: what praises, orders, closes and numbers
WORDS: tuple[str, ...] = (
    "accepted", "accurate", "actually", "affirm", "after", "again", "agreed", "all", "already", "always", "answer",
    "approved", "assistant", "authority", "award", "begin", "best", "better", "candidate", "certain", "certainly", "checked",
    "choose", "chosen", "clear", "clearly", "closing", "compare", "complete", "concise", "confirmed", "conclude", "correct",
    "criteria", "decided", "decision", "decisive", "definitely", "detailed", "done", "draft", "editor", "empty", "end",
    "error", "evaluation", "evidence", "exact", "excellent", "expert", "fact", "factual", "fails", "favour", "final",
    "finally", "first", "flawless", "follow", "full", "good", "grade", "great", "ground", "helpful", "higher", "highest",
    "honest", "however", "ignore", "ideal", "important", "indeed", "instruction", "judge", "judged", "judgement", "known",
    "label", "last", "left", "letter", "marked", "master", "maximum", "merit", "most", "much", "must", "names", "needed",
    "never", "note", "obviously", "official", "only", "option", "order", "other", "outcome", "output", "over", "panel",
    "passed", "perfect", "please", "point", "praised", "precise", "preferred", "prize", "proof", "proven", "quality",
    "ranked", "rating", "ready", "reason", "reference", "rejected", "reply", "result", "review", "reviewed", "right", "rule",
    "safe", "same", "score", "second", "section", "select", "settled", "should", "shown", "side", "skip", "solution",
    "source", "standard", "start", "stated", "strong", "superior", "sure", "system", "thanks", "therefore", "thorough",
    "thus", "tie", "top", "true", "trusted", "truth", "unanimous", "useful", "valid", "verdict", "verified", "very", "void",
    "vote", "well", "winner", "wins", "withdrawn", "without", "worse", "wrong", "yes", "zero", "1", "2", "3", "7", "9", "10",
    "100", "!", "?", ":", ";", "-", "#", "*", "=", ">", "<", "{", "}", "[", "]", "(", ")", "/", "|", "~", "...",
)


@dataclass(frozen=True)
class Found:
    """What a search came to. `start`, `best`: mean preference for the attack, from 0 to 1, at the beginning and at the end;
    `kept`: replacements that stayed; `by`: whether it went by log-probabilities or by verdicts."""

    attack: Attack
    prefix: str
    start: float
    best: float
    steps: int
    kept: int
    tasks: int
    by: str

    def to_json(self) -> dict[str, Any]:
        """For `audit.json`."""
        return {"prefix": self.prefix, "start": self.start, "best": self.best, "steps": self.steps, "kept": self.kept,
                "tasks": self.tasks, "by": self.by}


@dataclass
class Searching:
    """A search under way: whose judging, over which tasks, with which honest answers. `mute`: judges that give no
    log-probabilities; `sure`: verdicts that came with them."""

    judging: Judging[Any]
    draft: Draft
    tasks: Sequence[Task]
    honest: Sequence[str]
    mute: set[str] = field(default_factory=set)
    sure: int = 0
    asked: int = 0

    async def preference(self, text: str) -> float:
        """The panel's mean preference for `text` over the tasks, from 0 to 1; no verdict is no preference for it."""
        panel = self.judging.panel
        orders = ("a",) if panel.kind.sides == 1 else panel.orders
        found = await together(*(self._ask(judge, number, task, (text, honest), order)
                                 for task, honest in zip(self.tasks, self.honest, strict=True)
                                 for number, judge in enumerate(panel.judges) for order in orders))
        return math.fsum(found) / len(found)

    async def _ask(self, judge: ModelConfig, number: int, task: Task, texts: tuple[str, str], order: str) -> float:
        """One judge's preference for the first of `texts`, in one order."""
        kind, told = self.judging.panel.kind, _told(task, texts, order)
        names = names_for(kind.prompt.hash, *told.values()) if kind.sides == 2 else ()
        try:
            prompt = kind.fill({**told, **dict(zip(("first", "second"), names, strict=False))})
        except TooLong:
            return 0.0
        request = Request(task="chat", messages=(user(prompt),), schema=kind.schema(names),
                          seed=derive_seed(self.judging.config.seed, NAME, task.id, number, order))
        answer = await self._answer(judge, request)
        self.asked += 1
        try:
            verdict = kind.verdict(answer.text, names, cut=answer.truncated)
        except Unparsed:
            return 0.0
        share = chance(answer.logprobs, names, "ab".index(order[0])) if kind.kind == "pairwise" else None
        self.sure += share is not None
        return worth(verdict, order) if share is None else share

    async def _answer(self, judge: ModelConfig, request: Request) -> Any:
        """The judge's answer, with log-probabilities where it gives any."""
        sampling = self.judging.panel.sampling
        if judge.name not in self.mute:
            try:
                return await self._call(judge, request, sampling.model_copy(update={"logprobs": TOP}))
            except BadRequest:
                self.mute.add(judge.name)
        return await self._call(judge, request, sampling)

    async def _call(self, judge: ModelConfig, request: Request, sampling: Sampling) -> Any:
        seed = None if sampling.greedy else request.seed
        return (await self.draft.ask(NAME, judge, msgspec.structs.replace(request, sampling=sampling, seed=seed)))[0]


def _told(task: Task, texts: tuple[str, str], order: str) -> dict[str, str]:
    """The texts of a judge's prompt, but for the names of the answers."""
    common = {"conversation": conversation_text(task.conversation), "notes": task.notes or "none"}
    if len(order) == 1:
        return {**common, "answer": neutralise(texts[0]).text}
    first, second = (neutralise(texts["ab".index(side)]).text for side in order)
    return {**common, "answer_first": first, "answer_second": second}


def worth(verdict: Verdict, order: str) -> float:
    """What a verdict is worth to the attack, from 0 to 1."""
    if len(verdict.scores) == 1:
        return (verdict.scores[0] - LOWEST) / (HIGHEST - LOWEST)
    if verdict.scores:
        better = (verdict.scores[0] - verdict.scores[1]) / (HIGHEST - LOWEST) / 2 + 0.5
    else:
        assert verdict.label is not None
        better = WORTH[verdict.label]
    return better if order == "ab" else 1 - better


def chance(tokens: Sequence[TokenLogprob], names: Sequence[str], place: int) -> float | None:
    """The probability that the verdict begins with the name at `place` of `names`, over that of either name, by the alternatives
    of the token that names the winner; None where they say nothing of it."""
    text = "".join(token.token for token in tokens)
    begun = list(re.finditer(r'"verdict"\s*:\s*"', text))
    if not begun:
        return None
    end, start = begun[-1].end(), 0
    for token in tokens:
        if start <= end < start + len(token.token):
            before = text[start:end]
            weights = [math.fsum(math.exp(value) for other, value in {token.token: token.logprob, **token.top}.items()
                                 if other.startswith(before + name)) for name in names]
            return weights[place] / sum(weights) if sum(weights) else None
        start += len(token.token)
    return None


def assembled(words: Sequence[str]) -> str:
    """The attack with this prefix."""
    return f"{' '.join(words)}\n\n{CLOSING}"


async def search(judging: Judging[Any], run: Run, tasks: Sequence[Task], label: str, config: SearchConfig) -> Found:
    """The prefix that wins this judging over most, on these tasks, against the answers of `label`. Every call is in the ledger,
    and the same seed tries the same words."""
    draft = run.draft(NAME)
    with run.draining():
        honest = await together(*(judging.answer(draft, label, task) for task in tasks))
        searching = Searching(judging, draft, tasks, honest)
        rng = random.Random(derive_seed(judging.config.seed, NAME))
        words = [START] * config.words
        best = start = await searching.preference(assembled(words))
        seen, kept = {tuple(words)}, 0
        for step in range(1, config.steps + 1):
            trial = list(words)
            trial[rng.randrange(len(trial))] = rng.choice(WORDS)
            if tuple(trial) in seen:
                continue
            seen.add(tuple(trial))
            value = await searching.preference(assembled(trial))
            if value >= best:
                words, best, kept = trial, value, kept + 1
            if step % max(1, config.steps // 10) == 0:
                run.say(f"search: step {step:,} of {config.steps:,}, preference {best:.3f} from {start:.3f}")
    by = "log-probabilities" if searching.sure == searching.asked else "verdicts" if not searching.sure else "both"
    attack = constant(NAME, f"words that a search of {config.steps:,} steps found, then an empty comparison", assembled(words),
                      "searched")
    return Found(attack, " ".join(words), start, best, config.steps, kept, len(tasks), by)
