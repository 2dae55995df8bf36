"""The command line as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pica import __version__
from pica.cli import COMMANDS, main
from pica.recipes import config_class
from pica.recipes.magpie.config import MagpieConfig
from pica.synth.config import fields
from pica.synth.models import PROVIDERS

ROOT = Path(__file__).parents[1]
QUICK = ["teacher=fake/magpie", "duplicates.embedder=none", "tags=[]", "durability=normal"]
RECIPES = "arena-learning, magpie, prompt-pool, reward-augmented, skillmix, wizard-arena"


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """The only line on stderr."""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("pica: ")
        return self.err[len("pica: "):-1]


@pytest.fixture
def pica(capsys: pytest.CaptureFixture[str]) -> Pica:
    return Pica(capsys)


class Pica:
    """Runs the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        self._capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


def process(*words: str, **environment: str) -> Said:
    """Runs it in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "pica", *words], capture_output=True, timeout=600, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    return Said(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset."""
    out = tmp_path_factory.mktemp("cli") / "out"
    assert main(["run", "magpie", "n=3", *QUICK, "--quiet", "--out", str(out)]) == 0
    return out


class TestHelp:
    def test_help_names_every_command(self, pica: Pica) -> None:
        said = pica("--help")
        assert said.code == 0
        for name, (_, what) in COMMANDS.items():
            assert name in said.out and what.split(",")[0] in " ".join(said.out.split())
        for line in ("run make a dataset", "train train a model", "eval judge models and rank them",
                     "audit find out whether a judge is worth believing", "flywheel battle, learn, measure, again and again"):
            assert line in " ".join(said.out.split())

    def test_nothing_at_all_is_bad_usage(self, pica: Pica) -> None:
        said = pica()
        assert (said.code, said.out[:11]) == (2, "usage: pica")

    @pytest.mark.parametrize("name", [*COMMANDS, "run", "train", "eval", "audit", "flywheel"])
    def test_every_command_has_help(self, pica: Pica, name: str) -> None:
        said = pica(name, "--help")
        assert (said.code, said.err) == (0, "")
        assert f"pica {name}" in said.out

    def test_run_without_a_recipe_lists_the_recipes(self, pica: Pica) -> None:
        said = pica("run")
        assert said.code == 2
        assert said.out.endswith(f"\nrecipes: {RECIPES}\n")

    def test_the_help_of_a_recipe_prints_every_key(self, pica: Pica) -> None:
        said = pica("run", "magpie", "--help")
        assert said.code == 0
        for key, *_ in fields(MagpieConfig):
            assert f"  {key} " in said.out

    def test_version(self, pica: Pica) -> None:
        assert pica("--version").out == f"pica {__version__}\n"

    def test_recipes_and_models(self, pica: Pica) -> None:
        rows = pica("recipes").out.splitlines()
        assert [line.split()[0] for line in rows] == RECIPES.split(", ")
        for name, line in zip(RECIPES.split(", "), rows, strict=True):
            assert line == f"{name:<18} {config_class(name).summary}"
        listed = pica("models").out
        assert [line.split()[0] for line in listed.splitlines()] == list(PROVIDERS)


USAGE: list[tuple[list[str], str]] = [
    (["rnu"], "unknown command 'rnu'; did you mean 'run'? Known: run, train"),
    (["xyzzy"], "unknown command 'xyzzy'. Known: run, train"),
    (["run", "magpi"], f"unknown recipe 'magpi'; did you mean 'magpie'? Known: {RECIPES}"),
    (["run", "../magpie"], "unknown recipe '../magpie'"),
    (["run", "n=5"], "unknown recipe 'n=5'"),
    (["run", "magpie"], "where to? add --out DIR"),
    (["run", "magpie", "--out"], "argument --out: expected one argument"),
    (["run", "magpie", "--outt", "x"], "unrecognized arguments: --outt x"),
    (["run", "magpie", "hello", "--out", "x"], "'hello' is no setting; write key=value"),
    (["run", "magpie", "sede=1", "--out", "x"], "unknown key 'sede'; did you mean 'seed'?"),
    (["run", "magpie", "--config", "absent.yaml", "--out", "x"], "cannot read config absent.yaml: No such file"),
    (["run", "magpie", "teacher=opnai/x", "--plan"], "unknown model 'opnai/x'; did you mean 'openai'?"),
    (["run", "magpie", "teacher=fake/magpi", "--plan"], "unknown fake model 'magpi'; did you mean 'magpie'?"),
    (["recipes", "n=5"], "unrecognized arguments: n=5"),
    (["models", "--json"], "unrecognized arguments: --json"),
    (["trace", "somewhere"], "the following arguments are required: ROW_ID"),
    (["view", "nowhere"], "nowhere has no report.html"),
    (["--jsn", "recipes"], "unrecognized arguments: --jsn"),
]


