"""Hashed shingles against sets of strings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.filters.shingles import shingle_hashes

TEXTS = st.lists(st.text(st.sampled_from("ab c"), max_size=9) | st.text(st.characters(), max_size=9), max_size=8)


def naive(text, size, unit):
    units = [word for word in text.split(" ") if word] if unit == "word" else list(text)
    units += [None] * (size - len(units))
    return [tuple(units[i:i + size]) for i in range(len(units) - size + 1)]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6), st.sampled_from(["char", "word"]))
def test_hashes_are_equal_exactly_when_the_shingles_are(texts, size, unit):
    hashes, offsets = shingle_hashes(texts, size, unit)
    shingles = [one for text in texts for one in naive(text, size, unit)]
    assert np.diff(offsets).tolist() == [len(naive(text, size, unit)) for text in texts]
    assert len(hashes) == len(shingles) == offsets[-1]
    assert len({*zip(hashes.tolist(), shingles, strict=True)}) == len(set(hashes.tolist())) == len(set(shingles))


@pytest.mark.parametrize(("unit", "first"), [("char", 9865647253375579483), ("word", 11307993644034129304)])
def test_hashes_are_the_same_on_every_machine(unit, first):
    hashes, _ = shingle_hashes(["The quick brown fox jumps"], 3, unit)
    assert int(hashes[0]) == first


def test_order_within_a_shingle_counts():
    hashes, _ = shingle_hashes(["ab", "ba", "a b", "b a"], 2, "char")
    assert len(set(hashes.tolist())) == len(hashes)
    hashes, _ = shingle_hashes(["ab cd", "cd ab", "abc d", "ba cd"], 2, "word")
    assert len(set(hashes.tolist())) == 4


def test_bad_arguments_are_named():
    with pytest.raises(UsageError, match="a shingle of 0 chars"):
        shingle_hashes(["a"], 0)
    with pytest.raises(UsageError, match="unknown unit 'byte'"):
        shingle_hashes(["a"], 1, "byte")
