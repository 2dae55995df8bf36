"""A dataset folder: what `datasets.load_dataset(DIR)` reads, and what a run needs to go on.

    README.md              dataset card
    data/SPLIT-*.parquet   the rows
    rejected/*.parquet     every row that was dropped, with `reject_reason`
    manifest.json          written last: its presence means "complete"
    config.json            the config of the folder, written first
    ledger.sqlite          the calls
    report.html            what a person looks at first
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from pica.synth.errors import FolderError
from pica.synth.lock import FileLock
from pica.synth.rows import Column, arrow_schema

ROWS_PER_FILE = 200_000
ROWS_PER_GROUP = 10_000
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class DatasetFolder:
    """The folder `path` (made if absent), held against other processes until `close`.

    Raises `FolderError` when another process has it, when it cannot be written, or when it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = ""  # the folder's own, wherever it is moved to; known after `claim`
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._work = path / ".work"
            strangers = [item.name for item in path.iterdir() if not _is_ours(item.name)]
            if strangers and not (path / "config.json").exists():
                raise FolderError(f"{path} holds something else ({', '.join(sorted(strangers)[:3])}); "
                                  "give an empty or new folder with --out")
            self._lock = FileLock(path / ".lock", what=f"folder {path}", error=FolderError)
        except (PermissionError, NotADirectoryError, FileExistsError, OSError) as error:
            raise FolderError(f"cannot write to {path} ({error.strerror}); give a folder that can be written with "
                              "--out") from None

    def claim(self, recipe: str, config: dict[str, Any], *, update: bool = False) -> None:
        """Make this the folder of `recipe` with `config`; if it already is another's, say how they differ."""
        wanted = {"recipe": recipe, "config": config}
        read = self.read("config.json")
        found = {key: read[key] for key in wanted if key in read} if isinstance(read, dict) else read
        self.id = str(read.get("id", "")) if isinstance(read, dict) else ""
        if found is not None and found != wanted:
            other = found.get("recipe") if isinstance(found, dict) else None
            if isinstance(other, str) and other != recipe:
                raise FolderError(f"{self.path} is a folder of {other}, and this command makes one of {recipe}; give "
                                  "another --out")
            if not update:
                raise FolderError(f"{self.path} holds another config: {'; '.join(differences(found, wanted))}. Give another "
                                  "--out, or --update to make this folder again with the new config (answers that "
                                  "still fit are kept)")
            self.discard()
        if found != wanted or not self.id:
            self.id = self.id or uuid4().hex
            self.write_json("config.json", {"id": self.id, **wanted})

    def disclaim(self) -> None:
        """Let the folder be any config's again: nothing was made in it."""
        (self.path / "config.json").unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was made (never the ledger)."""
        for name in ("manifest.json", "report.html", "README.md", *EXTRAS):
            (self.path / name).unlink(missing_ok=True)
        for name in ("data", "rejected", *EXTRA_FOLDERS):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def read(self, name: str) -> Any:
        """The JSON file `name`, or None when absent. Raises `FolderError` when it is damaged."""
        try:
            return orjson.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError as error:
            raise FolderError(f"{self.path / name} is damaged ({error}); remove it and give the same command again: "
                              "the answers are in the ledger") from None

    def complete(self) -> dict[str, Any] | None:
        """The manifest, if the folder is complete and its rows' files are as long as they were written; else None."""
        manifest = self.read("manifest.json")
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            return None
        for name, size in manifest["files"].items():
            path = self.path / name  # the card is there to be edited
            if not path.is_file() or (path.suffix == ".parquet" and path.stat().st_size != size):
                return None
        return manifest

    def work(self, name: str) -> Path:
        """A path for a file that is needed only while the run goes on."""
        self._work.mkdir(exist_ok=True)
        return self._work / name

    def write_rows(self, folder: str, splits: Iterable[tuple[str, Mapping[str, Any]]], columns: list[Column],
                   ) -> dict[str, int]:
        """Write rows as `folder/SPLIT-00000-of-00001.parquet`; rows by split. Equal rows give equal bytes."""
        schema, names = arrow_schema(columns), [column.name for column in columns]
        shutil.rmtree(self.path / folder, ignore_errors=True)
        (self.path / folder).mkdir()
        writers: dict[str, _Shards] = {}
        for split, row in splits:
            assert set(split) <= SAFE, f"split {split!r}"
            if split not in writers:
                writers[split] = _Shards(self.work(f"{folder}-{split}"))
            writers[split].add(orjson.dumps({name: row.get(name) for name in names}))
        for split, writer in writers.items():
            paths = [self.path / folder / f"{split}-{k:05d}-of-{len(writer.files):05d}.parquet"
                     for k in range(len(writer.files))]
            writer.convert(paths, schema)
        return {split: writer.rows for split, writer in writers.items()}

    def write_text(self, name: str, text: str) -> None:
        """Write a file so that it is there whole or not at all. `name` may be a path below the folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}{PARTIAL}")
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file for people and programs."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def files(self) -> dict[str, int]:
        """Size in bytes of every file that makes up the dataset."""
        found = [*sorted(self.path.glob("data/*.parquet")), *sorted(self.path.glob("rejected/*.parquet")),
                 *(self.path / name for name in ("README.md", "report.html", *EXTRAS) if (self.path / name).exists()),
                 *(path for name in EXTRA_FOLDERS for path in sorted(self.path.glob(f"{name}/**/*")) if path.is_file())]
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    def close(self) -> None:
        """Remove what was needed only for the run, and let others in."""
        with suppress(AttributeError):
            shutil.rmtree(self._work, ignore_errors=True)
            self._lock.release()


PARTIAL = ".partial"  # how the name of a file ends that is being written
BATCHES = "batches-"  # a batch API's batches under way, remembered in a file for each model
EXTRAS = ("skills.yaml", "leaderboard.json", "leaderboard.csv", "audit.json")  # files that some recipes write beside the rows
EXTRA_FOLDERS = ("official",)  # and folders of them
KNOWN = frozenset({*EXTRAS, *EXTRA_FOLDERS, "README.md", "data", "rejected", "manifest.json", "config.json", "ledger.sqlite",
                   "report.html", ".lock", ".work", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite.lock",
                   ".gitattributes", ".DS_Store"})


def _is_ours(name: str) -> bool:
    """Whether a file of this name may be a run's own; a kill while it was being written leaves its beginning."""
    partial = name.startswith(".") and name.endswith(PARTIAL)
    return partial or name in KNOWN or name.startswith(BATCHES)


