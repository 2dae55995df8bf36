"""The implicit reward of a policy trained by DPO: how much likelier it finds an answer than its reference does.

Source: Rafailov et al., "Direct Preference Optimization" (2023), equation 5 without the term that depends on the
prompt alone: beta * (log pi(y|x) - log ref(y|x)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum, isfinite
from typing import Any

from pica.synth.errors import UsageError
from pica.synth.models.base import Message, ModelConfig, Renders, Request
from pica.synth.plan import Step
from pica.synth.rewards.base import Row, Score, Scorer
from pica.synth.run import Draft, Run, together


@dataclass(frozen=True)
class Implicit(Scorer):
    """beta * (log pi(y|x) - log ref(y|x)) in nats, without bounds; `per_token`: divided by the tokens of the answer.

    Each model shows the conversation by its own chat template; the answer is what follows the generation prompt, the
    token that ends it included, as in DPO itself. Both must give `logprobs` and render (`hf/`, `vllm/`, `openai/` on vLLM).
    """

    policy: ModelConfig
    reference: ModelConfig
    beta: float = 0.1
    per_token: bool = False
    _opened: dict[str, Renders] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Both models and beta."""
        share = ", per token" if self.per_token else ""
        return f"{self.policy.name} against {self.reference.name} (implicit reward, beta {self.beta:g}{share}, no bounds)"

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """Policy and reference."""
        return (self.policy, self.reference)

    async def prepare(self, run: Run) -> None:
        """Find the models. Raises `UsageError` for one that cannot show its chat template."""
        for config in self.models:
            model = run.caller.lane(config).model
            if not isinstance(model, Renders):
                raise UsageError(f"{config.name} cannot show its chat template, which an implicit reward needs; use hf/PATH, "
                                 "vllm/PATH, or openai/NAME on a vLLM server")
            self._opened[config.name] = model

    async def score(self, draft: Draft, step: str, messages: Sequence[Message], row: Row | None = None) -> Score:
        """The implicit reward. Unscored where a log-probability is no number."""
        (policy, tokens), (reference, _) = await together(
            self._logprob(draft, f"{step}_policy", self.policy, messages),
            self._logprob(draft, f"{step}_reference", self.reference, messages))
        if not tokens or not isfinite(policy) or not isfinite(reference):
            return Score(None, reason="not a number", detail=f"log-probabilities {policy}, {reference} of {tokens} tokens")
        return Score(self.beta * (policy - reference) / (tokens if self.per_token else 1))

    async def _logprob(self, draft: Draft, step: str, config: ModelConfig, messages: Sequence[Message]) -> tuple[float, int]:
        """(log-probability of the answer, its tokens)."""
        assert config.name in self._opened, "prepare(run) comes before the first score"
        model = self._opened[config.name]
        prompt = await model.render(messages[:-1], add_generation_prompt=True)
        whole = await model.render(messages, add_generation_prompt=False)
        if not whole.startswith(prompt):
            raise UsageError(f"the chat template of {config.name} shows a prompt differently once it is answered, so the "
                             "answer's tokens cannot be told apart; use a model whose template does not")
        request = Request(task="logprobs", prompt=prompt, continuation=whole[len(prompt):])
        (answer,) = await draft.ask(step, config, request)
        return fsum(token.logprob for token in answer.logprobs), len(answer.logprobs)

    def plan(self, step: str, prompt_tokens: int, calls: float = 1) -> list[Step]:
        """Two calls an answer."""
        return [Step(f"{step}_{role}", model, calls, prompt_tokens, 0)
                for role, model in (("policy", self.policy), ("reference", self.reference))]

    def describe(self) -> dict[str, Any]:
        """Models, beta, and whether length counts."""
        return {**super().describe(), "kind": "implicit", "policy": self.policy.name, "reference": self.reference.name,
                "beta": self.beta, "per_token": self.per_token}
