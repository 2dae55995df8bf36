"""How far a model has moved: the KL divergence of its answers to those of the model that it started from.

    config = parse_config(DivergenceConfig, {"model": "hf/NEW", "start": "hf/OLD", "tasks": "prompts.jsonl", "n": 16})
    outcome = await make(Divergence(config), Path("D"))
    outcome.manifest["notes"]["kl"]            # flat numbers; None where a model gives no log-probabilities

A recipe over prompts: the model samples one answer to each, at temperature 1, and both say how likely they find it. The mean of
log p(answer) - log q(answer) estimates KL(p || q) in nats without bias. It varies from prompt to prompt, and may come out below 0
where the two are close; where they are the same model it is exactly 0. The probabilities are those of the answer's text as each
tokenizer reads it, with the mark that ends it. An answer cut at `tokens` counts up to there, which estimates the divergence of
the first `tokens` tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from pica.eval.ratio import Ratio, ratio
from pica.eval.shipped import SHIPPED
from pica.eval.tasks import Task, read_tasks
from pica.synth.config import CallConfig
from pica.synth.errors import BadRequest, Reject
from pica.synth.models.base import Message, ModelConfig, Renders, Request, Sampling, assistant, user
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import Section
from pica.synth.report import Table as Shown
from pica.synth.rows import Messages, Provenance
from pica.synth.run import Draft, Run, together
from pica.synth.source import open_source
from pica.synth.table import Table

PROBE = "pica"   # an answer that both models are asked about first


class DivergenceConfig(CallConfig):
    """Settings of an estimate."""

    summary: ClassVar[str] = "the KL divergence of a model to the one that it started from"

    n: int = Field(0, ge=0, le=1_000_000_000, description="prompts, from the first on; 0: all")
    model: ModelConfig = Field(ModelConfig(name="local"), description="the model that answers: hf/PATH, vllm/PATH")
    start: ModelConfig = Field(ModelConfig(name="local"), description="the model that it is compared with")
    tasks: str = Field("pica", description=f"prompts: {', '.join(SHIPPED)}, a file, a folder or a hub id ORG/NAME")
    split: str = Field("", description="split of the prompts' dataset")
    tokens: int = Field(128, ge=1, description="tokens that an answer may have; the divergence is that of these first tokens")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")

    @model_validator(mode="after")
    def _as_it_is(self) -> DivergenceConfig:
        """Samples at another temperature would be of another distribution."""
        for name, value in (("temperature", self.model.temperature), ("top_p", self.model.top_p)):
            if value not in {None, 1.0}:
                raise ValueError(f"model.{name}={value:g}: the divergence is that of answers sampled at {name}=1; leave it out")
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the content of the prompts."""
        source = open_source(str(SHIPPED.get(self.tasks, self.tasks)), split=self.split or "train")
        return {**super().identity(), "files": {self.tasks: source.fingerprint}}


class DivergenceRow(Provenance, kw_only=True):
    """An answer, and how likely two models find it."""

    task: Annotated[str, "id of the task"]
    category: Annotated[str, "category of the task", "category"]
    prompt: Annotated[Messages, "the conversation that was answered"]
    answer: Annotated[str, "what the model answered"]
    cut: Annotated[bool, "whether max_tokens ended the answer"]
    tokens: Annotated[int, "tokens of the answer, as the model's tokenizer reads it, with the mark that ends it"]
    logprob_model: Annotated[float, "log-probability of the answer by the model, in nats"]
    logprob_start: Annotated[float, "log-probability of the answer by the start, in nats"]
    kl: Annotated[float, "the first less the second: their mean over prompts estimates the divergence"]


@dataclass(frozen=True)
class Kl:
    """An estimate of KL(model || start), in nats. `answer`: an answer; `token`: a token of one. `reason`: why there is none."""

    answer: Ratio
    token: Ratio
    tokens: int
    reason: str = ""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], *, tokens: int, level: float = 0.95, reason: str = "") -> Kl:
        """The estimate that these rows make (columns `kl` and `tokens`); each is of a prompt of its own."""
        nats, lengths = [row["kl"] for row in rows], [row["tokens"] for row in rows]
        return cls(ratio(nats, [1] * len(nats), level=level), ratio(nats, lengths, level=level), tokens, reason)

    def to_json(self) -> dict[str, float | None]:
        """Flat, for programs and pages."""
        return {**self.answer.flat("kl"), **self.token.flat("kl_per_token"), "kl_prompts": self.answer.n}

    def explain(self) -> str:
        """In a sentence, what this is."""
        if self.answer.value is None:
            return f"There is no estimate of the KL divergence: {self.reason}"
        per_token = "" if self.token.value is None else f", {self.token.value:.4g} a token"
        return (f"KL divergence to the start: {self.answer.value:.4g} nats an answer{_ends(self.answer)}{per_token}, from one "
                f"sampled answer of at most {self.tokens:,} tokens to each of {self.answer.n:,} "
                f"prompt{'' if self.answer.n == 1 else 's'}")


def _ends(found: Ratio) -> str:
    return "" if found.lower is None else f" ({found.lower:.4g} to {found.upper:.4g}, {found.level:.0%} interval)"


