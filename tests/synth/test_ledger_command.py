"""`pica ledger check|salvage|export|stats`, as its users meet it."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledger_samples import answer, entry, fill, request

from pica.commands.ledger import add_arguments, main
from pica.synth.errors import LedgerError, UsageError
from pica.synth.ledger import Ledger
from pica.synth.models.base import Answer, Sampling


def command(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fill(fill(tmp_path / "l.sqlite", range(20)), range(20, 25), model="fake/other")


def test_check_of_a_healthy_ledger(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", path) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"ledger {path}: healthy", "calls intact: 25", "SQLite says: ok", "advice: nothing to do"]


def test_check_and_salvage_of_a_damaged_one(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes(100) + data[100:])
    assert command("check", path) == 1
    said = capsys.readouterr().out
    assert f"ledger {path}: damaged\ncalls intact: 25\n" in said
    assert f"`pica ledger salvage {path} --to NEW`" in said
    assert command("salvage", path, "--to", tmp_path / "new.sqlite", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["calls"], found["damaged"], found["saved_to"]) == (25, 0, str(tmp_path / "new.sqlite"))
    assert command("check", tmp_path / "new.sqlite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["healthy"] is True


def test_export_writes_every_call(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vector = entry(30, given=Answer(vector=b"\0\1\2\3", text="a\nb\u2028"))
    with closing(Ledger(path, durability="normal")) as ledger:
        asyncio.run(ledger.put([vector]))
    assert command("export", path, "--to", tmp_path / "calls.jsonl") == 0
    assert capsys.readouterr().out == f"26 calls exported to {tmp_path / 'calls.jsonl'}\n"
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [call["key"] for call in calls[:20]] == [entry(i).key.hex() for i in range(20)]
    assert calls[3].pop("at") > 1.7e9
    assert calls[3] == {
        "key": entry(3).key.hex(), "identity": "fake/m", "task": "chat", "prompt": "",
        "messages": list(request(3).messages), "continuation": "", "schema": None, "seed": 3, "sample": 0,
        "sampling": Sampling(temperature=0.7, max_tokens=200).model_dump(mode="json"), "cost": 0.5, "seconds": 0.25,
        "answer": {"text": answer(3).text, "prompt_tokens": 13, "completion_tokens": 30, "model": "served-m"}}
    assert base64.b64decode(calls[25]["answer"]["vector"]) == b"\0\1\2\3"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["calls.jsonl", "l.sqlite", "l.sqlite.lock"]


def test_export_refuses_and_leaves_nothing_half_done(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="there exists"):
        command("export", path, "--to", tmp_path / "there")
    with pytest.raises(LedgerError, match=r"cannot write .* \(No such file"):
        command("export", path, "--to", tmp_path / "absent" / "calls.jsonl")
    path.write_bytes(path.read_bytes()[:20_000] + bytes(9000))
    with pytest.raises(LedgerError, match="damaged"):
        command("export", path, "--to", tmp_path / "calls.jsonl")
    assert (tmp_path / "there").read_text() == "mine"
    assert not list(tmp_path.glob("calls*"))


def test_stats_per_model(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("stats", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    raw = [sum(len(entry(i, model=name).content) for i in numbers) for name, numbers in
           (("fake/m", range(20)), ("fake/other", range(20, 25)))]
    first, second = found["models"]
    assert first["raw"] > raw[0]
    assert {name: value for name, value in first.items() if name not in {"raw", "stored"}} == {
        "model": "fake/m", "calls": 20, "prompt_tokens": 390, "completion_tokens": 600, "cost": 10.0, "seconds": 5.0}
    assert (second["model"], second["calls"], found["calls"]) == ("fake/other", 5, 25)
    assert found["size"] == path.stat().st_size
    assert found["ratio"] == pytest.approx((first["raw"] + second["raw"]) / (first["stored"] + second["stored"]))
    assert found["ratio"] > 1.2
    assert command("stats", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["fake/m", "20", "390", "600", "10.0000", "5.0"]
    assert lines[-1].startswith(f"file: {path.stat().st_size:,} bytes, ")


def test_stats_of_an_empty_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("stats", fill(tmp_path / "l.sqlite", range(0))) == 0
    assert "texts compressed 1.0 times" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["check", "stats", "export", "salvage"])
def test_an_absent_ledger(tmp_path: Path, action: str) -> None:
    to = ["--to", tmp_path / "x"] if action in {"export", "salvage"} else []
    with pytest.raises(LedgerError, match="no ledger at"):
        command(action, tmp_path / "absent.sqlite", *to)
    assert not list(tmp_path.iterdir())


def test_a_wrong_action_is_bad_usage(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("mend", path)
    assert caught.value.code == 2
    assert "invalid choice: 'mend'" in capsys.readouterr().err


def test_the_arguments_load_nothing_heavy() -> None:
    code = ("import sys, argparse; from pica.commands.ledger import add_arguments;"
            "add_arguments(argparse.ArgumentParser()); print([name for name in sys.modules if name in "
            "('orjson', 'msgspec', 'pydantic', 'sqlite3', 'numpy', 'arro3.core')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
