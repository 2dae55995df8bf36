"""What a run has used, and has set aside for calls in flight: no call is made that could pass a cap."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pica.synth.budget import Budget
from pica.synth.errors import BudgetSpent, UsageError
from pica.synth.ledger import Spent
from pica.synth.models.base import Answer, ModelConfig, Request

TOKENS_PER_MESSAGE = 16  # room for the chat template's own tokens around a message
TOKENS_PER_PROMPT = 64   # and for a default system block


@dataclass(frozen=True)
class Reserved:
    """What a call may use at most, set aside while it is in flight."""

    calls: int
    tokens: int
    cost: float


def token_bound(request: Request) -> tuple[int, int]:
    """Upper bounds (prompt tokens, completion tokens) of a request.

    A byte-level tokenizer never makes more tokens than the text has bytes, which makes the caps hard at the price of
    setting aside more than will be used.
    """
    texts = [request.prompt, request.continuation, *(message["content"] for message in request.messages)]
    prompt = sum(len(text.encode(errors="replace")) for text in texts)
    prompt += TOKENS_PER_PROMPT + TOKENS_PER_MESSAGE * len(request.messages)
    completion = request.sampling.max_tokens * request.n if request.task in {"complete", "chat"} else 0
    return prompt, completion


def price(config: ModelConfig, prompt_tokens: int, completion_tokens: int) -> float:
    """US dollars for these tokens; 0 where the config states no prices."""
    return ((config.price_prompt or 0.0) * prompt_tokens + (config.price_completion or 0.0) * completion_tokens) / 1e6


class Purse:
    """What is spent and set aside of a `Budget`. `spent` is what earlier runs of the folder have used."""

    def __init__(self, budget: Budget, spent: Spent) -> None:
        self.budget = budget
        self.calls = spent.calls
        self.tokens = spent.prompt_tokens + spent.completion_tokens
        self.cost = spent.cost
        self._aside = Reserved(0, 0, 0.0)
        self._in_flight = 0
        self._changed: asyncio.Event = asyncio.Event()
        self.capped = (budget.calls, budget.tokens, budget.cost) != (None, None, None)

    def check(self, config: ModelConfig) -> None:
        """Raise `UsageError` where the cost is capped and this model's prices are not stated."""
        if self.budget.cost is not None and (config.price_prompt is None or config.price_completion is None):
            raise UsageError(f"budget.cost={self.budget.cost} needs the prices of {config.name}: give its role "
                             "price_prompt and price_completion (US dollars per million tokens)")

    async def reserve(self, config: ModelConfig, request: Request) -> Reserved:
        """Set aside what the call may use; waits for calls in flight where that decides. Raises `BudgetSpent`."""
        self.check(config)
        prompt, completion = token_bound(request)
        wanted = Reserved(request.n, prompt + completion, price(config, prompt, completion))
        while lacking := self._lacking(wanted):
            if not self._in_flight:
                raise BudgetSpent(lacking)
            self._changed.clear()
            await self._changed.wait()
        self._move(wanted, 1)
        return wanted

    def settle(self, reserved: Reserved, config: ModelConfig, answers: list[Answer]) -> None:
        """Replace what was set aside by what the answers used (nothing, for a call that failed)."""
        self._move(reserved, -1)
        self._changed.set()
        for answer in answers:
            self.calls += 1
            self.tokens += answer.prompt_tokens + answer.completion_tokens
            self.cost += price(config, answer.prompt_tokens, answer.completion_tokens)

    def _move(self, what: Reserved, sign: int) -> None:
        aside = self._aside
        self._aside = Reserved(aside.calls + sign * what.calls, aside.tokens + sign * what.tokens,
                               aside.cost + sign * what.cost)
        self._in_flight += sign

    def _lacking(self, wanted: Reserved) -> str:
        caps = [("calls", self.calls, self._aside.calls, wanted.calls, self.budget.calls),
                ("tokens", self.tokens, self._aside.tokens, wanted.tokens, self.budget.tokens),
                ("cost", self.cost, self._aside.cost, wanted.cost, self.budget.cost)]
        for name, used, aside, more, cap in caps:
            if cap is not None and used + aside + more > cap + 1e-9:
                unit = f"{used:.4f}" if name == "cost" else f"{used:,}"
                need = f"{more:.4f}" if name == "cost" else f"{more:,}"
                return (f"budget.{name}={cap} does not cover the next call: {unit} used, up to {need} more needed; "
                        f"raise budget.{name} and give the same command to go on")
        return ""
