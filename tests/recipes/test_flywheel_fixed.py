"""What cannot change once a model of a campaign was measured, and what can."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from campaigns import STAGE, read, run, settings
from tiny_llama import build_tiny

from pica.recipes.flywheel.config import FlywheelConfig
from pica.recipes.flywheel.fixed import FIXED, refuse_changes
from pica.synth.config import parse_config
from pica.synth.errors import FolderError, UsageError
from pica.synth.source import open_source

JUDGE, OTHER = "fake/judge?prefers=checklist", "fake/judge?prefers=long"
RIVALS: list[dict[str, Any]] = [{"name": "fake/magpie", "label": "writer"}, {"name": "fake/fixed?text=No.", "label": "no"}]


class Given:
    """A campaign of one iteration with two stages."""

    def __init__(self, folder: Path) -> None:
        model, self.out = build_tiny(folder / "tiny"), folder / "F"
        self.slots = folder / "judge.txt"
        prompt = Path(__file__).parents[2] / "eval" / "prompts" / "scores.txt"
        self.slots.write_text(prompt.read_text(encoding="utf-8"), encoding="utf-8")
        self.values = settings(folder, model, iterations=1, stages=["sft", "dpo"], part_size=2, judge_prompt=str(self.slots))
        run(self.values, self.out)

    def check(self, **more: Any) -> None:
        refuse_changes(parse_config(FlywheelConfig, {**self.values, **more}), self.out)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("fixed"))


@pytest.mark.parametrize(("name", "value"), [
    ("seed", 1), ("n", 20), ("target", "local"), ("data", ["tiny"]), ("pool", {"min_length": 0}), ("held_out", 7),
    ("tasks", "pica"), ("part_size", 3)])
def test_what_decides_the_prompts_cannot_change(given: Given, name: str, value: Any) -> None:
    more = {name: value, **({"held_out": 0} if name == "tasks" else {})}
    with pytest.raises(FolderError, match=rf"F has measured models already, so {name}\b.* cannot change there.* another --out$"
                       if name != "tasks" else r"so held_out, tasks cannot change there"):
        given.check(**more)
    assert name in FIXED


def test_every_fixed_setting_is_tried() -> None:
    assert len(FIXED) == 8


@pytest.mark.parametrize(("more", "said"), [
    ({"judge": OTHER}, "so judge cannot change in measuring; keep it there with evaluation={judge: ...}"),
    ({"judging": {"max_tokens": 99}}, "so judging cannot change"), ({"answer": {"max_tokens": 17}}, "so answer cannot change"),
    ({"tries": 2}, "so tries cannot change"), ({"evaluation": {"audit": 0, "orders": "ab"}}, "so orders cannot change"),
    ({"evaluation": {"audit": 0, "n": 4}}, "so n cannot change"), ({"judge_prompt": ""}, "so judge_prompt cannot change"),
    ({"rivals": [{**RIVALS[0], "label": "no"}]}, "the rival 'no' was another model then; give the new one a label of its own"),
    ({"gates": {"judge": "off", "embedder": "hash"}}, 'its prompts would be others (held_embedder: "none" -> "hash")')])
def test_what_measures_cannot_change(given: Given, more: dict[str, Any], said: str) -> None:
    with pytest.raises(FolderError, match="F has measured models already") as caught:
        given.check(**more)
    assert said in str(caught.value)


@pytest.mark.parametrize("more", [
    {"judge": OTHER, "evaluation": {"audit": 0, "judge": JUDGE}}, {"rivals": RIVALS[:1]},
    {"rivals": [*RIVALS, {"name": "fake/echo", "label": "echo"}]}, {"evaluation": {"audit": 4}}, {"gates": {"level": 0.9}},
    {"rounds": 200}, {"sft": {**STAGE, "k": 1}}, {"stages": ["dpo"]}, {"iterations": 2}, {}])
def test_what_feeds_training_and_what_decides_can_change(given: Given, more: dict[str, Any]) -> None:
    given.check(**more)


def test_files_count_by_their_content(given: Given, tmp_path: Path) -> None:
    """With --update, and without: a campaign that goes on would measure by what it was not begun with."""
    prompts, out = Path(given.values["data"][0]), tmp_path / "F"
    shutil.copytree(given.out, out)
    for file, said in ((given.slots, "so judge_prompt cannot change"), (prompts, r"its prompts would be others \(files\.")):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("something", "anything") if file == prompts else f"{text}\nBe strict.\n", encoding="utf-8")
        try:
            for update in (False, True):
                with pytest.raises(FolderError, match=said):
                    run({**given.values, "iterations": 2}, out, update=update)
        finally:
            file.write_text(text, encoding="utf-8")
    assert read(out)["state"] == "stopped" and len(read(out)["iterations"]) == 2


def test_other_stages_fight_on_parts_that_were_not_used(given: Given, tmp_path: Path) -> None:
    out = tmp_path / "F"
    shutil.copytree(given.out, out)
    run({**given.values, "iterations": 2, "stages": ["sft"]}, out, update=True)
    fought = [{row["task"] for row in open_source(str(out / "iterations" / name))}
              for name in ("01/battles-sft", "01/battles-dpo", "02/battles-sft")]
    parts = [{row["id"] for row in open_source(str(out / "pool"), split=f"part{number}")} for number in (1, 2, 3)]
    assert fought == parts
    with pytest.raises(UsageError, match=r"of which 3 are used, and 7 iterations of 2 parts need 14 more; give fewer"):
        run({**given.values, "iterations": 9}, out, update=True)


@pytest.mark.parametrize(("given_names", "expected"), [
    (None, ["pica"]), ("E.txt", ["E.txt", "pica"]), (["E.txt", "F.txt"], ["E.txt", "F.txt", "pica"]), (["pica"], ["pica"])])
def test_the_tasks_are_looked_for_beside_what_the_user_names(tmp_path: Path, given_names: Any, expected: list[str]) -> None:
    pool = {"embedder": "none", **({} if given_names is None else {"decontaminate": given_names})}
    config = parse_config(FlywheelConfig, settings(tmp_path, tmp_path, tasks="pica", held_out=0, pool=pool))
    assert config.pool_config(1).decontaminate == expected


def test_the_pool_asks_as_the_gate_does(tmp_path: Path) -> None:
    def made(**more: Any) -> Any:
        return parse_config(FlywheelConfig, settings(tmp_path, tmp_path, **more)).pool_config(1)

    near, tasks = {"embedder": "hash", "distance": 0.3}, {"tasks": "pica", "held_out": 0}
    held = made(gates=near)
    assert (held.embedder, held.held_embedder, held.held_distance) == ("none", "hash", 0.3)
    other = made(gates=near, pool={}, **tasks)
    assert (other.embedder, other.distance) == ("hash", 0.3)
    for pool in ({"embedder": "none"}, {"distance": 0.2}):
        with pytest.raises(UsageError, match=r"let prompts through that the gate refuses with gates.embedder=hash"):
            made(gates=near, pool=pool, **tasks)
    with pytest.raises(UsageError, match=r"pool\.held_embedder is set by the campaign"):
        made(pool={"held_embedder": "hash"})
