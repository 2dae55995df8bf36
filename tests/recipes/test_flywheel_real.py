"""The campaign that comes with Pica, with the embedded model: real battles, real training, real measuring again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from campaigns import read

from pica.cli import main
from pica.eval.collapse import answers_of
from pica.recipes.flywheel.config import CONFIGS
from pica.synth.source import open_source

pytestmark = pytest.mark.real


def test_the_shipped_file_by_path_from_another_folder(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flywheel", "--config", str(CONFIGS / "tiny.yaml"), "--plan", "--out", "F", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [[(step["name"], step["train_rows"], step["train_steps"]) for step in steps] for steps in found["iterations"]] == [[
        ("battles-sft", 0, 0), ("sft", 20, 8), ("battles-dpo", 0, 0), ("dpo", 20, 2), ("evaluation", 0, 0)]] * 2
    assert not (tmp_path / "F").exists()


def test_one_model_is_promoted_and_the_next_refused(tmp_path: Path) -> None:
    """Fine-tuning alone, which is what the suite has time for; `tiny` trains by DPO as well."""
    out = tmp_path / "F"
    assert main(["flywheel", "--config", "tiny", "stages=[sft]", "collapse.kl=2", "--out", str(out), "--quiet"]) == 0
    found = read(out)
    assert found["state"] == "complete"
    first, second = found["iterations"][1:]
    assert [gate["passed"] for gate in first["gates"]] == [True] * 5
    assert first["decision"]["promoted"] and first["decision"]["best"] == "iteration 1"
    assert not second["decision"]["promoted"] and second["decision"]["best"] == "iteration 1"
    assert second["started_from"] == "iteration 1"
    assert found["best_model"] == f"hf/{out / 'iterations/01/sft'}"
    ratings = {rating["model"]: rating for rating in found["ratings"]}
    assert ratings["iteration 1"]["lower"] > ratings["start"]["rating"] == 1000
    trained = json.loads((out / "iterations/02/sft/manifest.json").read_text())
    assert trained["model"]["name"] == found["best_model"] and trained["steps"] == 8
    rows = list(open_source(str(out / "iterations/01/evaluation")))
    before, after = answers_of(rows, "start"), answers_of(rows, "iteration 1")
    assert len(after) == 24 and sum(text.startswith("Here is an answer about") for text in after.values()) >= 12
    assert not any(text.startswith("Here is an answer about") for text in before.values())
    assert first["collapse"]["kl"] > 0
