"""Datasets from files, folders and a hub: the same rows every time, and one clear line for what cannot be read."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fake_hub import COMMIT, fake_hub
from hypothesis import given
from hypothesis import strategies as st
from small import talk

import pica
from pica.synth.errors import FolderError, UsageError
from pica.synth.jsonrows import json_rows
from pica.synth.recipe import make
from pica.synth.source import open_source

ROWS: list[dict[str, Any]] = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "ä\n\u2028", "score_chosen": 1.5}]


def lines(*rows: Any) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A Parquet file with these rows."""
    from arro3.core import Table
    from arro3.io import read_json, write_parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_suffix(".work")
    work.write_bytes(lines(*rows))
    from arro3.io import infer_json_schema

    write_parquet(Table.from_arrow(read_json(work, infer_json_schema(work))), path)
    work.unlink()
    return path


def file(path: Path, content: bytes) -> str:
    """A file with this content; its name as a user gives it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def refused(name: str | Path, kind: type[Exception] = UsageError, **asked: str) -> str:
    """The one line of why it cannot be read, at the latest when all of it is."""
    with pytest.raises(kind) as caught:
        list(open_source(str(name), **asked))
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestJson:
    @pytest.mark.parametrize(("name", "content"), [
        ("x.jsonl", lines(*ROWS)),
        ("x.ndjson", lines(*ROWS)),
        ("x.json", lines(*ROWS)),
        ("X.JSONL", lines(*ROWS)),
        ("x.jsonl", lines(*ROWS).rstrip(b"\n")),
        ("x.jsonl", b"\xef\xbb\xbf" + lines(*ROWS).replace(b"\n", b"\r\n")),
        ("x.jsonl", b"\n  \r\n" + lines(*ROWS).replace(b"\n", b"\n\n")),
        ("x.json", json.dumps(ROWS).encode()),
        ("x.json", b"\xef\xbb\xbf \n" + json.dumps(ROWS, indent=2, ensure_ascii=False).encode() + b"\n"),
        ("x.jsonl", json.dumps(ROWS).encode()),
        ("x.jsonl.gz", gzip.compress(lines(*ROWS), mtime=0)),
        ("x.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),  # a test has the same name at any time
    ])
    def test_every_way_to_write_it(self, tmp_path: Path, name: str, content: bytes) -> None:
        source = open_source(file(tmp_path / name, content))
        assert (list(source), list(source), len(source), source.kind) == (ROWS, ROWS, 2, "json")
        assert source.columns == ["prompt", "chosen", "rejected", "score_chosen"]
        assert (source.split, source.manifest, source.revision) == ("train", None, "")

    def test_numbers_are_kept_as_they_stand(self, tmp_path: Path) -> None:
        source = open_source(file(tmp_path / "x.jsonl", b'{"a": 123456789012345678901234567890, "b": Infinity}\n'
                                                        b'{"a": 18446744073709551615, "b": "1234567890123456789012"}\n'
                                                        b'{"a": 1e400, "b": "\\u0000\\ud83d\\ude00"}\n'))
        assert list(source) == [{"a": 123456789012345678901234567890, "b": float("inf")},
                                {"a": 18446744073709551615, "b": "1234567890123456789012"},
                                {"a": float("inf"), "b": "\x00😀"}]
        (row,) = open_source(file(tmp_path / "nan.json", b'[{"score": NaN}]'))
        assert row["score"] != row["score"]

    @pytest.mark.parametrize(("content", "why"), [
        (lines({"a": 1}) + b"{'a': 2}\n", "line 2 is not JSON (Expecting property name enclosed in double quotes: line 1 "
                                          "column 2 (char 1)); each line must be one object, without commas between lines"),
        (lines({"a": 1}) + b"\n\n" + b'{"a": 1},\n', "line 4 is not JSON (Extra data: line 1 column 9 (char 8)); each line must "
                                                      "be one object, without commas between lines"),
        (lines({"a": 1}) + b'{"a": "x', "line 2 is not JSON (Unterminated string starting at: line 1 column 7 (char 6)); "
                                        "each line must be one object, without commas between lines"),
        (lines({"a": 1}) + b'{"a": "\x00"}\n', "line 2 is not JSON (Invalid control character at: line 1 column 8 (char 7)); "
                                               "each line must be one object, without commas between lines"),
        (lines({"a": 1}, [1]), "line 2 is a list, not an object with columns"),
        (lines("text"), "line 1 is a text, not an object with columns"),
        (lines(3), "line 1 is a number, not an object with columns"),
        (lines({"a": 1}, None), "line 2 is null, not an object with columns"),
        (lines(True), "line 1 is true or false, not an object with columns"),
        (b'{"a": "\xe9"}\n', "line 1 is not UTF-8; save the file as UTF-8"),
        (b'{"a": "\\ud800"}\n', "line 1 holds half a character (a lone surrogate); remove the escape"),
        (b'{"a": ' + b"[" * 200_000 + b"\n", "line 1 is nested too deeply to be read"),
        ('{"a": 1}\n'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"\x00\x00\x00", "line 1 is not JSON (Expecting value: line 1 column 1 (char 0)); each line must be one object, without "
                          "commas between lines"),
        (b"[[1]]", "element 1 is a list, not an object with columns"),
        (b"[3, 4]", "element 1 is a number, not an object with columns"),
        (b'[{"a": 1}, {"a": }]', "element 2 is not JSON (Expecting value)"),
        (b'[{"a": 1}, {"a": 2', "element 2 is not JSON (Expecting ',' delimiter)"),
        (b'[{"a": 1}, {"a": "2', "element 2 is not JSON (Unterminated string starting at)"),
        (b'[{"a": 1} {"a": 2}]', "element 1 is followed by '{' where , or ] must stand"),
        (b'[{"a": 1}', "ends within its array, after 1 elements; fetch it again"),
        (b'[{"a": 1},', "ends within its array, after 1 elements; fetch it again"),
        (b"[", "ends within its array, after 0 elements; fetch it again"),
        (b'[{"a": 1}] {"a": 2}', "goes on behind its array; put one object a line, or everything in one array"),
        (b'[{"a": 1}, ]', "element 2 is not JSON (Expecting value)"),
        (b'[{"a": "\xe9"}]', "is not UTF-8 near element 1; save it as UTF-8"),
        (b'[{"a": "\\udc00"}]', "element 1 holds half a character (a lone surrogate); remove the escape"),
        (b'[{"a": ' + b"[" * 200_000, "element 1 is nested too deeply to be read"),
        (b"", "holds no rows (split train)"),
        (b"\xef\xbb\xbf\r\n  \n", "holds no rows (split train)"),
        (b" [ ] ", "holds no rows (split train)"),
    ])
    def test_what_cannot_be_read_says_where(self, tmp_path: Path, content: bytes, why: str) -> None:
        name = file(tmp_path / "x.json", content)
        assert refused(name) == f"{name} {why}"

    def test_a_packed_file_that_is_cut_or_none(self, tmp_path: Path) -> None:
        noise = lines(*({"a": os.urandom(200).hex()} for _ in range(500)))
        name = file(tmp_path / "x.jsonl.gz", gzip.compress(noise)[:-5000])
        assert refused(name) == (f"{name} cannot be read (Compressed file ended before the end-of-stream marker was reached); "
                                 "check it, or fetch it again")
        name = file(tmp_path / "y.jsonl.gz", lines(*ROWS))
        assert refused(name) == f"{name} cannot be read (Not a gzipped file (b'{{\"')); check it, or fetch it again"

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
                        ).flatmap(lambda value: st.lists(st.just({"value": value}), max_size=4)), st.sampled_from([None, 1]))
    def test_an_array_reads_as_lines_do(self, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]],
                                        indent: int | None) -> None:
        folder = tmp_path_factory.mktemp("json")
        (folder / "array.json").write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8", newline="\n")
        (folder / "lines.json").write_bytes(lines(*rows))
        assert list(json_rows(folder / "array.json")) == rows == list(json_rows(folder / "lines.json"))

    def test_a_large_array_is_read_piece_by_piece(self, tmp_path: Path) -> None:
        rows = [{"id": number, "text": f"{number} " * 500} for number in range(6_000)]
        rows[2_500] = {"id": 2_500, "text": "x" * 3_000_000}  # larger than a piece
        name = file(tmp_path / "x.json", json.dumps(rows).encode())
        source = open_source(name)
        assert list(source) == rows
        del rows
        tracemalloc.start()
        assert sum(1 for _ in source) == 6_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < os.path.getsize(name)


class TestParquet:
    def test_a_file(self, tmp_path: Path) -> None:
        rows = [{"prompt": [{"role": "user", "content": str(number)}], "score": number / 2} for number in range(3_000)]
        source = open_source(str(parquet(tmp_path / "x.parquet", rows)))
        assert (source.kind, source.columns, len(source)) == ("parquet", ["prompt", "score"], 3_000)
        assert list(source) == rows == list(source)

    def test_columns_of_any_type(self, tmp_path: Path) -> None:
        import datetime
        import decimal

        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            "id": pa.array([2**64 - 1, None], pa.uint64()), "price": pa.array([decimal.Decimal("1.5"), None]),
            "when": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("us")), "raw": pa.array([b"x", None]),
            "kind": pa.array(["a", None]).dictionary_encode(), "score": pa.array([float("inf"), None]),
            "turns": pa.array([[{"role": "user", "content": "x"}], None], pa.large_list(
                pa.struct([("role", pa.string()), ("content", pa.large_string())]))),
        }
        pq.write_table(pa.table(columns), tmp_path / "x.parquet")
        assert list(open_source(str(tmp_path / "x.parquet"))) == [
            {"id": 2**64 - 1, "price": decimal.Decimal("1.5"), "when": datetime.datetime(2020, 1, 1), "raw": b"x", "kind": "a",
             "score": float("inf"), "turns": [{"role": "user", "content": "x"}]}, dict.fromkeys(columns)]

    def test_what_is_damaged_or_empty(self, tmp_path: Path) -> None:
        whole = parquet(tmp_path / "x.parquet", ROWS[:1]).read_bytes()
        name = file(tmp_path / "cut.parquet", whole[:-20])
        assert refused(name) == f"{name} cannot be read (cut short, or no Parquet file); check it, or fetch it again"
        name = file(tmp_path / "zero.parquet", b"")
        assert refused(name) == f"{name} cannot be read (cut short, or no Parquet file); check it, or fetch it again"
        name = file(tmp_path / "bad.parquet", whole[:4] + bytes(len(whole) - 12) + whole[-8:])
        assert refused(name).startswith(f"{name} cannot be read (")
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "none.parquet")
        assert refused(tmp_path / "none.parquet") == f"{tmp_path}/none.parquet holds no rows (split train)"


class TestFingerprint:
    def test_it_is_of_the_content_wherever_that_lies(self, tmp_path: Path) -> None:
        one = open_source(file(tmp_path / "one.jsonl", lines(*ROWS)))
        assert one.fingerprint == open_source(file(tmp_path / "b" / "two.json", lines(*ROWS))).fingerprint
        assert one.fingerprint == open_source(str(tmp_path / "b")).fingerprint
        assert one.fingerprint != open_source(file(tmp_path / "c.jsonl", lines(*ROWS[::-1]))).fingerprint
        assert one.describe() == {"source": str(tmp_path / "one.jsonl"), "split": "train", "kind": "json", "rows": 2,
                                  "fingerprint": one.fingerprint}
        assert len(one.fingerprint) == 32 and int(one.fingerprint, 16)

    def test_where_a_file_ends_is_part_of_it(self, tmp_path: Path) -> None:
        rows = lines({"a": 1}), lines({"a": 2})
        file(tmp_path / "x" / "1.jsonl", rows[0])
        file(tmp_path / "x" / "2.jsonl", rows[1])
        file(tmp_path / "y" / "1.jsonl", rows[0] + rows[1])
        x, y = open_source(str(tmp_path / "x")), open_source(str(tmp_path / "y"))
        assert list(x) == list(y) == [{"a": 1}, {"a": 2}]
        assert x.fingerprint != y.fingerprint


class TestFolder:
    def test_splits_by_name(self, tmp_path: Path) -> None:
        parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [{"a": 1}])
        parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [{"a": 2, "b": 3}])
        parquet(tmp_path / "data" / "test_prefs-00000-of-00001.parquet", [{"a": 4}])
        train = open_source(str(tmp_path))
        assert (list(train), train.columns, len(train)) == ([{"a": 1}, {"a": 2, "b": 3}], ["a", "b"], 2)
        assert list(open_source(str(tmp_path), split="test_prefs")) == [{"a": 4}]
        assert refused(tmp_path, split="test") == f"{tmp_path} has no split 'test'; it has test_prefs, train"

    def test_json_lines_in_folders_named_as_splits(self, tmp_path: Path) -> None:
        file(tmp_path / "train" / "1.jsonl", lines({"a": 1}))
        file(tmp_path / "dev" / "1.jsonl", lines({"a": 2}))
        file(tmp_path / "test.jsonl.gz", gzip.compress(lines({"a": 3})))
        file(tmp_path / "dataset_info.json", b"{}")
        file(tmp_path / ".hidden.jsonl", b"nonsense")
        found = {split: list(open_source(str(tmp_path), split=split)) for split in ("train", "validation", "test")}
        assert found == {"train": [{"a": 1}], "validation": [{"a": 2}], "test": [{"a": 3}]}

    def test_files_of_any_name_are_train(self, tmp_path: Path) -> None:
        file(tmp_path / "b.jsonl", lines({"a": 2}))
        file(tmp_path / "a.ndjson", lines({"a": 1}))
        assert list(open_source(str(tmp_path))) == [{"a": 1}, {"a": 2}]

    def test_several_kinds_of_file(self, tmp_path: Path) -> None:
        file(tmp_path / "a.jsonl", lines({"a": 1}))
        parquet(tmp_path / "a.parquet", [{"a": 1}])
        assert refused(tmp_path) == (f"{tmp_path} holds both Parquet and JSON for split train (a.jsonl, a.parquet); name the "
                                     "file that is meant")

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        file(tmp_path / "notes.txt", b"hello")
        assert refused(tmp_path) == f"{tmp_path} holds no Parquet and no JSON lines; give a folder or file with rows"
        file(tmp_path / "train" / "data-00000-of-00001.arrow", b"ARROW1")
        assert refused(tmp_path) == (f"{tmp_path} is a dataset saved by datasets.save_to_disk, in Arrow's own format; save it "
                                     "with to_parquet")


class TestOurs:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        asyncio.run(make(talk(n=3), tmp_path / "out"))
        return tmp_path / "out"

    def test_a_complete_folder(self, out: Path) -> None:
        source = open_source(str(out))
        manifest = json.loads((out / "manifest.json").read_text())
        assert (source.kind, source.manifest, len(source)) == ("pica", manifest, 3)
        assert source.columns[:2] == ["id", "messages"]
        assert [row["messages"][0]["content"] for row in source] == [f"What is a magpie? ({number})" for number in range(3)]
        assert source.describe() == {"source": str(out), "split": "train", "kind": "pica", "rows": 3,
                                     "fingerprint": source.fingerprint, "recipe": "talk"}
        data = next((out / "data").iterdir())
        assert open_source(str(data)).fingerprint == source.fingerprint
        assert refused(out, split="test") == f"{out} has no split 'test'; it has train"

    def test_a_folder_that_is_not_finished(self, out: Path) -> None:
        (out / "manifest.json").unlink()
        assert refused(out, FolderError) == (f"{out} is not finished (no manifest.json); give the command that makes it again "
                                             f"(pica run talk ... --out {out}): it goes on where it stopped")

    def test_a_folder_whose_rows_are_damaged(self, out: Path) -> None:
        data = next((out / "data").iterdir())
        content = data.read_bytes()
        data.write_bytes(content[:-1])
        mend = f"; give the command that made {out} again: the answers are in the ledger"
        assert refused(out, FolderError) == f"{data} is not as it was written (another size){mend}"
        data.unlink()
        assert refused(out, FolderError) == f"{data} is not as it was written (missing){mend}"
        data.write_bytes(content[:4] + bytes(len(content) - 12) + content[-8:])
        assert "the answers are in the ledger" in refused(out, FolderError)
        (out / "manifest.json").write_text("{")
        assert refused(out, FolderError).startswith(f"{out}/manifest.json is damaged (")

    def test_a_trained_model_is_no_dataset(self, tmp_path: Path) -> None:
        file(tmp_path / "manifest.json", lines({"stage": "sft"}))
        assert refused(tmp_path) == f"{tmp_path} is a trained model (sft), not a dataset; use it as hf/{tmp_path}"


class TestNames:
    @pytest.mark.parametrize("name", ["missing.jsonl", "org/missing.parquet", "a/b/c", "./nothing", "nowhere", "a/b/", "~/x y"])
    def test_what_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.chdir(tmp_path)
        assert refused(name) == f"no file or folder {name}; a dataset of the hub is written ORG/NAME or ORG/NAME:CONFIG"

    def test_a_name_that_no_file_can_have(self) -> None:
        assert refused("x" * 5000) == f"{'x' * 200} cannot be read (File name too long); check the path and its permissions"

    def test_a_mistyped_place_in_a_folder_never_leaves_the_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").mkdir()
        assert refused("runs/mapgie") == ("no file or folder runs/mapgie (runs is a folder here, so the hub is not asked); a "
                                          "dataset of the hub is written ORG/NAME or ORG/NAME:CONFIG")

    def test_files_of_other_kinds(self, tmp_path: Path) -> None:
        name = file(tmp_path / "x.csv", b"a,b\n1,2\n")
        assert refused(name) == (f"{name} is no kind of file that is read here; allowed: .parquet, .jsonl, .jsonl.gz, .ndjson, "
                                 ".ndjson.gz, .json, .json.gz")

    def test_a_file_has_one_split_and_no_revision(self, tmp_path: Path) -> None:
        name = file(tmp_path / "test.jsonl", lines({"a": 1}))
        assert refused(name, split="test") == f"{name} is a single file, which has no split 'test'; it is its own train"
        assert refused(name, revision="main") == f"revision=main is for datasets of the hub, and {name} is none"


SCRIPT = """
import json, sys
from pica.synth.errors import UsageError
from pica.synth.source import open_source
for name, split, revision in json.loads(sys.argv[1]):
    try:
        source = open_source(name, split=split, revision=revision)
        print(json.dumps([source.describe(), source.columns, list(source)]))
    except UsageError as error:
        print(json.dumps(str(error)))