@pytest.mark.parametrize(("words", "message"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_bad_usage_is_one_line_and_exit_code_2(pica: Pica, words: list[str], message: str, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = pica(*words)
    assert (said.code, said.out) == (2, "")
    assert said.line.startswith(message)
    assert list(tmp_path.iterdir()) == [], "bad usage makes nothing"


class TestRun:
    def test_a_run_and_the_same_again(self, pica: Pica, tmp_path: Path) -> None:
        words = ["run", "magpie", "n=3", *QUICK, "--out", str(tmp_path / "out")]
        said = pica(*words)
        assert said.code == 0
        assert said.out.startswith("3 rows from ")
        assert said.out.endswith(f"dataset  {tmp_path / 'out'}\nreport   {tmp_path / 'out' / 'report.html'}\n")
        said = pica(*words)
        assert said.out.startswith("complete already: 3 rows; nothing was asked\n")

    def test_settings_stand_anywhere(self, pica: Pica, tmp_path: Path) -> None:
        out = str(tmp_path / "out")
        assert pica("run", "magpie", "--out", out, "n=2", "--quiet", *QUICK, "seed=3").code == 0
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert (manifest["config"]["n"], manifest["seed"]) == (2, 3)
        assert pica("run", "--out", out, "magpie", "seed=3", *QUICK, "n=2").out.startswith("complete already")

    def test_a_config_file_and_a_shipped_one(self, pica: Pica, tmp_path: Path) -> None:
        (tmp_path / "my.yaml").write_text("n: 2\ntags: []\nteacher: fake/magpie\nduplicates: {embedder: none}\n")
        assert pica("run", "magpie", "--config", str(tmp_path / "my.yaml"), "--out", str(tmp_path / "a")).code == 0
        plan = json.loads(pica("run", "magpie", "--config", "quickstart", "teacher=fake/magpie", "--plan", "--json").out)
        assert plan["rows"] == 16

    def test_json_is_lines_of_json(self, tmp_path: Path) -> None:
        said = process("run", "magpie", "n=3", "teacher=fake/magpie?latency=0.3", *QUICK[1:], "concurrency=1", "--json",
                       "--out", str(tmp_path / "out"))
        assert said.code == 0
        (done,) = map(json.loads, said.out.splitlines())
        assert (done["event"], done["fresh"], done["folder"]) == ("done", True, str(tmp_path / "out"))
        assert done["rows"]["out"] == 3
        events = [json.loads(line) for line in said.err.splitlines()]
        assert {event["event"] for event in events} == {"progress", "message"}
        progress = next(event for event in events if event["event"] == "progress")
        assert {"wanted", "accepted", "candidates", "made", "cached", "tokens", "cost", "seconds"} <= set(progress)

    def test_a_plan_asks_nothing_and_makes_nothing(self, pica: Pica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        said = pica("run", "magpie", "n=1000", "teacher=fake/magpie?error_500=1", "--plan")
        assert said.code == 0
        assert "calls   7,000" in said.out
        assert said.out.endswith("nothing was asked\n")
        plan = json.loads(pica("run", "magpie", "n=1000", "teacher=fake/magpie", "--plan", "--json").out)
        assert (plan["rows"], plan["calls"], plan["cost"]) == (1000, 7000, 0.0)
        assert {step["name"] for step in plan["steps"]} >= {"instruction", "response", "safety", "reward"}
        assert list(tmp_path.iterdir()) == []

    def test_failing_is_1(self, pica: Pica, tmp_path: Path) -> None:
        said = pica("run", "magpie", "n=1", "teacher=fake/empty", *QUICK[1:], "max_candidates=2", "--quiet",
                    "--out", str(tmp_path / "out"))
        assert said.code == 1
        assert said.line.startswith("0 of 1 rows after 2 candidates, which is the bound")

    def test_a_file_in_the_way_is_1(self, pica: Pica, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("x")
        said = pica("run", "magpie", "n=1", *QUICK, "--out", str(tmp_path / "out"))
        assert said.code == 1
        assert said.line == f"cannot write to {tmp_path / 'out'} (File exists); give a folder that can be written with --out"

    def test_another_config_is_1_and_shown(self, pica: Pica, folder: Path) -> None:
        said = pica("run", "magpie", "n=4", *QUICK, "--out", str(folder))
        assert said.code == 1
        assert f"{folder} holds another config: config.n: 3 -> 4. Give another --out, or --update" in said.line

    def test_the_folder_of_another_recipe_is_never_made_again(self, pica: Pica, folder: Path) -> None:
        for more in ([], ["--update"]):
            said = pica("run", "skillmix", "n=4", "teacher=fake/magpie", "--out", str(folder), *more)
            assert said.code == 1
            assert said.line == f"{folder} is a folder of magpie, and this command makes one of skillmix; give another --out"

    def test_a_spent_budget_is_3(self, pica: Pica, tmp_path: Path) -> None:
        said = pica("run", "magpie", "n=9", *QUICK, "budget.calls=2", "--quiet", "--out", str(tmp_path / "out"))
        assert said.code == 3
        assert said.line.startswith("budget.calls=2 does not cover the next call: 2 used")

    def test_a_server_that_is_down_is_1(self, tmp_path: Path) -> None:
        import socket
        with socket.socket() as held:  # bound and not listening: refused
            held.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
            said = process("run", "magpie", "n=1", f"teacher=openai/x@{url}", "template=chatml", *QUICK[1:], "--quiet",
                           "--out", str(tmp_path / "out"), OPENAI_API_KEY="not-a-real-key")
        assert said.code == 1
        assert url.removesuffix("/v1") in said.line
        assert "not-a-real-key" not in said.err + said.out

    def test_a_text_no_console_can_show(self, tmp_path: Path) -> None:
        said = process("run", "magpie", "n=1", *QUICK, "--quiet", "--out", str(tmp_path / "bücher 🐦"),
                       PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert (said.code, said.err) == (0, "")
        assert "b\\xfccher \\U0001f426" in said.out

    def test_nobody_reads_on(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([sys.executable, "-m", "pica", "models"], stdout=writing, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600)
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")


class TestFolders:
    def test_view(self, pica: Pica, folder: Path) -> None:
        said = pica("view", str(folder), "--no-open")
        assert said.code == 0
        lines = said.out.splitlines()
        assert lines[0].startswith("magpie: 3 rows of ")
        assert lines[-1] == str((folder / "report.html").resolve())

    def test_view_of_an_unfinished_folder(self, pica: Pica, tmp_path: Path) -> None:
        (tmp_path / "report.html").write_text("<p>")
        assert pica("view", str(tmp_path), "--no-open").out.startswith("not complete: no manifest.json yet\n")

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"rows": 5}'])
    def test_view_of_a_damaged_folder(self, pica: Pica, tmp_path: Path, content: str) -> None:
        (tmp_path / "report.html").write_text("<p>")
        (tmp_path / "manifest.json").write_text(content)
        said = pica("view", str(tmp_path), "--no-open")
        assert said.code == 1
        assert "manifest.json is damaged; remove it" in said.line

    def test_trace(self, pica: Pica, folder: Path) -> None:
        from pica.synth.rows import read_rows
        row = next(read_rows(next((folder / "data").iterdir())))
        said = pica("trace", str(folder), row["id"])
        assert said.code == 0
        assert said.out.startswith(f"row {row['id']} in ")
        assert "calls: 2\n" in said.out
        found = json.loads(pica("trace", str(folder), row["id"], "--json").out)
        assert [call["key"] for call in found["calls"]] == row["calls"]
        assert pica("trace", str(folder), row["id"], "--full", "--ledger", str(folder / "ledger.sqlite")).code == 0

    def test_trace_of_nothing(self, pica: Pica, folder: Path, tmp_path: Path) -> None:
        said = pica("trace", str(folder), "magpie-0")
        assert said.code == 2
        assert "no row 'magpie-0'" in said.line and "near ones: magpie-" in said.line
        said = pica("trace", str(tmp_path), "magpie-0")
        assert said.code == 1
        assert "no dataset in" in said.line
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 cut")
        said = pica("trace", str(tmp_path), "magpie-0")
        assert said.code == 1
        assert "cannot be read" in said.line
