"""From a recipe to a dataset folder: what is in it, that it comes out the same each time, and that damage shows."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import Scripted, TalkRecipe, data, stored, talk

from pica.synth.errors import BadRequest, BudgetSpent, Denied, FolderError, LedgerError, UsageError
from pica.synth.folder import DatasetFolder, differences
from pica.synth.models.base import Answer, Request
from pica.synth.progress import Progress
from pica.synth.recipe import TooFew, make
from pica.synth.rows import read_rows
from pica.synth.table import Table

ROOT = Path(__file__).parents[2]


def build(out: Path, **values: Any) -> dict[str, Any]:
    """Make a folder; its manifest."""
    return asyncio.run(make(talk(**values), out)).manifest


def rows(out: Path, folder: str = "data") -> list[dict[str, Any]]:
    """All rows of a folder."""
    return [row for file in sorted((out / folder).glob("*.parquet")) for row in read_rows(file)]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A small finished folder with rejects."""
    build(tmp_path / "made", n=6, short=700)
    return tmp_path / "made"


class TestFolder:
    def test_the_manifest_keeps_the_books(self, made: Path) -> None:
        manifest = json.loads((made / "manifest.json").read_text())
        assert {"recipe", "config", "seed", "versions", "rows", "calls", "tokens", "cost", "seconds", "files"} <= set(manifest)
        counts = manifest["rows"]
        assert counts["in"] == counts["out"] + sum(counts["rejected"].values())
        assert counts["out"] == 6 == len(rows(made))
        assert sum(counts["rejected"].values()) == len(rows(made, "rejected")) > 0
        assert set(counts["rejected"]) == {row["reject_reason"] for row in rows(made, "rejected")}
        assert manifest["calls"] == {"made": stored(made), "cached": 0, "failed": 0}
        assert manifest["tokens"]["prompt"] > 0 < manifest["tokens"]["completion"]
        assert manifest["config"]["teacher"]["name"] == "fake/magpie"
        for name, size in manifest["files"].items():
            assert (made / name).stat().st_size == size

    def test_nothing_else_is_left_over(self, made: Path) -> None:
        assert {path.name for path in made.iterdir()} <= {
            "README.md", "data", "rejected", "manifest.json", "config.json", "ledger.sqlite", "ledger.sqlite.lock",
            "report.html", ".lock"}
        assert [path.name for path in (made / "data").iterdir()] == ["train-00000-of-00001.parquet"]

    def test_every_row_names_what_made_it(self, made: Path) -> None:
        from pica.synth.ledger import read_calls
        for row in rows(made):
            (call,) = read_calls(made / "ledger.sqlite", row["calls"])
            assert call.answer.text == row["messages"][1]["content"]
            assert (row["recipe"], row["model"]) == ("talk", "fake/magpie")
            assert row["id"] == f"talk-{row['seed']:014x}"

    def test_rejected_rows_keep_what_there_was_of_them(self, made: Path) -> None:
        for row in rows(made, "rejected"):
            assert row["reject_reason"] == "short"
            assert row["reject_detail"].endswith("characters")
            assert row["messages"][0]["role"] == "user"
            assert row["calls"]
            assert row["length"] is None

    def test_the_card_says_where_the_rows_are(self, made: Path) -> None:
        text = (made / "README.md").read_text(encoding="utf-8")
        header = yaml.safe_load(text.split("---\n")[1])
        assert header["configs"] == [{"config_name": "default",
                                      "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]
        assert "synthetic" in header["tags"]
        assert header["size_categories"] == ["n<1K"]

    def test_the_config_in_the_card_makes_the_same_folder(self, made: Path, tmp_path: Path) -> None:
        from pica.synth.config import load_config
        text = (made / "README.md").read_text(encoding="utf-8")
        (tmp_path / "config.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
        config = load_config(TalkRecipe.config_class, file=tmp_path / "config.yaml")
        asyncio.run(make(TalkRecipe(config), tmp_path / "again"))
        assert data(tmp_path / "again") == data(made)

    def test_datasets_reads_exactly_the_rows(self, made: Path, tmp_path: Path) -> None:
        script = ("import datasets, json, sys\n"
                  "found = datasets.load_dataset(sys.argv[1])\n"
                  "print(json.dumps({name: list(split['id']) for name, split in found.items()}))\n"
                  "assert found['train'][0]['messages'][0]['role'] == 'user'\n")
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(made)], capture_output=True, text=True,
                              check=False, timeout=600,
                              env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"})
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == {"train": [row["id"] for row in rows(made)]}


class TestTheSame:
    def test_in_any_folder_at_any_concurrency(self, tmp_path: Path) -> None:
        found = []
        for place, concurrency in (("a", 1), ("b", 7), ("ünï códe & [x] #1", 256)):
            build(tmp_path / place, n=12, short=700, concurrency=concurrency)
            found.append(data(tmp_path / place))
        assert found[0] == found[1] == found[2]

    def test_another_seed_makes_other_rows(self, made: Path, tmp_path: Path) -> None:
        build(tmp_path / "other", n=6, short=700, seed=1)
        assert not {row["id"] for row in rows(made)} & {row["id"] for row in rows(tmp_path / "other")}

    def test_a_larger_n_begins_with_the_same_rows(self, made: Path, tmp_path: Path) -> None:
        build(tmp_path / "more", n=9, short=700)
        assert rows(tmp_path / "more")[:6] == rows(made)

    def test_a_selection_at_the_bound_does_not_depend_on_concurrency(self, tmp_path: Path) -> None:
        """Candidates that were begun beyond those needed count neither for nor against the bound."""
        found = []
        for concurrency in (1, 64):
            recipe = Picky(talk(n=10, max_candidates=40, concurrency=concurrency).config)
            out = tmp_path / str(concurrency)
            asyncio.run(make(recipe, out))
            found.append(data(out))
        assert found[0] == found[1]


class Picky(TalkRecipe):
    """Drops every other row at the end."""

    def finish(self, table: Table, progress: Progress) -> None:
        table.keep([place % 3 == 0 for place in range(len(table))], "not picked")


class TestAgain:
    def test_a_finished_folder_asks_nothing_and_stays_as_it_is(self, made: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in made.rglob("*.*") if "lock" not in path.name}
        outcome = asyncio.run(make(talk(n=6, short=700, teacher="fake/magpie?error_500=1"), made, update=True))
        assert outcome.fresh, "another model is another config"
        outcome = asyncio.run(make(talk(n=6, short=700, teacher="fake/magpie?error_500=1"), made))
        assert not outcome.fresh
        assert outcome.manifest["calls"]["made"] == 0
        assert before

    @pytest.mark.parametrize("lose", [
        lambda out: (out / "manifest.json").unlink(),
        lambda out: (out / "manifest.json").write_text("[]\n"),
        lambda out: shutil.rmtree(out / "data"),
        lambda out: (out / "report.html").unlink(),
        lambda out: cut(next((out / "data").iterdir())),
        lambda out: cut(next((out / "rejected").iterdir()))])
    def test_what_is_lost_comes_back_from_the_ledger(self, made: Path, lose: Callable[[Path], object]) -> None:
        before = data(made)
        lose(made)
        manifest = build(made, n=6, short=700)
        assert manifest["calls"]["made"] == 0
        assert data(made) == before

    def test_a_card_that_was_edited_stays(self, made: Path) -> None:
        (made / "README.md").write_text((made / "README.md").read_text() + "\nChecked by hand.\n")
        assert not asyncio.run(make(talk(n=6, short=700), made)).fresh
        assert (made / "README.md").read_text().endswith("Checked by hand.\n")

    def test_settings_that_change_no_row_may_change(self, made: Path) -> None:
        assert not asyncio.run(make(talk(n=6, short=700, concurrency=3, budget={"calls": 1}), made)).fresh

    def test_another_config_is_shown_as_a_difference(self, made: Path) -> None:
        before = data(made)
        with pytest.raises(FolderError, match=r"config\.n: 6 -> 7; config\.question: .*magpie\?. -> .Why\?..*--update"):
            build(made, n=7, short=700, question="Why?")
        assert data(made) == before

    def test_an_update_keeps_the_answers_that_fit(self, made: Path) -> None:
        calls = stored(made)
        outcome = asyncio.run(make(talk(n=8, short=700), made, update=True))
        assert outcome.manifest["calls"]["cached"] == calls
        assert outcome.manifest["rows"]["out"] == 8
        assert stored(made) == calls + outcome.manifest["calls"]["made"]

    def test_asking_again_where_no_answer_came(self, tmp_path: Path, scripted: Scripted) -> None:
        broken = True

        def answer(request: Request, sample: int) -> str:
            if broken and "(1)" in request.messages[0]["content"]:
                raise BadRequest("not now")
            return f"an answer to {request.messages[0]['content']}"
        scripted("partly", answer)
        recipe = talk(n=4, teacher="scripted/partly")
        first = asyncio.run(make(recipe, tmp_path / "out")).manifest
        assert first["rows"]["rejected"] == {"no answer: bad request": 1}
        broken = False
        assert not asyncio.run(make(recipe, tmp_path / "out")).fresh
        second = asyncio.run(make(recipe, tmp_path / "out", retry=True)).manifest
        assert second["rows"]["rejected"] == {}
        assert second["calls"] == {"made": 1, "cached": 3, "failed": 0}

    def test_a_mistake_before_the_first_answer_can_be_mended_in_place(self, tmp_path: Path, scripted: Scripted) -> None:
        def refuse(request: Request, sample: int) -> str:
            raise Denied("no model of that name")
        scripted("typo", refuse)
        with pytest.raises(UsageError, match="unknown model"):
            build(tmp_path / "out", n=2, teacher="fakr/magpie")
        with pytest.raises(Denied):
            build(tmp_path / "out", n=2, teacher="scripted/typo")
        assert build(tmp_path / "out", n=2)["rows"]["out"] == 2


def cut(path: Path) -> None:
    """Make a file shorter."""
    path.write_bytes(path.read_bytes()[:-20])


class TestTooFew:
    def test_what_there_is_is_written_without_a_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(TooFew, match=r"of 5 rows after 8 candidates.*because: short \(\d\).*max_candidates"):
            build(tmp_path / "out", n=5, short=850, max_candidates=8)
        found = rows(tmp_path / "out")
        assert len(found) < 5
        assert len(found) + len(rows(tmp_path / "out", "rejected")) == 8
        assert (tmp_path / "out" / "report.html").is_file()
        assert not (tmp_path / "out" / "manifest.json").exists()
        calls = stored(tmp_path / "out")
        manifest = build(tmp_path / "out", n=5, short=850)
        assert manifest["rows"]["out"] == 5
        assert manifest["calls"]["cached"] == calls
        assert rows(tmp_path / "out")[:len(found)] == found

    def test_not_a_single_row(self, tmp_path: Path) -> None:
        with pytest.raises(TooFew, match="0 of 2 rows after 3 candidates"):
            build(tmp_path / "out", n=2, short=10**6, max_candidates=3)
        assert rows(tmp_path / "out") == []
        assert len(rows(tmp_path / "out", "rejected")) == 3


class TestPlaces:
    def test_two_processes_on_one_folder(self, made: Path) -> None:
        held = DatasetFolder(made)
        try:
            done = subprocess.run([sys.executable, "-m", "pica", "run", "magpie", "teacher=fake/magpie", "--out", str(made)],
                                  capture_output=True, text=True, timeout=600, check=False,
                                  env={**os.environ, "PYTHONPATH": str(ROOT)})
        finally:
            held.close()
        assert done.returncode == 1
        assert done.stderr.startswith(f"pica: folder {made} is in use by another process (pid {os.getpid()})")
        assert done.stderr.count("\n") == 1

    def test_a_folder_with_something_else_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("irreplaceable")
        with pytest.raises(FolderError, match=r"holds something else \(thesis.tex\)"):
            build(tmp_path, n=1)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_kill_while_the_first_file_was_written(self, tmp_path: Path) -> None:
        (tmp_path / ".config.json.partial").write_text('{"id": ')
        build(tmp_path, n=1)
        assert len(rows(tmp_path)) == 1 and not (tmp_path / ".config.json.partial").exists()

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("x")
        for out in (tmp_path / "out", tmp_path / "out" / "below"):
            with pytest.raises(FolderError, match=r"cannot write to .*out.*give a folder that can be written"):
                build(out, n=1)

    def test_a_folder_that_was_moved_remembers_its_spending(self, tmp_path: Path) -> None:
        with pytest.raises(BudgetSpent):
            build(tmp_path / "here", n=9, budget={"calls": 3})
        (tmp_path / "here").rename(tmp_path / "there")
        with pytest.raises(BudgetSpent, match="3 used"):
            build(tmp_path / "there", n=9, budget={"calls": 3})
        assert stored(tmp_path / "there") == 3

    def test_an_update_remembers_its_spending(self, made: Path) -> None:
        calls = stored(made)
        outcome = asyncio.run(make(talk(n=6, short=700, question="Why?"), made, update=True))
        assert outcome.manifest["folder_total"]["calls"] == calls + outcome.manifest["calls"]["made"]

    def test_a_shared_ledger(self, tmp_path: Path) -> None:
        ledger = str(tmp_path / "shared.sqlite")
        first = build(tmp_path / "a", n=5, ledger=ledger)
        second = build(tmp_path / "b", n=7, ledger=ledger, budget={"calls": 2})
        assert (first["calls"]["made"], second["calls"]["made"], second["calls"]["cached"]) == (5, 2, 5)
        assert second["folder_total"]["calls"] == 2, "another folder's calls are not this one's spending"
        assert not (tmp_path / "b" / "ledger.sqlite").exists()

    def test_a_shared_ledger_in_use(self, tmp_path: Path) -> None:
        from pica.synth.ledger import Ledger
        ledger = Ledger(tmp_path / "shared.sqlite")
        try:
            with pytest.raises(LedgerError, match="in use by another process"):
                build(tmp_path / "a", n=5, ledger=str(ledger.path))
        finally:
            ledger.close()

    def test_a_relative_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        build(Path("out/deep"), n=2)
        assert len(rows(tmp_path / "out" / "deep")) == 2

    @pytest.mark.parametrize("name", ["manifest.json", "config.json"])
    def test_damaged_files_are_named_with_the_mend(self, made: Path, name: str) -> None:
        (made / name).write_text('{"recipe": "ta')
        with pytest.raises(FolderError, match=f"{name} is damaged .*; remove it and give the same command again"):
            build(made, n=6, short=700)
        (made / name).unlink()
        assert build(made, n=6, short=700)["rows"]["out"] == 6

    @pytest.mark.skipif(sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
                        reason="the superuser may write everywhere")
    def test_a_read_only_folder(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(FolderError, match=r"cannot write|opened for writing"):
                build(tmp_path / "out", n=1)
        finally:
            tmp_path.chmod(0o700)


def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system in memory at `place`, where that is allowed."""
    place.mkdir()
    if not sys.platform.startswith("linux") or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("only the superuser of Linux can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB: room for a log of many small transactions, as a busy machine makes them."""
    yield from mounted(tmp_path / "disk", "size=8m")


@pytest.fixture
def fixed_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that can only be read."""
    yield from mounted(tmp_path / "disk", "size=1m,ro")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Pica in a process of its own."""
    return subprocess.run([sys.executable, "-m", "pica", *words], capture_output=True, text=True, timeout=600, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})


FULL = ["run", "magpie", "teacher=fake/magpie", "n=80", "duplicates.embedder=none", "tags=[]", "--quiet"]


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is made where there is room."""
    out = tmp_path_factory.mktemp("roomy") / "out"
    assert command(*FULL, "--out", str(out)).returncode == 0
    return data(out)


class TestDisks:
    def test_a_disk_that_can_only_be_read(self, fixed_disk: Path) -> None:
        done = command("run", "magpie", "teacher=fake/magpie", "n=1", "--out", str(fixed_disk / "out"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "Read-only file system" in done.stderr

    @pytest.mark.parametrize("leave", [40_000, 110_000, 250_000, 450_000])
    def test_a_full_disk_is_one_clear_line_and_loses_nothing(self, small_disk: Path, roomy: dict[str, bytes], leave: int) -> None:
        free = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(b"x" * (free - leave))
        done = command(*FULL, "--out", str(small_disk / "out"))
        assert done.returncode == 1, done.stdout
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("pica: ")
        assert "no space left" in done.stderr or "a full disk" in done.stderr
        calls = stored(small_disk / "out") if (small_disk / "out" / "ledger.sqlite").exists() and leave > 100_000 else 0
        (small_disk / "ballast").unlink()
        done = command(*FULL, "--out", str(small_disk / "out"))
        assert done.returncode == 0, done.stderr
        manifest = json.loads((small_disk / "out" / "manifest.json").read_text())
        assert manifest["calls"]["cached"] >= calls
        assert data(small_disk / "out") == roomy


ODD = {"nul": "before\0after", "line": "x" * 1_000_000, "bidi": "\u202eevil\u2028\u2029\ufeff", "emoji": "🐦" * 100,
       "html": "</script><script>alert(1)", "crlf": "a\r\nb\rc", "json": '{"a": "\\u0000"}', "escape": "\x1b[31m\x7f\x85"}


class TestHostileText:
    def test_odd_text_is_a_row_or_a_reject_with_a_reason(self, tmp_path: Path, scripted: Scripted) -> None:
        texts = list(ODD.values())
        texts.insert(3, "lone \ud800 surrogate")

        def answer(request: Request, sample: int) -> Answer:
            number = int(request.messages[0]["content"].rsplit("(", 1)[1][:-1])
            return Answer(text=texts[number] if number < len(texts) else "fine", model="\x1b]0;title\x07")
        scripted("odd", answer)
        manifest = build(tmp_path / "out", n=len(texts), teacher="scripted/odd")
        assert manifest["rows"]["rejected"] == {"no answer: malformed answer": 1}
        assert [row["messages"][1]["content"] for row in rows(tmp_path / "out")] == [*ODD.values(), "fine"]
        report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "<script>alert(1)" not in report

    def test_the_hostile_model(self, tmp_path: Path) -> None:
        assert build(tmp_path / "out", n=40, teacher="fake/hostile")["rows"]["out"] == 40
        assert "<script>alert('pica')" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    def test_empty_answers(self, tmp_path: Path) -> None:
        assert build(tmp_path / "out", n=3, teacher="fake/empty")["rows"]["out"] == 3
        assert [row["messages"][1]["content"] for row in rows(tmp_path / "out")] == [""] * 3


def test_differences_name_what_changed() -> None:
    old = {"n": 1, "teacher": {"name": "a", "extra": {}}, "gone": None, "list": [1]}
    new = {"n": 2, "teacher": {"name": "b", "extra": {}}, "list": [1], "new": "x"}
    assert list(differences(old, new)) == ['n: 1 -> 2', 'teacher.name: "a" -> "b"', 'new: null -> "x"']
    assert list(differences(old, old)) == []


def test_a_folder_with_batches_under_way_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "batches-0123.jsonl").write_text("")
    folder = DatasetFolder(tmp_path)
    folder.claim("magpie", {"n": 1})
    folder.close()
    assert (tmp_path / "config.json").exists()
