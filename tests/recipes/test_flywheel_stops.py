"""What stops a campaign before it began, or for a reason that nobody foresaw; how it goes on, also where it was moved."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from campaigns import lasting, read, run, settings
from small import Clock, Scripted
from tiny_llama import build_tiny

from pica.cli import main
from pica.recipes.flywheel.place import follow, note
from pica.synth.errors import BudgetSpent, ServerFault, Stopped, Unreachable, UsageError
from pica.synth.folder import DatasetFolder
from pica.synth.models.base import Request
from pica.synth.models.fake_brain import Brain, answers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


# ---- errors that nobody foresaw ----


def test_an_error_that_nobody_foresaw_is_written_down_and_raised(
        tmp_path: Path, model: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    error = MemoryError("no memory:\n  tried 2 GiB with sk-very-secret")

    def rival(request: Request, sample: int) -> Any:
        raise error

    rivals = [{**scripted("rival", rival)[0].model_dump(), "label": "broken"}]
    with pytest.raises(MemoryError) as raised:
        run(settings(tmp_path, model, iterations=1, rivals=rivals), tmp_path / "F")
    assert raised.value is error
    found, reason = read(tmp_path / "F"), "MemoryError: no memory: tried 2 GiB with [OPENAI_API_KEY]; what is done is kept"
    (step,) = found["iterations"][0]["steps"]
    assert (found["state"], found["reason"]) == ("stopped", reason)
    assert (step["name"], step["state"], step["reason"]) == ("evaluation", "stopped", reason)
    assert "sk-very-secret" not in (tmp_path / "F" / "report.html").read_text(encoding="utf-8")


def test_what_stopped_it_is_raised_where_it_cannot_be_written_down(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    error = RuntimeError("CUDA out of memory")

    def rival(request: Request, sample: int) -> Any:
        (tmp_path / "F" / "campaign.json" / "in the way").mkdir(parents=True, exist_ok=True)
        raise error

    rivals = [{**scripted("rival", rival)[0].model_dump(), "label": "broken"}]
    with pytest.raises(RuntimeError) as raised:
        run(settings(tmp_path, model, rivals=rivals), tmp_path / "F")
    assert raised.value is error


# ---- a judge that is down ----


def test_a_judge_that_refuses_the_connection(tmp_path: Path, model: Path) -> None:
    with socket.socket() as held:  # bound and not listening: whoever connects is refused
        held.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        values = settings(tmp_path, model, iterations=1)
        with pytest.raises(Unreachable, match=rf"^{place}.* cannot be reached"):
            run({**values, "judge": f"openai/judge@{place}"}, tmp_path / "F")
    found = read(tmp_path / "F")
    (step,) = found["iterations"][0]["steps"]
    assert found["state"] == "stopped" and found["reason"].startswith(place) and step["reason"] == found["reason"]


def test_a_judge_with_faults_of_its_server_and_comes_back(
        tmp_path: Path, model: Path, clock: Clock, scripted: Scripted) -> None:
    state = {"down": True}

    async def judge(request: Request, sample: int) -> Any:
        if state["down"]:
            asyncio.get_running_loop().call_later(0.005, clock.skip, 60)  # nobody waits for the next try
            raise ServerFault("503 from the judge: overloaded")
        return answers(request, Brain("judge", prefers="checklist"))[sample]

    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1, judge=[scripted("judge", judge)[0].model_dump()])
    with pytest.raises(Stopped, match=r"none of the 16 judgments could be made, most because: no answer: server fault \(16\)"):
        run(values, out)
    assert read(out)["state"] == "stopped" and "server fault" in read(out)["reason"]
    state["down"] = False
    run(values, out)
    assert read(out)["state"] == "complete"


# ---- settings that cannot work ----


def test_a_target_that_cannot_be_trained_costs_no_call(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And neither it nor data of copies stands in the way of mended settings."""
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1)
    for name, said in (("fake/echo", "its weights are not here as a checkpoint. Give local, a checkpoint folder"),
                       ("openai/m@http://localhost:1/v1", "model=openai/m@http://localhost:1/v1 cannot be trained: its weights")):
        file = tmp_path / "campaign.yaml"
        file.write_text(json.dumps({**values, "target": name}), encoding="utf-8")
        for words in (["--plan"], ["--out", str(out), "--quiet"]):
            assert main(["flywheel", "--config", str(file), *words]) == 2
            told = capsys.readouterr().err
            assert told.startswith("pica: target: ") and said in told
    assert (read(out)["state"], read(out)["spent"]["calls"]) == ("stopped", 0)
    same = tmp_path / "same.jsonl"
    same.write_text('{"prompt": "Say something about rivers and lakes."}\n' * 40, encoding="utf-8")
    with pytest.raises(UsageError, match="1 of 40 prompts are left"):
        run({**values, "data": [str(same)]}, out)
    with pytest.raises(BudgetSpent):
        run({**values, "budget": {"calls": 9}}, out)
    assert 0 < read(out)["spent"]["calls"] <= 9


