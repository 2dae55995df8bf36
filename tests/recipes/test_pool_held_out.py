"""What a pool drops for holding a held-out prompt, and that the gate of clean data finds nothing in what is left."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pica.eval.tasks import said
from pica.recipes.flywheel.gates import find_overlaps
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.contamination import compared
from pica.recipes.prompt_pool.recipe import PromptPool
from pica.synth.config import load_config
from pica.synth.embed import open_embedder
from pica.synth.errors import UsageError
from pica.synth.parquet import batches
from pica.synth.recipe import make
from pica.synth.source import open_source

OFF = ("languages=[]", "min_length=0", "prefix=0", "duplicates.minhash=0", "duplicates.embedder=none", "durability=normal")
CLOSING = "Answer in no more than three short sentences, and please do not use any lists or headings."


def build(folder: Path, prompts: list[str], *words: str) -> dict[str, Any]:
    """A pool of these prompts in folder/P; its manifest."""
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts), encoding="utf-8")
    config = load_config(PromptPoolConfig, words=[*OFF, f"data={file}", *words])
    return asyncio.run(make(PromptPool(config), folder / "P")).manifest


def splits(folder: Path, manifest: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(what is held out, what stands in the parts) in folder/P."""
    found = {name: [said(row["prompt"]) for row in open_source(str(folder / "P"), split=name)]
             for name in manifest["rows"]["splits"]}
    held = found.pop("held_out")
    return held, [text for some in found.values() for text in some]


def test_the_gate_finds_nothing_in_what_a_pool_leaves(tmp_path: Path) -> None:
    """Prompts of a few sentences, some of which stand in more than ten of them and some in fewer."""
    draw = random.Random(5)
    sentences = [" ".join(draw.choice(("nest", "owl", "kite", "wood", "lawn", "mirror", "egg", "call")) for _ in range(14))
                 for _ in range(24)]
    own = [f"Prompt {number} of many. {sentences[min(int(draw.expovariate(0.15)), 23)]}. {draw.choice(sentences)}."
           for number in range(90)]
    manifest = build(tmp_path, own, "held_out=20", "parts=3", "ngram=12")
    held, left = splits(tmp_path, manifest)
    dropped = manifest["rows"]["rejected"]["holds a held-out prompt"]
    assert len(held) == 20 and len(left) == 70 - dropped and 0 < dropped < 60
    assert sorted(compared(tmp_path / "P")) == sorted(own)
    assert find_overlaps({"parts": left}, {"held out": held}, ngram=12, among=compared(tmp_path / "P")) == []
    assert find_overlaps({"parts": left}, {"held out": held}, ngram=12), "by all words, much of it would be"


def test_a_leak_is_dropped_and_said(tmp_path: Path) -> None:
    things = [f"thing{number}" for number in range(12)]
    own = [f"Tell me what there is to know about {thing}. {CLOSING}" for thing in things]
    manifest = build(tmp_path, [*own, *(f"Friends, do this: {text} Thanks!" for text in own)], "held_out=6", "parts=1")
    held, left = splits(tmp_path, manifest)
    names = [{word.strip(".") for text in some for word in text.split() if word.startswith("thing")} for some in (held, left)]
    assert names[0].isdisjoint(names[1]) and names[0] | names[1] == set(things)
    rejected = [row for file in (tmp_path / "P/rejected").glob("*.parquet") for batch in batches(file)
                for row in zip(batch["reject_reason"].to_pylist(), batch["reject_detail"].to_pylist(), strict=True)]
    assert len(rejected) == 24 - len(held) - len(left) > 0
    assert all(reason == "holds a held-out prompt" and "of held_out (ngram)" in detail for reason, detail in rejected)
    assert "No prompt of a part holds one of `held_out`, by 13 words in a row" in (tmp_path / "P/README.md").read_text()


def test_nearness_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    own = ["Where do rooks nest in March?", "Where do rooks nest in May?", "How deep is the deepest lake?"]
    assert len(splits(tmp_path, build(tmp_path, own, "held_out=1", "parts=1", "seed=1"))[1]) == 2
    (tmp_path / "near").mkdir()
    manifest = build(tmp_path / "near", own, "held_out=1", "parts=1", "seed=1", "held_embedder=hash", "held_distance=1")
    held, left = splits(tmp_path / "near", manifest)
    assert [held, left] in ([[own[0]], [own[2]]], [[own[1]], [own[2]]])
    assert find_overlaps({"parts": own}, {"held out": held}, embedder=open_embedder("hash"), distance=1)


def test_too_few_that_are_left_are_refused_with_the_mend(tmp_path: Path) -> None:
    own = [f"Tell me of thing{number}. {CLOSING}" for number in range(9)]
    with pytest.raises(UsageError, match=r"3 of 9 prompts are left, and held_out=3 and parts=2 need 5 at least; dropped: holds a "
                                         r"held-out prompt \(6\)\. .* keep one each, or take out what they share"):
        build(tmp_path, own, "held_out=3", "parts=2")
