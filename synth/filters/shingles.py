"""Shingles: the overlapping n-grams of a text as 64-bit hashes, for many texts at once in numpy.

The hashes depend on the text alone, not on the process, the platform or the version of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError

#: What an n-gram is made of.
Unit = Literal["char", "word"]

_PAD = 0x110000  # the first number that is no character
_SPACE = 0x20
_MIX_A, _MIX_B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]


def shingle_hashes(texts: Sequence[str], size: int, unit: Unit = "char") -> tuple[Hashes, Offsets]:
    """Hashes of the n-grams of every text, end to end, and where each text's begin.

    Returns `(hashes uint64 [total], offsets int64 [n + 1])`; those of text `i` are `hashes[offsets[i]:offsets[i + 1]]`,
    repeats included. `size`: characters or words in an n-gram. Words are what single spaces part. A text shorter than
    `size` counts as one n-gram, and so does the empty text: every text has at least one.
    """
    if size < 1:
        raise UsageError(f"a shingle of {size} {unit}s is none; give 1 or more")
    if unit == "word":
        units, starts = _word_hashes(texts)
    elif unit == "char":
        codes, starts = _codes(texts)
        units = codes.astype(np.uint64)
    else:
        raise UsageError(f"unknown unit {unit!r} of a shingle; allowed: 'char', 'word'")
    return _ngrams(*_padded(units, starts, size), size)


def _codes(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Offsets]:
    raw = "".join(texts).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(raw, dtype="<u4"), _starts(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))


def _starts(lengths: NDArray[np.int64]) -> Offsets:
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _mixed(values: Hashes) -> Hashes:
    """Spreads every bit over all (the finaliser of SplitMix64), in place."""
    values ^= values >> np.uint64(30)
    values *= _MIX_A
    values ^= values >> np.uint64(27)
    values *= _MIX_B
    values ^= values >> np.uint64(31)
    return values


def _word_hashes(texts: Sequence[str]) -> tuple[Hashes, Offsets]:
    """One hash a word: the sum, over its characters, of a mix of the character and its place."""
    codes, starts = _codes([text + " " for text in texts])
    space = codes == _SPACE
    place = np.arange(len(codes), dtype=np.int64)
    after = np.zeros(len(codes), dtype=np.int64)
    after[1:] = np.where(space[:-1], place[1:], 0)
    begins = np.flatnonzero(~space & (np.maximum.accumulate(after) == place))
    within = (place - np.maximum.accumulate(after)).astype(np.uint64)
    mixed = _mixed(codes.astype(np.uint64) * _STEP + within)
    mixed[space] = 0
    words = np.add.reduceat(mixed, begins) if len(begins) else np.empty(0, dtype=np.uint64)
    return _mixed(words), np.searchsorted(begins, starts).astype(np.int64)


def _padded(units: Hashes, starts: Offsets, size: int) -> tuple[Hashes, Offsets]:
    """The same with every text filled up to `size` units by a mark that no text holds."""
    lengths = np.diff(starts)
    lack = np.maximum(size - lengths, 0)
    if not lack.any():
        return units, starts
    short = np.flatnonzero(lack)
    filled = np.insert(units, np.repeat(starts[1:][short], lack[short]), np.uint64(_PAD))
    return filled, _starts(lengths + lack)


def _ngrams(units: Hashes, starts: Offsets, size: int) -> tuple[Hashes, Offsets]:
    if len(units) == 0:
        return units, starts
    last = len(units) - size + 1
    rolled = units[:last].copy()
    for k in range(1, size):
        rolled *= _MIX_A
        rolled ^= rolled >> np.uint64(32)
        rolled += units[k:k + last]
    inside = np.ones(last, dtype=np.bool_)
    for k in range(1, size):
        crossing = starts[1:-1] - k
        inside[crossing[crossing < last]] = False
    return _mixed(rolled[inside]), _starts(np.diff(starts) - size + 1)