# ---- a folder that was moved ----


def test_a_moved_campaign_goes_on(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in its last evaluation, moved, and given by another way from another place."""
    values, new = settings(tmp_path, model, iterations=1), tmp_path / "a new place" / "G"
    with pytest.raises(BudgetSpent):
        run({**values, "budget": {"calls": 120}}, tmp_path / "F")
    before, calls = lasting(tmp_path / "F"), read(tmp_path / "F")["spent"]["calls"]
    new.parent.mkdir()
    (tmp_path / "F").rename(new)
    (new.parent / "other").mkdir()
    monkeypatch.chdir(new.parent / "other")
    run(values, Path("..") / "G")
    found, after = read(new), lasting(new)
    assert found["state"] == "complete" and "iterations/01/sft/model.safetensors" in before
    assert {name: after[name] for name in before} == before
    assert found["spent"]["train_steps"] == 1 and found["spent"]["calls"] < calls + 60, "nothing was done twice"
    records = [path.read_text(encoding="utf-8") for path in new.rglob("*.json") if path.name in {"config.json", "settings.json"}]
    assert not [text for text in records if f"{tmp_path / 'F'}/" in text]


def test_paths_in_records_follow_the_folder_and_no_others(tmp_path: Path) -> None:
    old, new = "/there/F", tmp_path / "F"
    step = new / "iterations" / "01" / "sft"
    step.mkdir(parents=True)
    said = {"recipe": "x", "config": {
        "tasks": f"{old}/pool", "model": [f"hf/{old}/start", 1], "files": {f"{old}/pool": "1", f"battles {old}/start": "2"},
        "other": [f"/data{old}/pool", f"{old}2/pool", f"hf/x{old}/pool"]}}
    weights = {"_name_or_path": f"{old}/start"}
    for name, value in (("manifest.json", said), ("config.json", weights)):
        (step / name).write_text(json.dumps(value), encoding="utf-8")
    (new / "config.json").write_text(json.dumps({"recipe": "flywheel", "place": old}), encoding="utf-8")
    folder = DatasetFolder(new)
    for _ in range(2):  # the second time as after a kill on the way: the place is still the old one
        follow(folder)
        assert json.loads((step / "manifest.json").read_text()) == {"recipe": "x", "config": {
            "tasks": f"{new}/pool", "model": [f"hf/{new}/start", 1], "files": {f"{new}/pool": "1", f"battles {new}/start": "2"},
            "other": [f"/data{old}/pool", f"{old}2/pool", f"hf/x{old}/pool"]}}
        assert json.loads((step / "config.json").read_text()) == weights
        assert folder.read("config.json")["place"] == str(new)
        folder.write_json("config.json", {"recipe": "flywheel", "place": old})
    note(folder)
    folder.close()
    assert json.loads((new / "config.json").read_text()) == {"recipe": "flywheel", "place": str(new)}
