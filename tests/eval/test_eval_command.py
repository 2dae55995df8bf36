"""`pica eval`: its help, its errors, its exit codes, its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arenas import by_length, given
from small import stored

from pica.cli import main
from pica.eval import EVALUATIONS, config_class, load_evaluation

JUDGE = "judge=fake/judge?prefers=long"


@pytest.mark.parametrize("benchmark", EVALUATIONS)
def test_the_help_of_a_benchmark_has_every_key(benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", benchmark, "--help"]) == 0
    out = capsys.readouterr().out
    for key in config_class(benchmark).model_fields:
        assert f"\n  {key}" in out, key
    assert config_class(benchmark) is load_evaluation(benchmark).config_class
    assert f"{benchmark}: " in out


def test_the_help_lists_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, what) in EVALUATIONS.items():
        assert f"\n  {name:<12}{what}\n" in out
    assert main(["eval"]) == 2


@pytest.mark.parametrize("name", ["compare", "agree"])
def test_what_stands_on_results_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: pica eval {name} ")
    assert main(["eval", name]) == 2


@pytest.mark.parametrize(("words", "line"), [
    (["arenna", JUDGE], "unknown benchmark 'arenna'; did you mean 'arena'?"),
    (["arena", "models=[local,fake/magpie]"],
     "arena needs a judge; give judge=SPEC, such as judge=openai/NAME@URL or judge=local"),
    (["arena", JUDGE, "jugde=local"], "jugde"),
    (["arena", JUDGE, "tasks=/no/such/file.jsonl"], "/no/such/file.jsonl"),
    (["arena", "judge=nobody/x", "models=[fake/magpie,local]"], "nobody"),
    (["arena", JUDGE, "orders=none"], "orders"),
])
def test_a_mistake_is_one_line_and_code_2(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(["eval", *words, "--quiet", "--out", str(tmp_path / "e")]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1


def test_without_a_folder_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "arena", JUDGE, *given(tmp_path, by_length(), 2)]) == 2
    assert "where to? add --out DIR" in capsys.readouterr().err


def test_a_plan_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = given(tmp_path, {}, 5)[0]
    models = "models=[fake/magpie,{name: fake/magpie, label: two},{name: fake/magpie, label: three}]"
    words = ["eval", "arena", JUDGE, settings, models, "audit=0", "--plan", "--out", str(tmp_path / "e")]
    assert main([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["rows"] == 15
    assert [(step["name"], step["calls"]) for step in plan["steps"]] == [
        ("answer fake/ma", 5), ("answer two", 5), ("answer three", 5), ("judge", 30)]
    assert main(words) == 0
    assert "judge" in capsys.readouterr().out
    assert main(["eval", "arena", JUDGE, *given(tmp_path, by_length(), 5), "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["rows"], plan["calls"]) == (30, 60)
    assert not (tmp_path / "e").exists()


def test_json_ends_with_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "arena", JUDGE, *given(tmp_path, by_length(), 4), "--json", "--out", str(tmp_path / "e")]
    assert main(words) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["fresh"], last["recipe"], last["rows"]["out"]) == ("done", True, "arena", 24)
    assert last["notes"]["leaderboard"] == json.loads((tmp_path / "e" / "leaderboard.json").read_text(encoding="utf-8"))
    assert main(words) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (again["fresh"], again["notes"]) == (False, last["notes"])


def test_a_budget_stops_with_code_3_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e"
    settings = given(tmp_path, by_length(), 4)
    words = ["eval", "arena", JUDGE, *settings, "--quiet", "--out", str(out)]
    assert main([*words, "budget.calls=10"]) == 3
    assert stored(out) == 10
    assert not (out / "leaderboard.json").exists()
    assert main(words) == 0
    assert stored(out) == 48
    printed = capsys.readouterr().out.splitlines()
    head = next(number for number, line in enumerate(printed) if line.startswith("model"))
    assert [line.split()[0] for line in printed[head + 1:head + 5]] == ["long", "middle", "short", "tiny"]
    assert printed[-1] == f"report   {out / 'report.html'}"


def test_a_finished_folder_shows_its_leaderboard_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "arena", JUDGE, *given(tmp_path, by_length(), 3), "--quiet", "--out", str(tmp_path / "e")]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()
    assert main(words) == 0
    again = capsys.readouterr().out.splitlines()
    assert first[:-3] == again[:-3]
    assert again[-3] == "complete already: 18 rows; nothing was asked"
    (tmp_path / "e" / "leaderboard.json").unlink()
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [*printed[:-3], *printed[-2:]] == [*first[:-3], *first[-2:]]
    assert printed[-3].endswith(": 0 calls, 36 from the ledger")
