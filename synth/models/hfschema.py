"""Holding transformers to a JSON schema, with llguidance where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from pica.synth.errors import BadRequest


def can_constrain() -> bool:
    """Whether answers can be held to a schema here."""
    return importlib.util.find_spec("llguidance") is not None


def schema_masks(schema: dict[str, Any] | None, tokenizer: Any, rows: int) -> Any:
    """A function that forbids tokens against the schema, or None where there is no schema or no llguidance.

    It takes logits [rows, vocabulary] and the rows, and is called once a token. Raises `BadRequest` for a schema that
    llguidance cannot follow.
    """
    if schema is None or not can_constrain():
        return None
    return _Masks(schema, tokenizer, rows)


@lru_cache(maxsize=4)
def _guide(tokenizer: Any) -> Any:
    return importlib.import_module("llguidance.hf").from_tokenizer(tokenizer)


class _Masks:
    """The state of each row in the grammar."""

    def __init__(self, schema: dict[str, Any], tokenizer: Any, rows: int) -> None:
        matcher = importlib.import_module("llguidance").LLMatcher
        self._numpy = importlib.import_module("llguidance.numpy")
        grammar = matcher.grammar_from_json_schema(orjson.dumps(schema).decode())
        guide = _guide(tokenizer)
        if wrong := matcher.validate_grammar(grammar, guide):
            raise BadRequest(f"the JSON schema cannot be followed ({' '.join(wrong.split())[:200]}); mend the schema")
        self._matchers = [matcher(guide, grammar) for _ in range(rows)]
        self._fed = [0] * rows
        self._bits = self._numpy.allocate_token_bitmask(rows, guide.vocab_size)

    def __call__(self, logits: Any, rows: list[Any]) -> Any:
        """Logits in which tokens against the schema are impossible."""
        import torch

        for i, (matcher, row) in enumerate(zip(self._matchers, rows, strict=True)):
            for token in row.ids[self._fed[i]:]:
                matcher.consume_token(token)
            self._fed[i] = len(row.ids)
            if not row.finish:
                self._numpy.fill_next_token_bitmask(matcher, self._bits, i)
        allowed = np.unpackbits(self._bits.view(np.uint8), axis=1, bitorder="little").astype(bool)[:, : logits.shape[1]]
        forbidden = np.ones(logits.shape, dtype=bool)  # what lies beyond the tokenizer's vocabulary stays forbidden
        forbidden[:, : allowed.shape[1]] = ~allowed
        return logits.masked_fill(torch.from_numpy(forbidden).to(logits.device), float("-inf"))