class Divergence(Recipe[DivergenceConfig]):
    """One answer a prompt, and its log-probability under two models."""

    name = "divergence"
    config_class = DivergenceConfig
    kl: Kl

    def __init__(self, config: DivergenceConfig) -> None:
        super().__init__(config)
        self.tasks: list[Task] = []
        self.reason = ""
        self._opened: dict[str, tuple[Renders, str]] = {}  # by role: the model, and what its template ends an answer with

    @property
    def row_class(self) -> type[Provenance]:
        """Answers with their log-probabilities."""
        return DivergenceRow

    @property
    def source_rows(self) -> int | None:
        """Prompts; none where a model gives no log-probabilities."""
        return 0 if self.reason else len(self.tasks)

    @property
    def wanted(self) -> int:
        """All of them."""
        return self.source_rows or 0

    async def prepare(self, run: Run) -> None:
        """Read the prompts, and ask both models whether they can say how likely an answer is."""
        self.tasks = read_tasks(self.config.tasks, n=self.config.n, split=self.config.split)
        for role, config in (("model", self.config.model), ("start", self.config.start)):
            self.reason = self.reason or await self._open(run, role, config)

    async def _open(self, run: Run, role: str, config: ModelConfig) -> str:
        """Get a model ready. Returns why it cannot be used, if it cannot."""
        if config.goal is not None:
            return f"{config.name} is asked with a goal, which log-probabilities are not given for"
        model = run.caller.lane(config).model
        if not isinstance(model, Renders):
            return f"{config.name} cannot show its chat template; hf/PATH and vllm/PATH can"
        try:
            prompt = await model.render([user(PROBE)], add_generation_prompt=True)
            whole = await model.render([user(PROBE), assistant(PROBE)], add_generation_prompt=False)
            await run.draft(role).ask("probe", config, Request(task="logprobs", prompt=prompt, continuation=PROBE))
        except BadRequest as error:
            return f"{config.name} gives no log-probabilities of an answer ({error}); hf/PATH and vllm/PATH do"
        self._opened[role] = model, next(iter(whole.rpartition(PROBE)[2].split()), "")
        return ""

    async def make_row(self, draft: Draft) -> DivergenceRow:
        """An answer of the model, and what both make of it."""
        task, config = self.tasks[draft.index], self.config
        prompt = [{"role": message["role"], "content": message["content"]} for message in task.conversation]
        draft.keep(task=task.id, category=task.category, prompt=prompt)
        answer = await draft.chat("answer", config.model, task.conversation, Sampling(max_tokens=config.tokens))
        draft.keep(answer=answer.text, cut=answer.truncated)
        (model, tokens), (start, _) = await together(
            self._logprob(draft, "model", config.model, task.conversation, answer.text, ended=not answer.truncated),
            self._logprob(draft, "start", config.start, task.conversation, answer.text, ended=not answer.truncated))
        if not isfinite(model) or not isfinite(start):
            raise Reject("a log-probability is not finite", f"{model} by the model, {start} by the start")
        return DivergenceRow(
            id=draft.id, recipe=self.name, model=config.model.name, seed=draft.seed, calls=draft.calls, task=task.id,
            category=task.category, prompt=prompt, answer=answer.text, cut=answer.truncated, tokens=tokens,
            logprob_model=model, logprob_start=start, kl=model - start)

    async def _logprob(self, draft: Draft, role: str, config: ModelConfig, conversation: Sequence[Message], text: str, *,
                       ended: bool) -> tuple[float, int]:
        """(log-probability of an answer, its tokens); of one that ended, with the mark that ends it."""
        model, mark = self._opened[role]
        text += mark if ended else ""
        if not text:
            return 0.0, 0
        prompt = await model.render(conversation, add_generation_prompt=True)
        (answer,) = await draft.ask(f"logprob {role}", config, Request(task="logprobs", prompt=prompt, continuation=text))
        return fsum(token.logprob for token in answer.logprobs), len(answer.logprobs)

    def finish(self, table: Table, progress: Progress) -> None:
        """Estimate, and keep the estimate in the manifest."""
        missing = len(self.tasks) - len(table)
        reason = self.reason or ("" if len(table) else "no prompt brought an answer with two log-probabilities")
        self.kl = Kl.of(list(table.rows()), tokens=self.config.tokens, level=self.config.level, reason=reason)
        table.notes["kl"], table.notes["kl_says"] = self.kl.to_json(), self.kl.explain()
        if reason:
            table.notes["warnings"] = [self.kl.explain()]
        elif missing:
            table.notes["warnings"] = [f"{missing:,} of {len(self.tasks):,} prompts are left out (see rejected/); the divergence "
                                       "is that of the others"]

    def plan(self) -> Plan:
        """An answer and two log-probabilities a prompt."""
        config = self.config
        length = min(config.tokens, 500)
        return Plan(len(read_tasks(config.tasks, n=config.n, split=config.split)), [
            Step("answer", config.model, 1, 200, length), Step("logprob model", config.model, 1, 200 + length, 0),
            Step("logprob start", config.start, 1, 200 + length, 0)])

    def sections(self, table: Table) -> list[Section]:
        """The estimate."""
        rows = [[name, "-" if found.value is None else f"{found.value:.4g}{_ends(found)}"]
                for name, found in (("nats an answer", self.kl.answer), ("nats a token", self.kl.token))]
        return [Shown("KL divergence to the start", ["what", "estimate"], rows, note=self.kl.explain())]

    def card(self, table: Table) -> str:
        """What the rows are."""
        return (f"Answers of `{self.config.model.name}` with their log-probabilities under it and under "
                f"`{self.config.start.name}`. {self.kl.explain()}.")


RECIPE = Divergence