"""


def asked(tmp_path: Path, *calls: tuple[str, str, str], before: str = "", **environment: str) -> list[Any]:
    """What a fresh process, with a cache of its own, finds for (name, split, revision)."""
    known = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(Path(pica.__file__).parents[1]), **environment}
    known.pop("HF_HUB_OFFLINE", None) if "HF_HUB_OFFLINE" not in environment else None
    done = subprocess.run([sys.executable, "-c", before + SCRIPT, json.dumps(calls)], env=known, cwd=tmp_path, check=True,
                          capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestHub:
    def test_a_dataset_of_the_hub(self, tmp_path: Path) -> None:
        rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d", "chosen": "e", "rejected": "f"}]
        configs = b"---\nconfigs:\n- {config_name: one, data_files: 1.jsonl}\n- {config_name: two, data_files: 2.jsonl}\n---\n"
        pairs = {"README.md": b"---\nlicense: mit\n---\n", "data/train.jsonl": lines(*rows), "data/test.jsonl": lines(rows[0])}
        hub = {"org/pairs": pairs, "else/copy": pairs, "org/many": {"README.md": configs, "1.jsonl": lines({"a": 1}),
                                                                    "2.jsonl": lines({"a": 2})},
               "org/closed": 403, "org/down": 503, "org/script": {"script.py": b"raise SystemExit('it ran')\n"}}
        calls = [("org/pairs", "train", ""), ("else/copy", "train", COMMIT), ("org/pairs", "validation", ""),
                 ("org/pairs", "train", "v9"), ("org/many:two", "train", ""), ("org/many", "train", ""),
                 ("org/nothing", "train", ""), ("org/closed", "train", ""), ("org/down", "train", ""),
                 ("org/script", "train", "")]
        with fake_hub(hub) as address:
            (pairs_found, copy, *others) = asked(tmp_path, *calls, HF_ENDPOINT=address)
        about, columns, found = pairs_found
        assert (columns, found) == (["prompt", "chosen", "rejected"], rows)
        assert about == {"source": "org/pairs", "split": "train", "kind": "hub", "rows": 2, "revision": COMMIT,
                         "fingerprint": about["fingerprint"]}
        assert copy == [{**about, "source": "else/copy"}, columns, rows]
        assert others[2][2] == [{"a": 2}]
        assert others[3].startswith("org/many: ValueError: Config name is missing.")
        assert others[3].endswith("; write ORG/NAME:CONFIG")
        others[2:4] = []
        assert others == [
            "org/pairs has no split 'validation'; it has train, test",
            "org/pairs has no revision v9; give a branch, a tag or a commit",
            "org/nothing is no file or folder here, and the hub shows no such dataset; check the name, or set HF_TOKEN if it is "
            "private",
            "org/closed is gated: accept its terms at the hub's page org/closed and set HF_TOKEN",
            "org/down cannot be asked for: the hub answers 503; try again later",
            "org/script is a script, and scripts are never run; give revision=refs/convert/parquet",
        ]
        offline = asked(tmp_path, ("org/pairs", "train", ""), ("org/nothing", "train", ""), HF_HUB_OFFLINE="1")
        assert offline[0][2] == rows
        assert offline[1].startswith("org/nothing is no file or folder here, and the cache does not hold it (")

    def test_a_hub_that_cannot_be_reached_and_a_machine_without_datasets(self, tmp_path: Path) -> None:
        (line,) = asked(tmp_path, ("org/pairs", "train", ""), HF_ENDPOINT="http://127.0.0.1:9")
        assert line.startswith("org/pairs is no file or folder here, and the hub cannot be reached (ConnectError")
        assert line.endswith("; check the path or the connection, or set HF_HUB_OFFLINE=1 to use what the cache holds")
        (line,) = asked(tmp_path, ("org/pairs", "train", ""), before="import sys\nsys.modules['datasets'] = None\n")
        assert line == ("org/pairs is no file or folder here, and datasets of the hub need the package datasets: pip install "
                        '"pica[train]"')