class _Shards:
    """Rows of one split on their way into Parquet files, as JSON lines on disk."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self.files: list[Path] = []
        self.rows = 0

    def add(self, line: bytes) -> None:
        if self.rows % ROWS_PER_FILE == 0:
            self._close()
            self.files.append(self._stem.with_name(f"{self._stem.name}-{len(self.files)}.ndjson"))
            self._file = self.files[-1].open("wb", buffering=1 << 18)
        self._file.write(line + b"\n")
        self.rows += 1

    def _close(self) -> None:
        if self.files:
            self._file.close()

    def convert(self, paths: list[Path], schema: Any) -> None:
        from arro3.io import read_json, write_parquet

        self._close()
        for lines, path in zip(self.files, paths, strict=True):
            with lines.open("rb") as source, _Sink(path) as sink:
                write_parquet(read_json(source, schema, batch_size=ROWS_PER_GROUP), sink, compression="zstd(3)",
                              max_row_group_size=ROWS_PER_GROUP, created_by="pica", skip_arrow_metadata=True)
                sink.check()
            lines.unlink()


class _Sink(FileIO):
    """A file whose first error is kept for `check`: the Parquet writer would panic on it, on a full disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        try:
            while view and self._error is None:
                view = view[super().write(view):]
        except OSError as error:
            self._error = error
        return len(data)

    def check(self) -> None:
        if self._error is not None:
            raise self._error


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """What changed, a phrase each: `config.n: 10 -> 20`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(item, dict) for item in [*old, *new]):
        for place, (one, other) in enumerate(zip_longest(old, new), 1):
            yield from differences(one, other, f"{path} {place}")
    elif old != new:
        yield f"{path}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}"
