"""A toy tokenizer, so that the fake server can play vLLM's `/tokenize` and `/detokenize`.

A special token such as `<|im_start|>` is one number; every other character is its code point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SPECIAL = ("<|im_start|>", "<|im_end|>")
_FIRST = 0x110000
_PARTS = re.compile("|".join(map(re.escape, SPECIAL)) + "|.", re.DOTALL)


def tokenized(text: str) -> list[int]:
    """The token numbers of `text`."""
    return [_FIRST + SPECIAL.index(part) if part in SPECIAL else ord(part) for part in _PARTS.findall(text)]


def detokenized(tokens: Sequence[int]) -> str:
    """The text of token numbers, special tokens included."""
    return "".join(SPECIAL[t - _FIRST] if t >= _FIRST else chr(t) for t in tokens)
