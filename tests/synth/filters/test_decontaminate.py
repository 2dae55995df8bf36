"""Evaluation prompts in texts, against a naive search, and by embedding."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.embed import HashEmbedder
from pica.synth.errors import UsageError
from pica.synth.filters.decontaminate import EvalIndex, Overlap, words_of

LONG = "Write a short story about a lighthouse keeper who finds a letter in a bottle one stormy winter night."
SHORT = "Explain how rainbows are formed."
TINY = "Tell a joke"
INDEX = EvalIndex({"arena": [LONG, SHORT], "wild": [TINY, "", "???", "请写一首关于秋天的诗，要押韵。"]})  # noqa: RUF001


def found(text):
    return INDEX.overlaps([text])[0]


def test_words_have_no_case_width_or_punctuation():
    assert words_of("The CAT,\uff54\uff48\uff45 cat's 3.5!") == ["the", "cat", "the", "cat", "s", "3", "5"]
    assert words_of("喜鹊是鸟 ok") == ["喜", "鹊", "是", "鸟", "ok"]
    assert words_of(" ... \n") == []


def test_thirteen_words_in_a_row_are_an_overlap():
    words = "lighthouse keeper who finds a letter in a bottle one stormy winter night"
    assert len(words.split()) == 13
    assert found(f"So, THE {words.upper()}!") == Overlap("arena", 0, "ngram", words)
    assert found("So, the " + words.replace("bottle", "jar")) is None
    assert found(" ".join(words.split()[:12])) is None


def test_case_width_and_punctuation_do_not_matter():
    text = "EXPLAIN:   how (rainbows) are\n\uff0aformed\uff0a??"
    assert found(text) == Overlap("arena", 1, "contains", "explain how rainbows are formed")


def test_a_shorter_prompt_must_be_there_whole():
    assert found(f"Please do this: {SHORT} Thank you.").how == "contains"
    assert found("Please explain how rainbows are made.") is None


def test_a_tiny_prompt_must_be_all_there_is():
    assert found("tell a JOKE!") == Overlap("wild", 0, "equal", "tell a joke")
    assert found("Tell a joke about lighthouses, please") is None


def test_scripts_without_spaces_are_read_by_the_character():
    assert found("你好。请写一首关于秋天的诗要押韵谢谢。").prompt == 3
    assert found("请写一首关于春天的诗要押韵。") is None


def test_prompts_without_words_match_nothing():
    assert [found(text) for text in ("", "???", "!", " ", "\0", "\ud800")] == [None] * 6


def test_evidence_is_a_sentence():
    assert found(SHORT).explain() == "shares 'explain how rainbows are formed' with prompt 1 of arena (contains)"
    near = Overlap("wild", 2, "embedding", distance=0.0312)
    assert near.explain() == "lies at a squared distance of 0.031 from prompt 2 of wild"


def naive(prompts, text, ngram):
    text_words, hits = re.findall(r"[a-z]+", text), set()
    for at, prompt in enumerate(prompts):
        words = re.findall(r"[a-z]+", prompt)
        size = min(len(words), ngram)
        grams = [f" {' '.join(words[i:i + size])} " for i in range(len(words) - size + 1)]
        shared = any(gram in f" {' '.join(text_words)} " for gram in grams)
        if (size >= 5 and shared) or (0 < size < 5 and words == text_words):
            hits.add(at)
    return hits


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9).map(" ".join)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=5))
def test_overlaps_are_those_of_a_naive_search(prompts, texts):
    index = EvalIndex({"eval": prompts}, ngram=6)
    for text, overlap in zip(texts, index.overlaps(texts), strict=True):
        hits = naive(prompts, text, 6)
        assert overlap.prompt in hits if overlap else not hits


@settings(deadline=None)
@given(st.lists(WORDS, max_size=6), st.randoms())
def test_a_text_is_judged_by_itself(texts, rng):
    order = list(range(len(texts)))
    rng.shuffle(order)
    index = EvalIndex({"eval": ["a b c a b c a", "b b b b b", "a"]}, embedder=HashEmbedder(), threshold=0.3)
    assert index.overlaps([texts[i] for i in order]) == [index.overlaps([texts[i]])[0] for i in order]


def test_embeddings_find_what_words_do_not():
    index = EvalIndex({"arena": [SHORT, LONG]}, embedder=HashEmbedder(), threshold=0.5)
    plain, near, far = index.overlaps([SHORT, LONG.replace("keeper who finds", "keeper that finds").replace("one", "a"),
                                       "Name three rivers."])
    assert (plain.how, far) == ("contains", None)
    assert (near.how, near.prompt) == ("embedding", 1)
    assert 0 < near.distance <= 0.5


CLOSING = "Answer in no more than three short sentences, and please do not use any lists or headings."
THINGS = ("rivers", "candles", "bread", "violins", "glaciers", "bridges", "spiders", "clocks", "paper", "salt", "kites", "owls")


def templated(thing):
    return f"Tell me what there is to know about {thing}. {CLOSING}"


@pytest.mark.parametrize(("times", "ignored"), [(10, 0), (11, 5)])
def test_words_in_more_than_ten_texts_are_no_evidence(times, ignored):
    among = [templated(thing) for thing in THINGS[:times]]
    index = EvalIndex({"held": among[:1]}, among=[*among, *among, among[0].upper()])  # a text counts once
    assert index.ignored == ignored
    assert [overlap is not None for overlap in index.overlaps([among[1], templated("ink")])] == [not ignored] * 2
    assert index.overlaps([f"So: {among[0]}"])[0].how == "ngram"  # a real leak holds words of its own


def test_a_prompt_without_words_of_its_own_counts_where_all_of_it_stands():
    variants = [f"{CLOSING} And tell me of {thing} what there is to know." for thing in THINGS]
    index = EvalIndex({"held": [CLOSING]}, among=[CLOSING, *variants])
    assert [one.how for one in index.overlaps([CLOSING, f"Now: {CLOSING.upper()}"])] == ["contains"] * 2
    assert index.overlaps(["So, " + " ".join(CLOSING.split()[1:])]) == [None]
    assert EvalIndex({"held": [CLOSING]}).overlaps(["So, " + " ".join(CLOSING.split()[1:])])[0].how == "ngram"
    short = " ".join(CLOSING.split()[:13])
    assert EvalIndex({"held": [short]}, among=[short, *variants]).overlaps([f"{short} please"])[0].words == short.lower().replace(
        ",", "")


@settings(deadline=None)
@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=8), st.integers(1, 3))
def test_overlaps_among_texts_are_those_of_a_naive_search(prompts, texts, common):
    index = EvalIndex({"eval": prompts}, ngram=6, among=texts, common=common)
    for text, overlap in zip(texts, index.overlaps(texts), strict=True):
        hits = naive_among(prompts, text, texts, common)
        assert overlap.prompt in hits if overlap else not hits


def naive_among(prompts, text, texts, common):
    hits = set()
    for at in naive(prompts, text, 6):
        words, padded = prompts[at].split(), f" {text} "
        grams = [f" {' '.join(words[i:i + 6])} " for i in range(len(words) - 5)]
        rare = [gram for gram in grams if sum(gram in f" {one} " for one in set(texts)) <= common]
        if len(words) < 6 or any(gram in padded for gram in rare) or (not rare and f" {prompts[at]} " in padded):
            hits.add(at)
    return hits


def test_no_prompts_and_no_texts():
    assert EvalIndex({}, embedder=HashEmbedder()).overlaps(["a", ""]) == [None, None]
    assert INDEX.overlaps([]) == []
    assert len(INDEX) == 6


def test_megabytes_of_one_line_are_searched():
    assert found("word " * 200_000 + LONG).how == "ngram"


def test_too_short_n_grams_are_refused():
    with pytest.raises(UsageError, match="n-grams of 3 words match everywhere; give 5 or more"):
        EvalIndex({}, ngram=3)
