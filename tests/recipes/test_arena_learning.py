"""Arena Learning as a recipe: battles of real folders, battles fought here, what it says of losses, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_chat
from arena_battles import battle, learn, mirror, run, write
from books import rejects, rows
from small import Scripted, data

from pica.cli import main
from pica.recipes.arena_learning.recipe import NothingSelected
from pica.recipes.arena_learning.rows import Weighed
from pica.synth.config import parse_config
from pica.synth.errors import UsageError
from pica.synth.models.base import Request
from pica.train.data import Preparer, open_data
from pica.train.stage import load_stage
from pica.train.tokens import Encoder

GOOD = "seeds insects berries carrion twenty metres height trunk thousand years"
TASKS = [{"id": "t1", "category": "birds", "prompt": "What do magpies eat in the cold months?", "tags": ["facts"],
          "checklist": ["names seeds insects berries carrion"]},
         {"id": "t2", "category": "trees", "prompt": "How tall is an oak in a park?",
          "checklist": ["names twenty metres height trunk"]},
         {"id": "t3", "category": "trees", "prompt": "How old is the oldest yew?", "checklist": ["names thousand years"]}]
MODELS: list[Any] = [{"name": "fake/fixed?text=no", "label": "mine"}, {"name": f"fake/fixed?text={GOOD}", "label": "good"},
                     {"name": "fake/magpie", "label": "essay"}]
JUDGE = "fake/judge?prefers=checklist"
QUICK = ("rounds=100", "durability=normal", "--quiet")


def tasks(folder: Path) -> str:
    """A file of three tasks."""
    return str(write(folder / "tasks.jsonl", TASKS))


@pytest.fixture(scope="module", params=["scores", "pairwise"])
def arena(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arena of three models, judged by scores or by outcomes, with the audit of its judge."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = [f"tasks={tasks(folder)}", f"models={json.dumps(MODELS)}", f"judge={JUDGE}", f"verdict={request.param}", "audit=2"]
    assert main(["eval", "arena", *settings, *QUICK, "--out", str(folder / "E")]) == 0
    return folder / "E"


def accepted(out: Path, folder: Path, stage: str) -> int:
    """Rows of this dataset that a stage of training takes, after all its checks."""
    form = {"sft": "tokens", "online": "prompt"}.get(stage, "pair")
    config = parse_config(load_stage(stage).config_class, {"data": str(out)})
    preparer = Preparer(config, form, Encoder(tiny_chat.tokenizer()))  # type: ignore[arg-type]
    made = preparer.prepare(open_data(config.data, form), folder / f"{stage}.arrow")  # type: ignore[arg-type]
    assert made.rejected == {}
    return made.rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use", ["sft", "dpo", "reward", "online"])
def test_an_arena_becomes_data_that_training_takes(arena: Path, use: str, out: Path, tmp_path: Path) -> None:
    assert main(["run", "arena-learning", f"battles={arena}", "k=3", f"use={use}", "--quiet", "--out", str(out)]) == 0
    made = rows(out)
    assert [(row["task"], row["rival"], row["result"], row["gap"]) for row in made] == [
        (task, "good", "lost", 4.0) for task in ("t1", "t2", "t3")]
    assert not set(Weighed.__struct_fields__) & set(made[0]) and len(made[0]["calls"]) == 7
    column = {"sft": "messages", "online": ""}.get(use, "chosen")
    assert [row[column][-1]["content"] if column else row["rival_answer"] for row in made] == [GOOD] * 3
    assert accepted(out, tmp_path, use) == 3
    notes = json.loads((out / "manifest.json").read_text())["notes"]
    assert notes["target"] == {"label": "mine", "why": f"the first model of {arena}"} and notes["rivals"] == ["essay", "good"]
    assert (notes["rules"]["k"], notes["counts"]["prompts"], notes["counts"]["battles"]) == (3.0, 3, 6)
    assert bool(notes["outcomes"]) == (made[0]["target_score"] is None)
    assert (notes["evaluations"][0]["rows"], notes["evaluations"][0]["battles"]) == (9, 6)
    assert notes["evaluations"][0]["audit"]["verdict"]


def test_the_battles_of_an_audit_are_never_read(arena: Path, out: Path) -> None:
    assert json.loads((arena / "manifest.json").read_text())["rows"]["splits"]["audit"] > 0
    notes = run(out, battles=str(arena), target="good", use="reward")["notes"]
    assert notes["counts"]["battles"] == 6 and {row["rival"] for row in rows(out)} == {"essay", "mine"}


def fight(out: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """The manifest of battles that are fought here."""
    return run(out, **{"models": MODELS, "judge": JUDGE, "tasks": tasks(folder), **settings})


def test_battles_are_fought_here_and_come_out_as_those_of_an_arena(arena: Path, out: Path, tmp_path: Path) -> None:
    verdict = "pairwise" if json.loads((arena / "config.json").read_text())["config"]["verdict"] == "pairwise" else "scores"
    manifest = fight(out, tmp_path, k=3, verdict=verdict, target="mine")
    run(tmp_path / "read", battles=str(arena), k=3)
    mine, read = ([{key: value for key, value in row.items() if key != "calls"} for row in rows(folder)]
                  for folder in (out, tmp_path / "read"))
    assert mine == read
    assert manifest["notes"]["target"] == {"label": "mine", "why": "as given"}
    again = fight(tmp_path / "again", tmp_path, k=3, verdict=verdict, target="mine", ledger=str(out / "ledger.sqlite"))
    assert again["calls"]["made"] == 0 and data(tmp_path / "again") == data(out)


def test_what_the_target_does_well_on_is_rejected_with_its_gaps(out: Path, tmp_path: Path) -> None:
    models = [MODELS[0], {"name": "fake/fixed?text=twenty metres height trunk", "label": "oak"}]
    manifest = fight(out, tmp_path, models=models, k=3)
    assert [row["task"] for row in rows(out)] == ["t2"]
    assert manifest["rows"] == {"in": 3, "out": 1, "rejected": {"the target does well": 2}, "splits": {"train": 1}}
    assert [(row["task"], row["reject_detail"], row["gap"], row["target_answer"]) for row in rejects(out)] == [
        ("t1", "gaps: oak +0; k=3", 0.0, "no"), ("t3", "gaps: oak +0; k=3", 0.0, "no")]


def test_a_rival_that_fails_costs_its_prompt_until_it_answers(scripted: Scripted, out: Path, tmp_path: Path) -> None:
    broken = True

    def answer(request: Request, sample: int) -> str:
        from pica.synth.errors import BadRequest

        if broken and "oak" in request.messages[-1]["content"]:
            raise BadRequest("the server is down")
        return GOOD

    rival, _ = scripted("rival", answer)
    models = [MODELS[0], {"name": rival.name, "label": "rival"}]
    assert fight(out, tmp_path, models=models, k=3)["rows"]["rejected"] == {"no answer: bad request": 1}
    kept = rejects(out)[0]
    assert (kept["task"], kept["messages"], kept["target"]) == ("t2", [{"role": "user", "content": TASKS[1]["prompt"]}], "mine")
    broken = False
    words = [f"models={json.dumps(models)}", f"judge={JUDGE}", f"tasks={tasks(tmp_path)}", "k=3", "durability=normal", "--quiet"]
    assert main(["run", "arena-learning", *words, "--retry", "--out", str(out)]) == 0
    assert [row["task"] for row in rows(out)] == ["t1", "t2", "t3"]


def test_nothing_lost_by_so_much_is_one_error_and_the_folder_goes_on(out: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingSelected) as error:
        fight(out, tmp_path, k=5)
    assert str(error.value) == (
        "nothing is selected of 3 prompts with 6 battles: the target does well (3); the largest gap is 4 and k=5; lower k: k=3 "
        "selects 3 (with --update; what was answered is kept)")
    words = [f"models={json.dumps(MODELS)}", f"judge={JUDGE}", f"tasks={tasks(tmp_path)}", "k=3", "durability=normal", "--quiet"]
    assert main(["run", "arena-learning", *words, "--out", str(out)]) == 1
    assert main(["run", "arena-learning", *words, "--update", "--out", str(out)]) == 0
    assert json.loads((out / "manifest.json").read_text())["calls"]["made"] == 0


@pytest.mark.parametrize(("battles", "settings", "text"), [
    ([battle("big", (5, 8))], {"k": 9}, "the target does well (1); the largest gap is 3 and k=9; lower k: k=2 selects 1"),
    ([battle("big", (5, 8))], {"k": 3, "use": "dpo"}, "the largest gap is 3 and k=3; lower k: k=2 selects 1"),
    ([battle("big", (5, 5))], {"k": 0}, "the largest gap is 0 and k=0; try at_k=take"),
    ([battle("big", (5, 4))], {"k": 0}, "k=0; give other prompts or stronger rivals, or look at the judge"),
    ([battle("big", (5, 9)), battle("weak", (5, 4))], {"k": 0, "lost_to": "all"}, "largest gap is 4 and k=0; try lost_to=any"),
    ([battle("big", None)], {}, "no verdict in enough orders (1); no battle has a gap; give other prompts"),
])
def test_what_to_lower_where_nothing_is_selected(battles: list[dict[str, Any]], settings: dict[str, Any], text: str, out: Path,
                                                 tmp_path: Path) -> None:
    file = write(tmp_path / "battles.jsonl", battles)
    with pytest.raises(NothingSelected) as error:
        run(out, battles=str(file), **settings)
    assert text in str(error.value) and not (out / "config.json").exists()  # any other settings may have the folder


def many(n: int = 40) -> list[dict[str, Any]]:
    """Battles on many prompts, lost by 0 to 7 points, with two rivals."""
    return [battle(rival, *[(3, 3 + (place + more) % 8)] * 2, task=f"t{place}", prompt=f"What is magpie {place}?",
                   mine="word " * (20 + 100 * (place % 3)), category="birds" if place % 4 else "trees")
            for place in range(n) for more, rival in enumerate(("one", "two"))]


def test_rows_are_the_same_whatever_else_is_selected(tmp_path: Path) -> None:
    by_id = {row["id"]: row for row in learn(tmp_path / "all", many(), k=2)}
    assert len(by_id) == len(learn(tmp_path / "mirrored", [mirror(row) for row in many()], k=2)) > 20
    for name, settings in (("few", {"k": 5}), ("n", {"k": 2, "n": 7}), ("seed", {"k": 2, "concurrency": 1})):
        some = learn(tmp_path / name, reversed(many()) if name == "few" else many(), **settings)
        assert some and all(by_id[row["id"]] == row for row in some)
    assert len(rows(tmp_path / "n" / "out")) == 7 and "arena-learning-dd379c6963a0dc" in by_id
    drawn = [learn(tmp_path / f"drawn {number}", many(), k=2, winner="random", seed=number // 2) for number in range(4)]
    assert drawn[0] == drawn[1] and drawn[2] == drawn[3]
    assert [row["rival"] for row in drawn[0]] != [row["rival"] for row in drawn[2]]


def test_the_row_asked_for_is_looked_for_in_all_prompts(out: Path, tmp_path: Path) -> None:
    models = [MODELS[0], {"name": "fake/fixed?text=twenty metres height trunk", "label": "oak"}]
    assert fight(out, tmp_path, models=models, k=3, n=1)["rows"]["in"] == 2
    assert [row["task"] for row in rows(out)] == ["t2"]


def test_a_prompt_that_is_kept_out_shows_the_nearest_battle(tmp_path: Path) -> None:
    learn(tmp_path, [battle("big", (5, 9)), battle("even", (5, 4), task="t2"), battle("near", (5, 7), task="t2"),
                     battle("none", None, task="t2"), battle("far", (5, 2), task="t3"), battle("none", None, task="t3")], k=3)
    assert [(row["task"], row["rival"], row["gap"], row["rival_answer"]) for row in rejects(tmp_path / "out")] == [
        ("t2", "near", 2.0, "answer of near"), ("t3", "far", -3.0, "answer of far")]


def test_a_task_with_two_prompts_is_two(tmp_path: Path) -> None:
    made = learn(tmp_path, [battle("big", (2, 9)), battle("big", (2, 9), prompt="What is a jay?")])
    assert [row["messages"][0]["content"] for row in made] == ["What is a magpie?", "What is a jay?"]
    assert {row["task"] for row in made} == {"t1"} and len({row["id"] for row in made}) == 2


def test_a_dataset_of_the_first_rows_says_what_was_looked_at(tmp_path: Path) -> None:
    learn(tmp_path, many(), k=2, n=7)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows"]["out"] == manifest["notes"]["counts"]["selected"] == 7
    assert 7 < manifest["notes"]["counts"]["prompts"] == len({row["task"] for row in [
        *rows(tmp_path / "out"), *rejects(tmp_path / "out")]}) < 40


def test_where_the_target_loses(tmp_path: Path) -> None:
    learn(tmp_path, many(), k=3)
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    greatest = [max(place % 8, (place + 1) % 8) for place in range(40)]
    assert notes["selected_at_k"] == {str(k): sum(gap > k for gap in greatest) for k in range(9)}
    assert notes["counts"] == {"prompts": 40, "held": 0, "battles": 80, "without_gap": 0, "unscored": 0, "incomplete": 0,
                               "lost_at_all": 40, "lost": 25, "selected": 25}
    losses = notes["losses"]
    whole = losses["all"][0]
    assert (whole["n"], whole["beyond"], whole["lost"], whole["mean_gap"]) == (40, 25, 40, 3.5)
    assert (round(whole["beyond_low"], 4), round(whole["beyond_high"], 4)) == (0.4703, 0.7578)  # Wilson's, by hand
    assert [(one["name"], one["n"], one["beyond"]) for one in losses["category"]] == [
        (name, len(some), sum(gap > 3 for gap in some)) for name, some in
        (("birds", [gap for place, gap in enumerate(greatest) if place % 4]), ("trees", greatest[::4]))]
    assert [(one["name"], one["n"], one["beyond"]) for one in losses["answer"]] == [
        (name, len(greatest[at::3]), sum(gap > 3 for gap in greatest[at::3]))
        for name, at in (("0 to 199", 0), ("500 to 999", 1), ("1,000 to 1,999", 2))]
    assert [(one["name"], one["n"], one["beyond"], one["lost"]) for one in losses["rival"]] == [
        ("one", 40, 20, 35), ("two", 40, 20, 35)]
    assert [one["name"] for one in losses["prompt"]] == ["0 to 99"]
    assert [one["name"] for one in losses["tag"]] == ["facts", "short"]
    report = (tmp_path / "out" / "report.html").read_text()
    for title in ("Where the target loses: by category", "Losses by rival", "Gaps of all battles", "Rows selected at each k"):
        assert title in report
    assert "kept_out" not in report and "lost_at_all" not in report


def test_several_rows_of_a_prompt_are_one_loss(tmp_path: Path) -> None:
    made = learn(tmp_path, [battle("big", (2, 9)), battle("wide", (2, 8)), battle("weak", (9, 2))], use="reward")
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert len(made) == notes["counts"]["selected"] == 3 and notes["selected_at_k"]["0"] == 3
    assert (notes["counts"]["prompts"], notes["counts"]["battles"], notes["counts"]["lost"]) == (1, 3, 1)
    assert [(one["name"], one["n"]) for one in notes["losses"]["rival"]] == [("big", 1), ("wide", 1), ("weak", 1)]
    assert [(one["name"], one["n"]) for one in notes["losses"]["category"]] == [("birds", 1)]


def test_a_length_at_an_edge_is_of_the_bin_above(tmp_path: Path) -> None:
    learn(tmp_path, [battle("big", (2, 9), task=f"t{size}", mine="x" * size, prompt="y" * (size // 2))
                     for size in (199, 200, 4000)])
    losses = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]["losses"]
    assert [(one["name"], one["n"]) for one in losses["answer"]] == [("0 to 199", 1), ("200 to 499", 1), ("4,000 or more", 1)]
    assert [(one["name"], one["n"]) for one in losses["prompt"]] == [("0 to 99", 1), ("100 to 299", 1), ("1,000 to 2,999", 1)]


def test_pairs_are_diagnosed(tmp_path: Path) -> None:
    learn(tmp_path, [battle("big", (2, 9), task=f"t{place}", prompt=f"What is magpie {place}?") for place in range(4)], use="dpo")
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert (notes["preferences"]["pairs"], notes["preferences"]["margin"]["mean"]) == (4, 7.0)
    assert notes["preferences"]["findings"]["common_answers"]["count"] == 4
    assert any("an answer that stands under 3 prompts or more" in warning for warning in notes["warnings"])


def test_what_must_not_be_learnt_from_is_not(out: Path, tmp_path: Path) -> None:
    battles = [battle("big", (2, 9), task=f"t{place}", prompt=text) for place, text in enumerate(
        ["Please say what do magpies eat in the cold months?", "How tall is an oak in a park?", "Why do rivers bend and fork?"])]
    held = tmp_path / "held.txt"
    held.write_text("Where do rivers bend and fork?\n")
    file, pool = write(tmp_path / "battles.jsonl", battles), tasks(tmp_path)
    manifest = run(out, battles=str(file), target="mine", decontaminate=[pool])
    assert [row["task"] for row in rows(out)] == ["t2"] and manifest["rows"]["rejected"] == {"holds an evaluation prompt": 2}
    assert manifest["notes"]["counts"]["held"] == 2 and manifest["notes"]["losses"]["all"][0]["n"] == 1
    assert rejects(out)[0]["reject_detail"] == (
        f"shares 'what do magpies eat in the cold months' with prompt 0 of {pool} (contains)")
    near = {"decontaminate": str(held), "embedder": "hash", "near": 0.4}
    run(tmp_path / "near", battles=str(file), target="mine", **near)
    assert [row["task"] for row in rows(tmp_path / "near")] == ["t0", "t1"]
    assert "squared distance" in rejects(tmp_path / "near")[0]["reject_detail"]
    run(tmp_path / "words", battles=str(file), target="mine", decontaminate=str(held))
    assert len(rows(tmp_path / "words")) == 3


def test_prompts_that_must_not_be_learnt_from_are_not_fought_on(out: Path, tmp_path: Path) -> None:
    held = write(tmp_path / "held.jsonl", TASKS[:2])
    manifest = fight(out, tmp_path, k=3, decontaminate=[{"source": str(held)}])
    assert manifest["calls"]["made"] == 3 + 4 and [row["task"] for row in rows(out)] == ["t3"]


def _touch(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_a_reader_must_know_stands_in_the_warnings(out: Path, tmp_path: Path) -> None:
    made = tmp_path / "E"
    settings = ["tasks=pica", "n=3", f"models={json.dumps(MODELS)}", "judge=fake/judge?prefers=long", "audit=0", *QUICK]
    assert main(["eval", "arena", *settings, "--out", str(made)]) == 0
    _touch(made, lambda manifest: manifest["notes"].update(audit={"verdict": "fails", "sentence": "It falls for length"}))
    _touch(made, lambda manifest: manifest["rows"].update(rejected={"no answer: timed out": 2, "audit: no checklist": 3}))
    assert run(out, battles=str(made), k=0)["notes"]["warnings"] == [
        f"the prompts of {made} are those of a benchmark (the tasks 'pica'): do not measure a model that learnt from them with "
        "it",
        f"the judge of {made} failed its audit: It falls for length",
        "2 judgments could not be made in these evaluations; their prompts lack rivals, or are missing (--retry there asks "
        "again)"]
    card = (out / "README.md").read_text()
    assert "failed its audit" in card and "Battles of `mine` (the first model of" in card


def test_battles_that_lack_something_are_counted(tmp_path: Path) -> None:
    def warned(name: str, battles: list[dict[str, Any]], **settings: Any) -> list[str]:
        learn(tmp_path / name, battles, **settings)
        found: list[str] = json.loads((tmp_path / name / "out" / "manifest.json").read_text())["notes"]["warnings"]
        return found

    whole = [battle("big", (2, 9)), battle("weak", (2, 2)), battle("big", (2, 9), task="t2"), battle("weak", (2, 2), task="t2")]
    assert warned("whole", whole) == []
    assert warned("others", [*whole, {**battle("big", (2, 9), task="t3"), "model_a": "other"}]) == []  # it never met the target
    assert warned("missing", whole[:3]) == ["1 of 2 prompts have no battle with some rival"]
    assert warned("unscored", [*whole[:3], battle("weak", None, task="t2")]) == [
        "1 of 4 battles have no gap (no verdict, or orders that disagree) and count for nothing"]
    assert warned("unfit", [*whole[:3], battle("weak", (2, 9), theirs=" ", task="t2")]) == [
        "1 decided battles of selected prompts cannot be learnt from: the winner's answer is empty (1)"]


def test_the_content_of_battles_counts_not_only_their_place(out: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "battles.jsonl", [battle("big", (2, 9))])
    assert main(["run", "arena-learning", f"battles={file}", "--quiet", "--out", str(out)]) == 0
    assert main(["run", "arena-learning", f"battles={file}", "--quiet", "--out", str(out)]) == 0
    write(file, [battle("big", (3, 9))])
    assert main(["run", "arena-learning", f"battles={file}", "--quiet", "--out", str(out)]) == 1


def test_several_folders_and_their_ratings(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", [battle("big", (4, 7)), battle("small", (6, 7))])
    other = write(tmp_path / "two.jsonl", [battle("small", (6, 7), task="t2"), battle("big", (7, 7), task="t2"),
                                           {**battle("big", (9, 2), task="t2"), "model_a": "small"}])
    manifest = run(tmp_path / "out", battles=[str(one), str(other)], k=0, winner="rating")
    ratings = manifest["notes"]["ratings"]
    assert ratings["small"] > ratings["big"] > ratings["mine"]
    assert [(row["task"], row["rival"]) for row in rows(tmp_path / "out")] == [("t1", "small"), ("t2", "small")]
    with pytest.raises(UsageError, match=r"mine and big fought twice on task t1 \(in .*one.jsonl and in .*copy.jsonl\); leave"):
        run(tmp_path / "twice", battles=[str(one), str(write(tmp_path / "copy.jsonl", [battle("big", (4, 7))]))])


def test_the_target_is_found_and_stated(tmp_path: Path, out: Path) -> None:
    file = write(tmp_path / "battles.jsonl", [battle("big", (4, 9)), battle("small", (4, 9))])
    notes = run(tmp_path / "first", battles=str(file))["notes"]
    assert notes["target"] == {"label": "mine", "why": f"the first label in {file}"}
    notes = run(tmp_path / "given", battles=str(file), target="mine", rivals="small")["notes"]
    assert (notes["target"]["why"], notes["rivals"], notes["counts"]["battles"]) == ("as given", ["small"], 1)
    settings = [f"tasks={tasks(tmp_path)}", f"models={json.dumps(MODELS)}", f"judge={JUDGE}", "audit=0", "target=essay", *QUICK]
    assert main(["eval", "arena", *settings, "--out", str(tmp_path / "E")]) == 0
    found = run(out, battles=str(tmp_path / "E"), k=0)["notes"]["target"]
    assert found == {"label": "essay", "why": f"the target of {tmp_path / 'E'}"}


def test_one_target_counts_in_all_evaluations(arena: Path, out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "F"
    shutil.copytree(arena, copy)
    config = json.loads((copy / "manifest.json").read_text())["config"]
    _touch(copy, lambda manifest: manifest.update(config={**config, "target": "essay"}))
    file = write(tmp_path / "battles.jsonl", [battle("big", (2, 9), task="t9")])

    def told(name: str, **settings: Any) -> tuple[list[int], list[str]]:
        notes = run(tmp_path / name, battles=[str(file), str(copy)], k=3, **settings)["notes"]
        return [one["battles"] for one in notes["evaluations"]], [one for one in notes["warnings"] if "'mine'" in one]

    other = f"in {copy} too the battles of 'mine' count, though 'essay' is the target of {copy}; target=LABEL says whose"
    assert told("out") == ([1, 6], [other])
    assert told("given", target="mine") == ([1, 6], [])
    assert told("none", rivals="big") == ([1, 0], [f"{copy} has no battle of 'mine' with these rivals: nothing is learnt of it"])
    card = (out / "README.md").read_text()
    assert "Battles of `mine` (the first label in" in card and "judged in `battles.jsonl` (1 battles), `F` (6 battles)" in card


def test_a_baseline_is_not_the_target(tmp_path: Path, out: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", [{"id": task["id"], "model": label, "answer": text} for task in TASKS
                                                 for label, text in (("base", GOOD), ("mine", "no"))])
    settings = [f"tasks={tasks(tmp_path)}", f"answers={answers}", f"judge={JUDGE}", "audit=0", "durability=normal", "--quiet"]
    assert main(["eval", "arena-hard", *settings, "baseline=base", "--out", str(tmp_path / "E")]) == 0
    notes = run(out, battles=str(tmp_path / "E"), k=1)["notes"]
    assert (notes["target"]["label"], notes["rivals"]) == ("mine", ["base"])
    assert "are those of a benchmark (arena-hard): do not measure a model that learnt from them" in notes["warnings"][0]
    assert main(["eval", "wildbench", *settings, "mode=score", "--out", str(tmp_path / "W")]) == 0
    with pytest.raises(UsageError, match=r"W is a wildbench evaluation \(mode=score\), which has no battles; allowed"):
        run(tmp_path / "no", battles=str(tmp_path / "W"))


FIGHT = {"models": MODELS, "judge": JUDGE, "tasks": "T"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, r"no battles: name an evaluation that was made, battles=EVAL_DIR, or fight here with models="),
    ({"battles": "nowhere"}, "battles: there is no file or folder nowhere; allowed: folders of `pica eval arena`, `arena-hard`"),
    ({"battles": "B", "judge": "fake/judge"}, "battles= asks no model, and judge says how to fight"),
    ({"battles": ["B", "B"]}, "battles names a folder twice"),
    ({"battles": "B", "target": "big", "rivals": ["big"]}, "'big' is the target and among the rivals"),
    ({"battles": "B", "target": "me"}, "target='me' fought nobody here; labels: big, mine, other"),
    ({"battles": "B", "rivals": ["me"]}, "rivals names 'me', who fought no battle here; who met 'mine': big"),
    ({"battles": "B", "rivals": ["other"]}, "rivals names 'other', who never met the target here; who met 'mine': big"),
    ({"battles": "B", "rivals": ["mine"]}, "rivals names 'mine', who never met the target here; who met 'mine': big"),
    ({"battles": "T"}, r"holds no battles \(no column 'task'\); allowed: folders of `pica eval arena`"),
    ({"battles": "X"}, r"row 1: not a battle as pica eval writes it \(TypeError"),
    ({**FIGHT, "winner": "rating"}, "winner=rating needs ratings before the first battle"),
    ({**FIGHT, "target": "me"}, "target: 'me' does not compete; labels: mine, good, essay"),
    ({**FIGHT, "rivals": ["me"]}, "rivals: 'me' does not compete; labels: mine, good, essay"),
    ({**FIGHT, "rivals": ["mine"]}, "rivals: 'mine' does not compete"),
    ({"battles": "B", "decontaminate": ["gone.txt"]}, "decontaminate: cannot read gone.txt"),
    ({"battles": "B", "k": 10}, "k=10: input should be less than or equal to 9"),
]


@pytest.mark.parametrize(("settings", "text"), BAD, ids=[text[:30] for _, text in BAD])
def test_what_is_wrong_is_said_in_a_line(settings: dict[str, Any], text: str, out: Path, tmp_path: Path) -> None:
    battles = [battle("big", (2, 9)), {**battle("big", (2, 9)), "model_a": "other"}]
    files = {"B": str(write(tmp_path / "battles.jsonl", battles)), "T": tasks(tmp_path),
             "X": str(write(tmp_path / "bad.jsonl", [{**battle("big", (2, 9)), "games": [1]}]))}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        return files.get(value, value) if isinstance(value, str) else value

    with pytest.raises(UsageError, match=text):
        run(out, **{key: named(value) for key, value in settings.items()})


def test_a_plan_asks_nothing(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"models={json.dumps(MODELS)}", f"judge={JUDGE}", f"tasks={tasks(tmp_path)}", "--plan", "--json"]
    assert main(["run", "arena-learning", *words]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["rows"], plan["calls"]) == (3, 3 * (3 + 2 * 2))
    assert fight(out, tmp_path, k=3)["calls"]["made"] == plan["calls"]
    file = write(tmp_path / "b.jsonl", [battle("big", (2, 9))])
    assert main(["run", "arena-learning", f"battles={file}", "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 0
