"""What a reader of Arena Learning's data sees: where the target loses, with examples, and the card. Hostile text acts nowhere."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from arena_battles import battle, learn, run, write
from books import rows

from pica.cli import main

HOSTILE = "x`\n\n# Owned <script>alert(1)</script>\n\n| a | <img src=x onerror=alert(1)>"
#: by how much each prompt is lost to `big` and to `weak`, and where it belongs
LOSSES = [("birds", 4, 0), ("birds", 5, 1), ("birds", 6, -2), ("birds", 1, 0), ("trees", 2, 2), ("trees", -1, -3),
          ("trees", 4, -2), ("trees", 0, 0)]


def battles(*, answer: str = "a good answer") -> list[dict[str, Any]]:
    """Battles on eight prompts with two rivals."""
    found = []
    for place, (category, *gaps) in enumerate(LOSSES):
        for rival, gap in zip(("big", "weak"), gaps, strict=True):
            found.append({**battle(rival, (4, 4 + gap), task=f"t{place}", prompt=f"What is magpie {place}?", theirs=answer),
                          "category": category, "tags": ["facts"] if place else ["facts", "first"]})
    return found


def tables(page: str) -> dict[str, list[list[str]]]:
    """The tables of a report by title: their cells without the header."""
    found = {}
    for figure in page.split("<figure")[1:]:
        if '<table class="plain">' in figure:
            lines = re.findall(r"<tr>(<td.*?)</tr>", figure, re.DOTALL)
            cells = [[unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)]
                     for line in lines]
            found[unescape(re.findall(r"<h3>(.*?)</h3>", figure)[0])] = cells
    return found


def examples(page: str) -> list[dict[str, Any]]:
    """The rows that a report holds."""
    chunks = re.findall(r'class="chunk">([^<]*)</script>', page)
    return [item for chunk in chunks for item in json.loads(zlib.decompress(base64.b64decode(chunk)))]


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.found.append((tag, [name for name, _ in attrs]))


def test_where_the_target_loses_in_numbers(tmp_path: Path) -> None:
    learn(tmp_path, battles(), k=3)
    found = tables((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    # Wilson's intervals: 3 of 4 from .3006 to .9544, 1 of 4 their mirror, 2 of 4 from .1500 to .8500
    assert found["Where the target loses"] == [["all prompts", "8", "50.0% (21.5% to 78.5%)", "75.0% (40.9% to 92.9%)", "+1.06"]]
    assert found["Losses by category"] == [
        ["birds", "4", "75.0% (30.1% to 95.4%)", "100.0% (51.0% to 100.0%)", "+1.88"],
        ["trees", "4", "25.0% (4.6% to 69.9%)", "50.0% (15.0% to 85.0%)", "+0.25"]]
    assert found["Losses by rival"] == [
        ["big", "8", "50.0% (21.5% to 78.5%)", "75.0% (40.9% to 92.9%)", "+2.62"],
        ["weak", "8", "0.0% (0.0% to 32.4%)", "25.0% (7.1% to 59.1%)", "-0.50"]]
    assert [row[:2] for row in found["Losses by tag or skill"]] == [["first", "1"], ["facts", "8"]]
    assert "Losses by length of the prompt (characters)" not in found  # all are as long
    assert found["Rows selected at each k"] == [[str(k), str(sum(max(gaps) > k for _, *gaps in LOSSES))] for k in range(9)]


def test_every_loss_is_an_example(tmp_path: Path) -> None:
    learn(tmp_path, battles(answer=HOSTILE), k=3)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    made = [row for row in examples(page) if not row.get("reject_reason")]
    assert [(row["task"], row["rival"], row["gap"], row["target_score"], row["rival_score"]) for row in made] == [
        ("t0", "big", 4, 4, 8), ("t1", "big", 5, 4, 9), ("t2", "big", 6, 4, 10), ("t6", "big", 4, 4, 8)]
    assert [row["prompt"][-1]["content"] for row in made] == [f"What is magpie {place}?" for place in (0, 1, 2, 6)]
    assert {(row["target_answer"], row["rival_answer"]) for row in made} == {("my answer", HOSTILE)}  # whole, as data
    assert all("kept_out" not in row and "messages" not in row for row in made)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of which every name and text that others wrote is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    some = [{**battle(HOSTILE, (2, 9), task=HOSTILE, prompt=f"{HOSTILE} {place}", mine=HOSTILE, theirs=f"{HOSTILE} too"),
             "category": f"{HOSTILE} {place % 2}", "tags": [f"{HOSTILE} {place}"], "model_a": f"me {HOSTILE}"}
            for place in range(3)]
    evaluation = folder / "E"
    settings = ["tasks=pica", "n=2", f"models={json.dumps(['fake/echo', 'fake/magpie'])}", "judge=fake/judge?prefers=long",
                "audit=0", "rounds=100", "durability=normal", "--quiet"]
    assert main(["eval", "arena", *settings, "--out", str(evaluation)]) == 0
    manifest = json.loads((evaluation / "manifest.json").read_text())
    manifest["config"]["target"] = f"me {HOSTILE}"
    manifest["notes"]["audit"] = {"verdict": "fails", "sentence": HOSTILE}
    (evaluation / "manifest.json").write_text(json.dumps(manifest))
    run(folder / "out", battles=[str(evaluation), str(write(folder / "more.jsonl", some))])
    assert len(rows(folder / "out")) == 3
    return folder / "out"


def test_hostile_text_does_nothing_in_the_card(hostile: Path) -> None:
    card = (hostile / "README.md").read_text(encoding="utf-8")
    assert [line for line in card.splitlines() if line.startswith("#")] == [
        "# arena-learning: 3 rows", "## Rows", "## Models", "## Columns", "## Making it again"]
    shown = HOSTILE.replace("`", "'").replace("\n", "\\n")
    text = card.split("## Rows")[0].split("# arena-learning: 3 rows")[1]
    assert f"Battles of `me {shown}` (the target of " in text and f") with `{shown}`, judged in `E` (0 battles), " in text
    assert "failed its audit: x\\`\\\\n\\\\n\\# Owned \\<script\\>alert(1)\\</script\\>" in text
    outside = re.sub(r"`[^`]*`", "", text.replace("\\`", ""))
    assert not re.search(r"(?<!\\)[<|]", outside)


def test_hostile_text_does_nothing_in_the_report(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    found = Elements(page).found
    assert "img" not in [tag for tag, _ in found] and [tag for tag, _ in found].count("script") == page.count("</script>")
    assert not [name for _, names in found for name in names if name.startswith("on")]
    assert [row[0] for row in tables(page)["Losses by category"]] == [f"{HOSTILE} {number}" for number in (0, 1)]
