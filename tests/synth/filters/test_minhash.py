"""Near duplicates against exact Jaccard over all pairs, under shuffling, in other processes, on odd input."""

import hashlib
import os
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pica
from pica.synth.errors import UsageError
from pica.synth.filters.exact import normalise
from pica.synth.filters.minhash import Banding, banding, near_duplicates
from pica.synth.filters.shingles import shingle_hashes

WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "nu") for b in ("ter", "s", "vol", "p", "rin") for c in "aeiou"]


def shingle_set(text, size=5, unit="char"):
    units = list(normalise(text)) if unit == "char" else normalise(text).split()
    units += [None] * (size - len(units))
    return {tuple(units[i:i + size]) for i in range(len(units) - size + 1)}


def jaccard(a, b):
    return len(a & b) / len(a | b)


def naive_label(texts, threshold, size=5, unit="char"):
    sets = [shingle_set(text, size, unit) for text in texts]
    label = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if jaccard(sets[a], sets[b]) >= threshold:
            old, new = label[b], label[a]
            label = [new if one == old else one for one in label]
    return label


def same(label):
    return np.equal.outer(np.asarray(label), np.asarray(label)).tolist()


def planted(n, words, seed=0):
    """Documents in pairs, the second with 0 to 8 words changed."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        document = list(rng.choice(WORDS, words))
        yield " ".join(document)
        for place in rng.choice(words, i % 9, replace=False):
            document[place] = str(rng.choice(WORDS))
        yield " ".join(document)


def test_bands_find_pairs_at_the_threshold():
    for threshold in (0.3, 0.5, 0.8, 0.9, 0.95, 1.0):
        chosen = banding(threshold, 128)
        assert chosen.recall(threshold) >= 0.995
        assert chosen.bands * chosen.rows <= 128
        longer = Banding(128 // (chosen.rows + 1), chosen.rows + 1) if chosen.rows < 128 else None
        assert longer is None or longer.recall(threshold) < 0.995


@pytest.mark.parametrize("unit", ["char", "word"])
def test_planted_near_duplicates_are_found_as_exact_jaccard_says(unit):
    texts = list(planted(400, 40))
    size = 5 if unit == "char" else 2
    sets = [shingle_set(text, size, unit) for text in texts]
    label = near_duplicates(texts, threshold=0.8, shingle=size, unit=unit).label
    pairs = [(jaccard(sets[i], sets[i + 1]), label[i] == label[i + 1]) for i in range(0, len(texts), 2)]
    assert all(found for true, found in pairs if true >= 0.9)
    assert not any(found for true, found in pairs if true < 0.68)  # more than three standard errors below
    assert sum(found == (true >= 0.8) for true, found in pairs) >= 0.9 * len(pairs)
    assert len({found for _, found in pairs}) == 2


def test_exact_verification_gives_exactly_the_naive_groups():
    texts = list(planted(60, 30, seed=1))
    made = near_duplicates(texts, threshold=0.75, verify="exact")
    assert same(made.label) == same(naive_label(texts, 0.75))
    assert 60 < len(made) < 120


SHORT = st.lists(st.text(st.sampled_from("ab \0\ud800é"), max_size=8), max_size=10)


@settings(deadline=None)
@given(SHORT, st.randoms())
def test_shuffling_the_rows_shuffles_the_groups(texts, rng):
    order = list(range(len(texts)))
    rng.shuffle(order)
    one, other = near_duplicates(texts, threshold=0.5), near_duplicates([texts[i] for i in order], threshold=0.5)
    assert other.label.tolist() == one.label[order].tolist()
    assert other.names == one.names


@settings(deadline=None)
@given(SHORT)
def test_short_texts_with_exact_verification_are_grouped_as_naively(texts):
    made = near_duplicates(texts, threshold=0.9, shingle=2, verify="exact")
    assert same(made.label) == same(naive_label(texts, 0.9, 2))


def test_equal_texts_are_one_document_however_many():
    made = near_duplicates(["Same  text"] * 5000 + ["same text", "something else entirely"])
    assert sorted(made.sizes.tolist()) == [1, 5001]


def test_a_chain_is_one_group():
    words = [f"{a}{b}" for a in WORDS[:8] for b in WORDS[:8]]
    texts = [" ".join(words[i:i + 50]) for i in range(6)]
    sets = [shingle_set(text) for text in texts]
    near = [jaccard(a, b) for a, b in pairwise(sets)]
    threshold = min(near)
    assert jaccard(sets[0], sets[-1]) < threshold
    assert len(near_duplicates(texts, threshold=threshold, verify="exact")) == 1


def test_many_unlike_texts_in_one_bucket_are_all_compared():
    shared = " ".join(WORDS[:12])
    texts = [f"{shared} {WORDS[20 + i]} {WORDS[40 + i]}" for i in range(40)]
    made = near_duplicates(texts, threshold=0.95, verify="exact")
    assert same(made.label) == same(naive_label(texts, 0.95))


def test_odd_texts_are_taken():
    huge = " ".join(str(i * i) for i in range(90_000))  # a megabyte
    texts = ["", " \n", "\0", "\ud800", "\ud800 ", huge, huge + "end", "日本語のテキスト", "a"]
    label = near_duplicates(texts).label.tolist()
    assert label[0] == label[1]
    assert label[3] == label[4]
    assert label[5] == label[6]
    assert len(set(label)) == 6


def test_no_texts_and_one_text():
    assert near_duplicates([]).rows == 0
    assert near_duplicates(["a"]).label.tolist() == [0]


def test_signatures_are_those_of_the_algorithm_that_was_measured():
    from rensa import RMinHash

    hashes, offsets = shingle_hashes(["The quick brown fox jumps over the lazy dog", "", "ab"], 5)
    values = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), 128, 0).to_rows()
    digest = hashlib.blake2b(np.array(values, dtype="<u4").tobytes(), digest_size=8).hexdigest()
    assert (RMinHash.ALGORITHM_VERSION, digest) == (2, "cfd918baf68a393b")


def test_another_process_finds_the_same_groups():
    script = ("from pica.synth.filters.minhash import near_duplicates as f;"
              "print(f([' '.join(str(j * i % 7) for j in range(30)) for i in range(40)], seed=3).label.tolist())")
    root = Path(pica.__file__).parents[1]
    runs = {subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed}).stdout
            for seed in "12"}
    assert len(runs) == 1


def test_settings_travel_with_the_groups():
    settings_ = near_duplicates(["a"], threshold=0.7, seed=5).settings
    assert settings_["threshold"] == 0.7
    assert settings_["seed"] == 5
    assert settings_["bands"] * settings_["rows"] <= 128


@pytest.mark.parametrize(("arguments", "message"), [
    ({"threshold": 0}, "threshold 0 is no Jaccard similarity"),
    ({"threshold": 1.5}, "threshold 1.5"),
    ({"threshold": 0.01}, "raise permutations or the threshold"),
    ({"permutations": 1}, "1 permutations; allowed"),
    ({"verify": "never"}, "unknown verify 'never'"),
    ({"shingle": 0}, "a shingle of 0 chars"),
    ({"unit": "byte"}, "unknown unit 'byte'"),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        near_duplicates(["a"], **arguments)
