"""Exact duplicates against a dictionary of normalised texts."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.filters.exact import exact_groups, normalise

ANY_TEXT = st.text(st.characters(), max_size=12)  # lone surrogates and NUL included
LIKELY_EQUAL = st.text(st.sampled_from("aA bB\t\n\u00a0ﬁ\uff21é\u0301\0\ud800ßẞ.!"), max_size=5)


def test_normalise_levels_width_case_and_space():
    assert normalise("  \uff28ello\t\u00a0WORLD\n") == "hello world"
    assert normalise("ﬁne Straße") == "fine strasse"
    assert normalise("e\u0301") == normalise("É") == "é"
    assert normalise("Hello", keep_case=True) == "Hello"
    assert normalise("Don't  stop -- now_!", keep_punctuation=False) == "don t stop now"
    assert normalise(" \n ") == normalise("?!", keep_punctuation=False) == ""
    assert normalise("a\0b\ud800") == "a\0b\ud800"


@settings(deadline=None)
@given(st.lists(st.one_of(ANY_TEXT, LIKELY_EQUAL), max_size=20), st.booleans(), st.booleans())
def test_groups_are_those_of_a_dictionary(texts, keep_case, keep_punctuation):
    made = exact_groups(iter(texts), keep_case=keep_case, keep_punctuation=keep_punctuation)
    levelled = [normalise(text, keep_case=keep_case, keep_punctuation=keep_punctuation) for text in texts]
    same = made.label[:, None] == made.label[None, :]
    assert same.tolist() == [[a == b for b in levelled] for a in levelled]


@settings(deadline=None)
@given(st.lists(LIKELY_EQUAL, max_size=20), st.randoms())
def test_shuffling_the_rows_shuffles_the_labels(texts, rng):
    order = list(range(len(texts)))
    rng.shuffle(order)
    assert exact_groups([texts[i] for i in order]).label.tolist() == exact_groups(texts).label[order].tolist()


def test_settings_travel_with_the_groups():
    assert dict(exact_groups(["a"]).settings) == {"method": "exact", "keep_case": False, "keep_punctuation": True}


def test_a_stream_of_texts_is_held_as_hashes_only():
    n = 50_000
    tracemalloc.start()
    made = exact_groups(f"{i % (n // 2)} " + "x" * 2_000 for i in range(n))  # 100 MB of text
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made) == n // 2
    assert np.all(made.sizes == 2)
    assert peak < 150 * n  # bytes: under 150 MB for a million
