"""What answers look like: every number against a second way to get it; a collapse is seen, healthy answers are not accused."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.collapse import Baseline, Shape, answers_of, compare, prompts_of
from pica.eval.diversity import distinct, nearest, repeated, self_similarity, topic_entropy, topics_of
from pica.eval.ratio import Ratio, ratio
from pica.synth.embed import HashEmbedder
from pica.synth.errors import UsageError

for package in ("rensa", "sklearn"):
    pytest.importorskip(package, reason=f'{package} is not installed; pip install "pica[filters]"')

TEXTS = st.lists(st.text(alphabet="ab c", max_size=8), min_size=1, max_size=3)


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, dtype=np.float64)
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


# definitions --------------------------------------------------------------------------------------------------------------------


def test_distinct_ngrams() -> None:
    texts = ["The cat, the cat!"]  # the cat, cat the, the cat
    assert distinct(texts, 1) == 2 / 4
    assert distinct(texts, 2) == pytest.approx(2 / 3)
    assert distinct(texts, 2, size=2) == pytest.approx((2 + 1 + 2) / 3 / 2)  # the three ways to draw two
    assert distinct(texts, 2, size=1) == pytest.approx(1)
    assert distinct(texts, 2, size=4) is None
    assert distinct(["a b", "b a"], 2) == 1  # none goes from one text into the next
    assert distinct(["a"], 2) is distinct([], 1) is distinct(["", "?"], 1) is None


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(1, 6))
def test_distinct_ngrams_are_what_drawing_gives(texts: list[str], n: int, size: int) -> None:
    grams = [tuple(words[i:i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    found = distinct(texts, n, size=size)
    if len(grams) < size:
        assert found is None
    else:
        draws = [len(set(drawn)) / size for drawn in combinations(grams, size)]
        assert found == pytest.approx(sum(draws) / len(draws))
        assert found == pytest.approx(distinct(texts[::-1], n, size=size), abs=0)


def test_distinct_ngrams_of_much_text_are_exact() -> None:
    """A hundred kinds, ten of each: what many random draws come to."""
    generator = np.random.default_rng(0)
    pool = np.repeat(np.arange(100), 10)
    found = distinct([" ".join(f"w{i}" for i in pool)], 1, size=200)
    seen = [len(set(generator.choice(pool, 200, replace=False))) / 200 for _ in range(3000)]
    assert found == pytest.approx(np.mean(seen), abs=5 * np.std(seen) / math.sqrt(3000))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3).filter(lambda row: sum(map(abs, row)) > 0.1),
                min_size=2, max_size=9))
def test_self_similarity_is_the_mean_of_all_pairs(rows: list[list[float]]) -> None:
    vectors = unit(rows)
    pairs = [float(a.astype(float) @ b.astype(float)) for a, b in combinations(vectors, 2)]
    assert self_similarity(vectors) == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)


def test_self_similarity_of_little() -> None:
    assert self_similarity(unit([[1, 0]])) is None
    assert self_similarity(unit([[3, 4]] * 5)) == pytest.approx(1, abs=1e-6)
    assert self_similarity(unit([[1, 0], [0, 1], [-1, 0], [0, -1]])) == pytest.approx(-1 / 3)


def test_repeated_answers() -> None:
    long = "Magpies build domed nests of twigs and mud high up in thorny trees every spring"
    assert repeated([long, f"{long}.", "Something else entirely", "One more"]) == 0.5
    assert repeated([long, "Something else entirely"]) == 0
    assert repeated([long] * 3) == 1
    assert repeated([]) is None


# topics -------------------------------------------------------------------------------------------------------------------------


def blobs(k: int, each: int, seed: int = 0) -> np.ndarray:
    """`k` clear topics in 16 numbers."""
    generator = np.random.default_rng(seed)
    middle = np.linalg.qr(generator.normal(size=(16, 16)))[0][:k]
    return unit((np.repeat(middle, each, axis=0) + generator.normal(scale=0.03, size=(k * each, 16))).tolist())


def test_topics_are_found() -> None:
    vectors = blobs(5, 20)
    place = nearest(vectors, topics_of(vectors, 5))
    assert sorted(Counter(place.tolist()).values()) == [20] * 5
    assert all(len(set(place[begin:begin + 20].tolist())) == 1 for begin in range(0, 100, 20))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 6))
def test_topics_are_the_middles_of_what_is_nearest(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = unit(generator.normal(size=(30, 4)).tolist())
    topics = topics_of(vectors, k, seed=seed)
    place = nearest(vectors, topics)
    assert place.tolist() == [min(range(k), key=lambda t: ((v - topics[t]) ** 2).sum()) for v in vectors.astype(float)]
    for topic in range(k):
        assert topics[topic] == pytest.approx(vectors[place == topic].astype(float).mean(axis=0), abs=1e-6)
    shuffled = topics_of(vectors[generator.permutation(30)], k, seed=seed)
    assert (shuffled == topics).all()


def test_a_text_that_stands_often_weighs_as_often() -> None:
    often, once, far = [1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]
    topics = topics_of(unit([often, far, often, once, often, far]), 2)
    assert sorted(topics.tolist()) == [pytest.approx(far), pytest.approx([3.8 / 4, 0.6 / 4, 0.0])]


def test_fewer_topics_than_asked_for() -> None:
    assert len(topics_of(unit([[1, 0]] * 4 + [[0, 1]]), 3)) == 2


def test_the_entropy_of_topics() -> None:
    topics = np.eye(4)
    vectors = unit([[1, 0, 0, 0]] * 6 + [[0, 1, 0, 0]] * 2)
    plain = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert topic_entropy(vectors, topics) == pytest.approx((plain + 1 / 16) / math.log(4))
    assert topic_entropy(unit([[1, 0, 0, 0]] * 6), topics) == 0
    assert topic_entropy(unit(np.eye(4).tolist()), topics) == 1  # 1.27 with the correction: there is no more than even
    assert topic_entropy(vectors[:0], topics) is None


def test_the_entropy_of_few_answers_is_not_much_too_small() -> None:
    share = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02])
    truth = -(share * np.log(share)).sum() / math.log(8)
    generator = np.random.default_rng(0)
    found, plain = [], []
    for _ in range(400):
        drawn = generator.choice(8, 40, p=share)
        found.append(topic_entropy(np.eye(8, dtype=np.float32)[drawn], np.eye(8)))
        seen = np.bincount(drawn)[np.bincount(drawn) > 0] / 40
        plain.append(-(seen * np.log(seen)).sum() / math.log(8))
    assert abs(np.mean(found) - truth) < 0.01 < 0.03 < truth - np.mean(plain)


# lengths ------------------------------------------------------------------------------------------------------------------------


def test_a_ratio() -> None:
    made = ratio([12, 30, 9], [10, 20, 9])
    rest = np.array([12, 30, 9]) - 51 / 39 * np.array([10, 20, 9])
    half = 4.302652729911275 * rest.std(ddof=1) / 13 / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert (made.value, made.n, made.level) == (51 / 39, 3, 0.95)
    assert (made.lower, made.upper) == (pytest.approx(51 / 39 - half), pytest.approx(51 / 39 + half))
    assert ratio([2, 4], [1, 2]) == Ratio(2, 2, 2, 2, 0.95)
    assert ratio([2], [4]) == Ratio(0.5, None, None, 1, 0.95)
    assert ratio([2, 1], [0, 0]) == Ratio(None, None, None, 2, 0.95)
    assert ratio([], []).flat("x") == {"x": None, "x_lower": None, "x_upper": None}
    with pytest.raises(UsageError, match="1 numbers above and 2 below"):
        ratio([1], [1, 2])


def test_intervals_of_ratios_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        before = generator.gamma(4, 25, 40)
        made = ratio(before * generator.gamma(9, 1.3 / 9, 40), before)
        assert made.lower is not None and made.upper is not None
        held += made.lower <= 1.3 <= made.upper
    assert 0.92 <= held / 1000 <= 0.97


# answers of a model -------------------------------------------------------------------------------------------------------------

WORDS = ["bird", "tree", "nest", "river", "stone", "cloud", "market", "engine", "window", "letter", "garden", "winter", "music",
         "number", "farmer", "castle", "island", "paper", "silver", "kitchen", "bridge", "forest", "doctor", "planet", "carpet",
         "horse", "button", "lantern", "harbour", "mountain"]
PROMPTS = {f"t{i}": f"Tell me about the {WORDS[i % 10]} and the {WORDS[10 + i % 7]}, number {i}." for i in range(60)}


def answer(task: str, seed: int, length: int = 40) -> str:
    """An answer on the prompt's own things, of about so many words, different for every seed."""
    draw = random.Random(f"{task} {seed}")
    own = [WORDS[int(task[1:]) % 10], WORDS[10 + int(task[1:]) % 7]]
    return " ".join(draw.choice(own) if draw.random() < 0.3 else draw.choice(WORDS) + draw.choice(["", "s", "ed", "ing"])
                    for _ in range(draw.randint(length * 3 // 4, length * 5 // 4)))


def answers(seed: int, length: int = 40) -> dict[str, str]:
    return {task: answer(task, seed, length) for task in PROMPTS}


@pytest.fixture(scope="module")
def start() -> Baseline:
    return Baseline.of(answers(0), PROMPTS, embedder=HashEmbedder())


@pytest.mark.parametrize("seed", range(1, 9))
def test_healthy_answers_are_not_accused(start: Baseline, seed: int) -> None:
    shape = start.measure(answers(seed))
    assert compare(start.shape, shape) == []
    for n, before in start.shape.distinct.items():
        assert shape.distinct[n] == pytest.approx(before, rel=0.1)


def test_longer_answers_are_not_taken_for_repetition(start: Baseline) -> None:
    """Twice the text has fewer different words, but not among equally many."""
    shape = start.measure(answers(1, 80))
    warnings = compare(start.shape, shape)
    value, lower, upper = shape.length_ratio.value, shape.length_ratio.lower, shape.length_ratio.upper
    assert value is not None and 1.8 < value < 2.2
    assert f"answers have {value:.2f} times ({lower:.2f} to {upper:.2f}) as many words as at the start" in warnings
    assert not [warning for warning in warnings if "repeat" in warning or "topics" in warning]
    naive = [distinct(list(some.values()), 1) or 0 for some in (answers(0), answers(1, 80))]
    assert naive[1] < 0.8 * naive[0]


def test_one_answer_for_everything(start: Baseline) -> None:
    warnings = compare(start.shape, start.measure(dict.fromkeys(PROMPTS, answer("t3", 5))))
    assert [warning.split(":")[0] for warning in warnings] == [
        "100% of the answers nearly equal another one, 0% at the start", "answers resemble each other",
        "answers turn to fewer topics", "answers repeat themselves"]
    assert "their mean cosine is 1.00, 0." in warnings[1]
    assert "their entropy is 0.00 of the most there can be, " in warnings[2]


def test_one_topic_in_other_words(start: Baseline) -> None:
    """All answers are on one prompt's things; no two are alike."""
    shape = start.measure({task: " ".join([answer("t3", 100 + i), "stone harbour"] + ["stone"] * 15)
                           for i, task in enumerate(PROMPTS)})
    said = " ".join(compare(start.shape, shape))
    assert "answers resemble each other" in said
    assert "answers turn to fewer topics" in said
    assert "nearly equal" not in said


def test_answers_that_go_round_in_circles(start: Baseline) -> None:
    """Unlike each other, of the same length, each saying a few words over and over."""
    shape = start.measure({task: " ".join(text.split()[:4] * (len(text.split()) // 4)) for task, text in answers(2).items()})
    fewer = {n: (shape.distinct[n], start.shape.distinct[n]) for n in (2, 3, 4)}
    assert compare(start.shape, shape)[-1] == "answers repeat themselves: among equally many, fewer are different, " + ", ".join(
        f"{after:.0%} of {n}-grams ({before:.0%} at the start)" for n, (after, before) in fewer.items())


def test_short_and_empty_answers(start: Baseline) -> None:
    """A third says nothing, the rest two words."""
    begun = Baseline.of(answers(0), PROMPTS)
    shape = begun.measure({task: "" if i % 3 == 0 else " ".join(text.split()[:2])
                           for i, (task, text) in enumerate(answers(1).items())})
    assert (shape.answers, shape.empty, shape.words) == (60, 20 / 60, 80 / 60)
    assert shape.distinct == {1: None, 2: None, 3: None, 4: None}
    assert (shape.self_similarity, shape.topic_entropy) == (None, None)
    assert compare(begun.shape, shape) == [
        "33% of the answers are empty, 0% at the start",
        "answers have 0.04 times (0.03 to 0.04) as many words as at the start",
        "the answers hold fewer than half as many 1-grams, 2-grams, 3-grams, 4-grams as at the start, so how many of them are "
        "different cannot be compared"]


def test_the_numbers_by_hand() -> None:
    start = Baseline.of({"a": "one two one two", "b": "Three, four!", "c": " "}, {"a": "x", "b": "y", "c": "z"})
    assert start.shape.to_json() == {
        "answers": 3, "empty": 1 / 3, "words": 2, "characters": 28 / 3, "length_ratio": 1, "length_ratio_lower": 1,
        "length_ratio_upper": 1,
        "distinct_1": pytest.approx(sum(len(set(drawn)) for drawn in combinations("121234", 3)) / 20 / 3),
        "distinct_2": pytest.approx(sum(len(set(drawn)) for drawn in combinations("abac", 2)) / 6 / 2),
        "distinct_3": pytest.approx(1), "distinct_4": pytest.approx(1), "self_similarity": None, "repeated": 0,
        "topic_entropy": None}
    later = start.measure({"a": "one two", "b": "Three, four!"})
    assert (later.length_ratio.value, later.empty, later.distinct[3]) == (4 / 6, 0, None)
    assert start.measure({"b": "Three, four!", "c": "five"}).length_ratio.value == 3 / 2  # 3 words over the 2 of b and c


def test_topics_are_those_of_prompts_too() -> None:
    """One answer to prompts on two things: the answers alone have a single topic, of which there is nothing to tell."""
    said = {"a": "I do not know.", "b": "I do not know.", "c": "I do not know."}
    prompts = {"a": "Name a bird of the woods.", "b": "Name a bird of the lakes.", "c": "How is 17 times 4 worked out?"}
    start = Baseline.of(said, prompts, embedder=HashEmbedder())
    assert start.topics is not None and len(start.topics) == 2
    assert start.shape.topic_entropy == 0


FACTS = {"empty": 0.0, "repeated": 0.25, "self_similarity": 0.25, "topic_entropy": 0.75}
PLAIN = Shape(answers=20, words=10.0, characters=50.0, length_ratio=Ratio(1, 1, 1, 20, 0.95), distinct={1: 0.5, 2: 1.0}, **FACTS)


@pytest.mark.parametrize(("changed", "warned"), [
    ({"empty": 0.05}, ""), ({"empty": 0.06}, "6% of the answers are empty, 0% at the start"),
    ({"repeated": 0.34}, ""), ({"repeated": 0.36}, "36% of the answers nearly equal another one, 25% at the start"),
    ({"self_similarity": 0.34}, ""),
    ({"self_similarity": 0.36}, "answers resemble each other: their mean cosine is 0.36, 0.25 at the start"),
    ({"topic_entropy": 0.56}, ""),
    ({"topic_entropy": 0.54}, "answers turn to fewer topics: their entropy is 0.54 of the most there can be, 0.75 at the start"),
    ({"distinct": {1: 0.4, 2: 0.8}}, ""),
    ({"distinct": {1: 0.4, 2: 0.79}}, "answers repeat themselves: among equally many, fewer are different, 79% of 2-grams (100% "
                                      "at the start)"),
    ({"length_ratio": Ratio(1.5, 1.4, 1.6, 20, 0.95)}, ""), ({"length_ratio": Ratio(1.6, 0.9, 2.3, 20, 0.95)}, ""),
    ({"length_ratio": Ratio(1.6, 1, 2.2, 20, 0.95)}, ""),
    ({"length_ratio": Ratio(1.6, 1.1, 2.1, 20, 0.95)}, "answers have 1.60 times (1.10 to 2.10) as many words as at the start"),
    ({"length_ratio": Ratio(0.7, 0.6, 0.8, 20, 0.95)}, ""), ({"length_ratio": Ratio(0.6, 0.1, 1.1, 20, 0.95)}, ""),
    ({"length_ratio": Ratio(0.6, 0.2, 1, 20, 0.95)}, ""),
    ({"length_ratio": Ratio(0.6, 0.3, 0.9, 20, 0.95)}, "answers have 0.60 times (0.30 to 0.90) as many words as at the start"),
    *(({name: None}, "") for name in FACTS), ({"length_ratio": Ratio(2, None, None, 1, 0.95)}, ""),
])
def test_where_warnings_begin(changed: dict[str, Any], warned: str) -> None:
    assert compare(PLAIN, replace(PLAIN, **changed)) == ([warned] if warned else [])


def test_no_answers_at_all(start: Baseline) -> None:
    nothing = Baseline.of({}, {}, embedder=HashEmbedder())
    assert {name: value for name, value in nothing.shape.to_json().items() if value is not None} == {"answers": 0}
    silent = start.measure(dict.fromkeys(PROMPTS, ""))
    assert (silent.empty, silent.words, silent.repeated, silent.self_similarity) == (1, 0, None, None)
    assert compare(start.shape, silent)[0] == "100% of the answers are empty, 0% at the start"
    assert compare(nothing.shape, nothing.measure({})) == []
    with pytest.raises(UsageError, match="an answer to task 'b', which is none of the 1 prompts"):
        Baseline.of({"b": "x"}, {"a": "x"})


def test_the_same_answers_have_the_same_shape(start: Baseline) -> None:
    again = Baseline.of(dict(reversed(answers(0).items())), PROMPTS, embedder=HashEmbedder())
    assert again.shape == start.shape
    assert start.measure(answers(0)) == start.shape


def test_distinct_falls_with_size() -> None:
    texts = list(answers(0).values())
    found = [distinct(texts, 1, size=size) for size in (1, 10, 100, 1000)]
    assert all(a is not None and b is not None and a > b for a, b in pairwise(found))


def test_answers_are_read_from_battles() -> None:
    rows = [{"task": "t0", "model_a": "new", "model_b": "old", "answer_a": "A", "answer_b": "B",
             "prompt": [{"role": "user", "content": "Why?"}]},
            {"task": "t1", "model_a": "old", "model_b": "new", "answer_a": "C", "answer_b": "D",
             "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How?"}]}]
    assert answers_of(rows, "new") == {"t0": "A", "t1": "D"}
    assert answers_of(rows, "old") == {"t0": "B", "t1": "C"}
    assert prompts_of(rows) == {"t0": "Why?", "t1": "System: Be kind.\n\nUser: How?"}
