"""What Magpie says of its preference pairs: in the manifest, in warnings and in the report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from small import Scripted

from pica.recipes.magpie.config import MagpieConfig
from pica.recipes.magpie.recipe import Magpie
from pica.synth.config import load_config
from pica.synth.formats import pair
from pica.synth.models.base import Answer, Request
from pica.synth.preferences import diagnose
from pica.synth.recipe import make
from pica.synth.source import open_source


def build(out: Path, *words: str) -> dict[str, Any]:
    """Make a folder; its manifest."""
    config = load_config(MagpieConfig, words=["teacher=fake/magpie", "duplicates.embedder=none", "durability=normal",
                                              "tags=[reward]", *words])
    return asyncio.run(make(Magpie(config), out)).manifest


def test_the_pairs_that_stay_are_looked_at(tmp_path: Path) -> None:
    manifest = build(tmp_path / "out", "n=12", "preferences.k=3", "test_share=0.4")
    found = [(pair(row), split) for split in ("train", "test") for row in open_source(str(tmp_path / "out"), split=split)]
    assert manifest["notes"]["preferences"]["splits"] == manifest["rows"]["splits"]
    again = diagnose((pair for pair, _ in found), (split for _, split in found)).to_json()
    for name, value in manifest["notes"]["preferences"].items():
        if name == "findings":  # rows are counted in the order in which they were made
            assert {key: item["count"] for key, item in value.items()} == {key: again[name][key]["count"] for key in value}
        elif name != "style":
            assert value == again[name]
    assert manifest["notes"]["preferences"]["findings"]["inversions"]["count"] == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Preference pairs" in page and "Margin of the pairs" in page


def test_a_reward_that_likes_length_is_a_warning(tmp_path: Path, scripted: Scripted) -> None:
    def answer(request: Request, sample: int) -> str | Answer:
        if request.task == "score":
            return Answer(values=(float(len(request.messages[-1]["content"])),))
        if request.task == "chat":
            return "A word on magpies" + " and their nests" * ((request.seed or 0) % 97 + sample % 2)
        return f"Tell me about the bird called {format((request.seed or 0) % 2**40, 'x')}."

    scripted("model", answer)
    manifest = build(tmp_path / "out", "n=12", "preferences.k=2", "teacher=scripted/model", "reward=scripted/model",
                     "template=chatml", "duplicates.minhash=0")
    assert manifest["notes"]["warnings"] == [
        f"chosen is longer ({name}) in 100.0% [75.8%, 100.0%] of the 12 pairs that differ: training may learn that instead of "
        "quality; balance it, or use a loss that allows for it" for name in ("characters", "words")]
    assert "chosen is longer (characters)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_conversations_have_no_pairs_to_look_at(tmp_path: Path) -> None:
    assert "preferences" not in build(tmp_path / "out", "n=3")["notes"]
