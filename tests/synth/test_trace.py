"""From a row back to its calls, in text that a terminal can be trusted with."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from arro3.core import DataType, Field, Schema
from arro3.io import read_json, write_parquet
from ledger_samples import answer, entry, fill, request

from pica.synth.errors import FolderError, LedgerError, UsageError
from pica.synth.ledger import Entry, Ledger, call_content, call_key
from pica.synth.models.base import Answer, Request, Sampling, user
from pica.synth.trace import LONGEST, trace
from pica.synth.visible import visible, visible_line

HOSTILE = ("\x1b[2J\x1b]0;owned\x07 \x9b31m \rrow other\n\ncall 9 of 9: forged\n\u202egnp.exe\u202c \u2028 "
           "\U000e0041 \0 \x7f 日本 é 🐦 \u0939\u094d\u200d\u092e\ttab")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = DataType.utf8()
    fields = {"id": text, "reject_reason": text, "calls": DataType.list(Field("item", text))}
    lines = path.with_suffix(".ndjson")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    schema = Schema([Field(name, kind) for name, kind in fields.items() if name in rows[0]])
    write_parquet(read_json(str(lines), schema), str(path))
    lines.unlink()


def keys(*numbers: int) -> list[str]:
    return [entry(i).key.hex() for i in numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of 5,002 rows; row 7 has calls 1 and 0, row 8 a call that is lost; one row was rejected."""
    rows = [{"id": f"row-{i:05d}", "calls": []} for i in range(5000)]
    rows[7]["calls"], rows[8]["calls"] = keys(1, 0), [*keys(2), "ab" * 16]
    write(tmp_path / "data" / "train-00000-of-00002.parquet", rows[:3000])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", [*rows[3000:], {"id": "odd\x1b[31m", "calls": keys(3)}])
    write(tmp_path / "rejected" / "train-00000-of-00001.parquet",
          [{"id": "row-90000", "reject_reason": "too\x1bshort", "calls": keys(4)}])
    fill(tmp_path / "ledger.sqlite", range(6))
    return tmp_path


class TestFinding:
    def test_an_accepted_row(self, folder: Path) -> None:
        found = trace(folder, "row-00007")
        assert found.file == folder / "data" / "train-00000-of-00002.parquet"
        assert found.ledger == folder / "ledger.sqlite"
        assert [call and call.answer for call in found.calls] == [answer(1), answer(0)]
        assert found.row == {"id": "row-00007", "calls": keys(1, 0)}

    def test_a_rejected_row_with_its_reason(self, folder: Path) -> None:
        found = trace(folder, "row-90000")
        assert found.file.parent.name == "rejected"
        assert "reject_reason: too\\x1bshort\n" in found.render()
        assert [call and call.answer for call in found.calls] == [answer(4)]

    def test_an_unknown_row_with_near_ones(self, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"no row 'row-04999x'.*near ones: row-04999, ") as caught:
            trace(folder, "row-04999x")
        assert "\n" not in str(caught.value)
        with pytest.raises(UsageError, match=re.escape(r"near ones: odd\x1b[31m")):
            trace(folder, "odd")

    def test_a_call_that_the_ledger_does_not_have(self, folder: Path) -> None:
        found = trace(folder, "row-00008")
        assert [call is None for call in found.calls] == [False, True]
        text = found.render()
        assert "calls: 2, 1 of them not in this ledger" in text
        assert f"call 2 of 2: {'ab' * 16} is not in this ledger" in text
        assert json.loads(found.to_json())["calls"][1] == {"key": "ab" * 16, "missing": True}


class TestLedgerPath:
    @pytest.mark.parametrize("name", ["manifest.json", "config.json"])
    def test_the_folder_says_where_its_calls_are(self, folder: Path, name: str) -> None:
        other = fill(folder / "shared.sqlite", range(1))
        (folder / name).write_text(json.dumps({"config": {"ledger": str(other)}}))
        assert trace(folder, "row-00007").ledger == other
        (folder / name).write_text(json.dumps({"config": {"ledger": "shared.sqlite"}}))
        assert trace(folder, "row-00007").ledger == other
        (folder / name).write_text(json.dumps({"config": {"ledger": ""}}))
        assert trace(folder, "row-00007").ledger == folder / "ledger.sqlite"

    def test_the_argument_wins(self, folder: Path) -> None:
        found = trace(folder, "row-00007", ledger=fill(folder / "o.sqlite", range(1)))
        assert [call is None for call in found.calls] == [True, False]

    def test_a_missing_ledger(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps({"config": {"ledger": "gone.sqlite"}}))
        with pytest.raises(LedgerError, match=r"no ledger at gone\.sqlite"):
            trace(folder, "row-00007")
        (folder / "manifest.json").write_text("{")
        with pytest.raises(FolderError, match=r"manifest\.json is damaged.*--ledger"):
            trace(folder, "row-00007")


class TestBadFolders:
    def test_no_dataset(self, tmp_path: Path) -> None:
        with pytest.raises(FolderError, match="no dataset in"):
            trace(tmp_path, "row")

    def test_a_parquet_file_cut_short(self, folder: Path) -> None:
        path = folder / "data" / "train-00000-of-00002.parquet"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(FolderError, match=r"train-00000-of-00002\.parquet cannot be read") as caught:
            trace(folder, "row-04000")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("row", "message"), [
        ({"id": "a"}, "does not name its calls"), ({"id": "a", "calls": None}, "does not name its calls"),
        ({"id": "a", "calls": ["../etc"]}, "does not name its calls"), ({"calls": []}, "no column `id`")])
    def test_rows_of_somebody_else(self, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        write(tmp_path / "data" / "a.parquet", [row])
        with pytest.raises(FolderError, match=message):
            trace(tmp_path, "a")


def store(folder: Path, asked: Request, given: Answer) -> str:
    """A dataset of one row, `a`, with this call."""

    async def put() -> None:
        content = call_content("openai/m", asked, 0)
        await ledger.put([Entry(call_key("openai/m", asked), content, given, "m", 0.25, 1.5)])

    with closing(Ledger(folder / "ledger.sqlite", durability="normal")) as ledger:
        asyncio.run(put())
    write(folder / "data" / "a.parquet", [{"id": "a", "calls": [call_key("openai/m", asked).hex()]}])
    return trace(folder, "a").render()


class TestText:
    def test_everything_is_told(self, folder: Path) -> None:
        text = trace(folder, "row-00007").render()
        first, second = text.split("\ncall ")[1:]
        assert text.startswith(f"row row-00007 in {folder / 'data'}")
        assert "\ntokens: 21 in, 60 out; seconds: 0.500; cost: 1.000000\n" in text
        assert first.startswith(f"1 of 2: chat by fake/m\nkey: {keys(1)[0]}; sample: 0; seed: 1\n"
                                "sampling: max_tokens 200, temperature 0.7\n[system] 19 characters\n  | You answer")
        assert f"  | {request(1).messages[1]['content']}\n" in first
        assert f"  | {answer(1).text}\n" in first
        assert "finish: stop; served by: served-m; tokens: 11 in, 30 out; seconds: 0.250; cost: 0.500000" in first
        assert second.startswith("2 of 2: ")

    def test_other_tasks(self, tmp_path: Path) -> None:
        asked = Request(task="logprobs", prompt="before", continuation="after", schema={"type": "string"},
                        sampling=Sampling(temperature=0, stop=("\x1b",)))
        text = store(tmp_path, asked, Answer(reasoning="thought", values=(0.5,), vector=bytes(8), finish="length"))
        for part in ("[prompt] 6 characters\n  | before\n", "[continuation] 5 characters\n  | after\n", "  | thought\n",
                     'schema: {"type": "string"}\n', 'sampling: stop ["\\u001b"], temperature 0.0\n',
                     "values: [0.5]; vector: 2 numbers; log-probabilities: 0 tokens\n",
                     "finish: length; served by: unsaid"):
            assert part in text

    def test_long_texts_are_shortened_and_say_so(self, tmp_path: Path) -> None:
        long = "".join(f"<{i}>" for i in range(3000))
        text = store(tmp_path, Request(task="complete", prompt="x" * LONGEST), Answer(text=long))
        assert "x" * LONGEST in text
        assert f"[answer] {len(long):,} characters\n" in text
        assert f"  ... {len(long) - 1600:,} characters are not shown (--full shows all) ...\n" in text
        assert long[:1200] in text
        assert long[-400:] in text
        assert long[:1201] not in text
        assert long in trace(tmp_path, "a").render(full=True)
        assert json.loads(trace(tmp_path, "a").to_json())["calls"][0]["answer"]["text"] == long

    def test_a_hostile_answer_cannot_reach_the_terminal_or_forge_a_line(self, tmp_path: Path) -> None:
        text = store(tmp_path, Request(task="chat", messages=(user(HOSTILE), {"role": HOSTILE, "content": "x"})),
                     Answer(text=HOSTILE, model=HOSTILE, finish=HOSTILE, reasoning=HOSTILE))
        assert {char for char in text if not char.isprintable()} <= {"\n", "\t", "\u200d"}
        assert [line for line in text.split("\n") if line.startswith("call ")] == ["call 1 of 1: chat by openai/m"]
        assert "\\x1b[2J\\x1b]0;owned\\x07 \\x9b31m \\rrow other" in text
        assert "\\u202egnp.exe\\u202c \\u2028 \\U000e0041 \\x00 \\x7f 日本 é 🐦 " in text
        assert trace(tmp_path, "a").to_json().isascii()

    def test_visible(self) -> None:
        assert visible("plain\n\ttext é 🐦 \ud800 \ue000") == "plain\n\ttext é 🐦 \\ud800 \\ue000"
        assert visible_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"
