"""Choosing tokens for a batch so that each row depends on its own seed alone.

Every row draws one uniform number a token from its own generator and takes the token where the cumulative probability
passes it. Batch mates share no randomness; what remains of them is rounding in the model's own arithmetic.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pica.synth.models.base import Sampling, TokenLogprob


@dataclass(eq=False)
class Row:
    """One sample on its way: the tokens so far and why it ended (`finish`, empty while it goes on)."""

    prompt: list[int]
    seed: int
    limit: int
    future: Future[Any]
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str = ""
    text: str | None = None

    def __post_init__(self) -> None:
        self.random = np.random.Generator(np.random.Philox(self.seed))


class Chooser:
    """A logits processor for `generate` that picks the next token of every row, and a criterion for when to stop."""

    def __init__(self, rows: list[Row], sampling: Sampling, tokenizer: Any, ends: set[int], masks: Any = None) -> None:
        self.rows, self.sampling, self.tokenizer, self.ends, self.masks = rows, sampling, tokenizer, ends, masks
        self.tail = max((len(stop.encode()) for stop in sampling.stop), default=0) + 8

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores in which each row's choice is the only possible token."""
        import torch

        logits = scores.float()
        chosen = self._choose(self._penalised(logits))
        if self.sampling.logprobs:
            self._note(logits, chosen)
        for row, token in zip(self.rows, chosen.tolist(), strict=True):
            if not row.finish:
                self._take(row, token)
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen[:, None].to(scores.device), 0.0)

    def stop(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Which rows have ended, as the stopping criterion of `generate`."""
        import torch

        for row in self.rows:
            if row.future.cancelled():
                row.finish = row.finish or "cancelled"
        return torch.tensor([bool(row.finish) for row in self.rows], device=input_ids.device)

    def _take(self, row: Row, token: int) -> None:
        """Add a token to a row and see whether it ends there."""
        if token in self.ends:
            row.finish = "stop"
            row.logprobs = row.logprobs[: len(row.ids)]
            return
        row.ids.append(token)
        if self.sampling.stop:
            tail = self.tokenizer.decode(row.ids[-self.tail:], skip_special_tokens=True)
            if any(stop in tail for stop in self.sampling.stop):
                self._cut(row)
        if not row.finish and len(row.ids) >= row.limit:
            row.finish = "length"

    def _cut(self, row: Row) -> None:
        """End a row before the earliest stop string in it."""
        text = self.tokenizer.decode(row.ids, skip_special_tokens=True)
        found = [at for stop in self.sampling.stop if (at := text.find(stop)) >= 0]
        if found:
            row.text, row.finish = text[: min(found)], "stop"

    def _penalised(self, logits: Any) -> Any:
        """Repetition penalty over prompt and answer; frequency and presence penalties over the answer."""
        import torch

        given = self.sampling
        logits = logits if self.masks is None else self.masks(logits, self.rows)
        if given.repetition_penalty == 1 and not given.frequency_penalty and not given.presence_penalty:
            return logits
        logits = logits.clone()
        for i, row in enumerate(self.rows):
            seen = torch.tensor(sorted({*row.prompt, *row.ids}), device=logits.device)
            some = logits[i, seen]
            logits[i, seen] = torch.where(some > 0, some / given.repetition_penalty, some * given.repetition_penalty)
            if row.ids:
                tokens, counts = np.unique(row.ids, return_counts=True)
                less = given.presence_penalty + given.frequency_penalty * torch.from_numpy(counts).to(logits)
                logits[i, torch.from_numpy(tokens).to(logits.device)] -= less
        return logits

    def _choose(self, logits: Any) -> Any:
        """One token a row."""
        import torch

        if self.sampling.greedy:
            return logits.argmax(-1)
        probabilities, tokens = self._candidates(logits / self.sampling.temperature)
        total = probabilities.double().cumsum(-1)
        drawn = torch.tensor([[row.random.random()] for row in self.rows], dtype=total.dtype, device=total.device)
        at = torch.searchsorted(total, drawn * total[:, -1:], right=True).clamp(max=total.shape[1] - 1)
        return at[:, 0] if tokens is None else tokens.gather(1, at)[:, 0]

    def _candidates(self, logits: Any) -> tuple[Any, Any]:
        """Probabilities that are left after top-k, top-p and min-p, and their tokens (None: the vocabulary's order)."""
        given, tokens = self.sampling, None
        if given.top_k:
            logits, tokens = logits.topk(min(given.top_k, logits.shape[1]), dim=-1)
        elif given.top_p < 1:
            logits, tokens = logits.sort(dim=-1, descending=True)
        probabilities = logits.softmax(-1)
        if given.top_p < 1:
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.masked_fill(before >= given.top_p, 0.0)
        if given.min_p:
            floor = probabilities.max(-1, keepdim=True).values * given.min_p
            probabilities = probabilities.masked_fill(probabilities < floor, 0.0)
        return probabilities, tokens

    def _note(self, logits: Any, chosen: Any) -> None:
        """Keep the model's own log-probabilities of the chosen tokens and of the likeliest."""
        logs = logits.log_softmax(-1)
        of_chosen = logs.gather(1, chosen[:, None])[:, 0].tolist()
        top = logs.topk(self.sampling.logprobs, dim=-1)
        decode = self.tokenizer.decode
        for row, token, value, values, ids in zip(self.rows, chosen.tolist(), of_chosen, top.values.tolist(),
                                                  top.indices.tolist(), strict=True):
            if not row.finish:
                likeliest = {decode([i]): v for i, v in zip(ids, values, strict=True)}
                row.logprobs.append(TokenLogprob(decode([token]), value, likeliest))
