"""What a run would ask, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pica.synth.models.base import ModelConfig
from pica.synth.progress import duration
from pica.synth.purse import price

#: completion tokens a second, all calls in flight together: rough figures to tell minutes from days
SPEED = {"local": 150.0, "llamacpp": 150.0, "hf": 500.0, "vllm": 5_000.0, "openai": 5_000.0, "fake": 1e6}


@dataclass(frozen=True)
class Step:
    """A step of a row: what is asked of which model, how often, and tokens a call (estimates)."""

    name: str
    model: ModelConfig
    calls: float
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Plan:
    """The calls for `rows` rows, if `accepted` of the candidates are accepted (a guess: 1.0 is all)."""

    rows: int
    steps: Sequence[Step]

    @property
    def calls(self) -> int:
        """Calls in all."""
        return round(sum(step.calls for step in self.steps) * self.rows)

    @property
    def tokens(self) -> tuple[int, int]:
        """(prompt, completion) tokens in all."""
        return (round(sum(step.calls * step.prompt_tokens for step in self.steps) * self.rows),
                round(sum(step.calls * step.completion_tokens for step in self.steps) * self.rows))

    @property
    def cost(self) -> float | None:
        """US dollars; None when a model that may cost has no prices."""
        if any(step.model.price_prompt is None and step.model.name.startswith("openai/") for step in self.steps):
            return None
        return sum(price(step.model, round(step.calls * step.prompt_tokens * self.rows),
                         round(step.calls * step.completion_tokens * self.rows)) for step in self.steps)

    @property
    def seconds(self) -> float:
        """A rough time: each model's completion tokens at the speed of its kind."""
        return sum(step.calls * step.completion_tokens * self.rows / SPEED[_kind(step.model)] for step in self.steps)

    def text(self) -> str:
        """The plan for people."""
        lines = [f"{self.rows:,} rows; every figure is an estimate that assumes each candidate is accepted", "",
                 f"{'step':<14}{'model':<34}{'calls':>10}{'prompt tokens':>16}{'completion':>14}"]
        for step in self.steps:
            calls = step.calls * self.rows
            lines.append(f"{step.name:<14}{step.model.name[:32]:<34}{calls:>10,.0f}{calls * step.prompt_tokens:>16,.0f}"
                         f"{calls * step.completion_tokens:>14,.0f}")
        cost = "unknown: state price_prompt and price_completion" if self.cost is None else f"${self.cost:.2f}"
        lines += ["", f"calls   {self.calls:,}", f"tokens  {sum(self.tokens):,}",
                  f"time    about {duration(self.seconds)}{self._speeds()}", f"cost    {cost}", "nothing was asked"]
        return "\n".join(lines)

    def _speeds(self) -> str:
        kinds = sorted({_kind(step.model) for step in self.steps})
        told = ", ".join(f"{kind} at {SPEED[kind]:,.0f} tokens/s" for kind in kinds)
        return f" ({told})" if told else ""

    def to_json(self) -> dict[str, Any]:
        """The plan for programs."""
        return {"rows": self.rows, "calls": self.calls, "prompt_tokens": self.tokens[0],
                "completion_tokens": self.tokens[1], "cost": self.cost, "seconds": self.seconds,
                "steps": [{"name": step.name, "model": step.model.name, "calls": step.calls * self.rows,
                           "prompt_tokens": step.prompt_tokens, "completion_tokens": step.completion_tokens}
                          for step in self.steps]}


def _kind(model: ModelConfig) -> str:
    """The provider whose speed counts: of a model in another's hands, that of the model itself."""
    return model.name.removeprefix("stick/").partition("/")[0]
