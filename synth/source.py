"""Datasets to read: `open_source("pairs.jsonl")`.

    FOLDER               a dataset folder of ours, or any folder of Parquet files or JSON lines
    FILE                 .parquet, .jsonl, .ndjson or .json (an object a line, or an array of objects); .gz behind JSON
    ORG/NAME[:CONFIG]    a dataset of the Hugging Face hub, by the package `datasets`

Rows come in order as plain dicts, a batch in memory at a time, as often as they are asked for. Nothing is changed,
filled in or left out: what cannot be read is an error that says where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import orjson

from pica.synth.errors import FolderError, UsageError
from pica.synth.hub import HubRows, is_hub_id, is_inside
from pica.synth.jsonrows import SUFFIXES, json_rows
from pica.synth.parquet import batches
from pica.synth.rows import read_rows

_SHARD = re.compile(r"(?P<split>.+)-\d{5}-of-\d{5}")
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
           "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation"}
_NO_DATA = {"config.json", "manifest.json", "settings.json", "dataset_info.json", "dataset_dict.json", "dataset_infos.json",
            "state.json", "metrics.jsonl"}


class Rows(Protocol):
    """Where the rows of a split come from."""

    def columns(self) -> list[str]:
        """Names of the columns, in order of appearance."""
        ...

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, in order."""
        ...

    def count(self) -> int:
        """How many rows."""
        ...

    def digest(self) -> str:
        """A hash of the content."""
        ...


class Source:
    """A split of a dataset. `len()` and iteration read it; `iter()` may be called any number of times.

    `name`: as the user wrote it. `kind`: `pica` (a folder of ours), `parquet`, `json` or `hub`. `manifest`: of a folder of
    ours, else None. `revision`: the commit of a dataset of the hub, else empty.
    """

    def __init__(self, name: str, split: str, kind: str, rows: Rows, *, manifest: dict[str, Any] | None = None,
                 revision: str = "") -> None:
        self.name, self.split, self.kind = name, split, kind
        self.manifest, self.revision = manifest, revision
        self._rows = rows

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns; of JSON, every key that a row has. Rows of JSON lack what their line lacks."""
        return self._rows.columns()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the split's content, as hexadecimal: the same bytes give the same value wherever they lie."""
        return self._rows.digest()

    @cached_property
    def _count(self) -> int:
        return self._rows.count()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._rows.rows()

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it: source, split, kind, rows, fingerprint; its recipe or revision where it has one."""
        about = {"source": self.name, "split": self.split, "kind": self.kind, "rows": len(self),
                 "fingerprint": self.fingerprint}
        if self.manifest is not None:
            about["recipe"] = self.manifest.get("recipe")
        if self.revision:
            about["revision"] = self.revision
        return about


def open_source(name: str, *, split: str = "train", revision: str = "") -> Source:
    """The split of the dataset `name`. A single file is its own `train`. `revision`: of a dataset of the hub.

    Raises `UsageError` for what is not there, cannot be read or holds no rows, and `FolderError` for a folder of ours that is
    not finished or damaged.
    """
    path = Path(name)
    try:
        here = _folder(name, path, split) if path.is_dir() else _file(name, path, split) if path.exists() else None
    except OSError as error:
        raise UsageError(f"{name:.200} cannot be read ({error.strerror}); check the path and its permissions") from None
    if revision and (here is not None or not is_hub_id(name)):
        raise UsageError(f"revision={revision} is for datasets of the hub, and {name} is none")
    if here is not None:
        source = here
    elif is_hub_id(name) and not is_inside(path) and not _suffix(path):
        rows = HubRows(name, split, revision)
        source = Source(name, split, "hub", rows, revision=rows.revision)
    else:
        inside = f" ({path.parts[0]} is a folder here, so the hub is not asked)" if is_inside(path) else ""
        raise UsageError(f"no file or folder {name}{inside}; a dataset of the hub is written ORG/NAME or ORG/NAME:CONFIG")
    if next(iter(source), None) is None:
        raise UsageError(f"{name} holds no rows (split {split})")
    return source


class _Parquet:
    """Rows of Parquet files, one behind the other. `ours`: made by a recipe, which can make them again."""

    def __init__(self, files: Sequence[Path], *, ours: bool = False) -> None:
        self.files, self.ours = files, ours

    def columns(self) -> list[str]:
        names: dict[str, None] = {}
        for file in self.files:
            first = next(self._guarded(batches(file)), None)
            names.update(dict.fromkeys(first.schema.names if first is not None else ()))
        return list(names)

    def rows(self) -> Iterator[dict[str, Any]]:
        for file in self.files:
            yield from self._guarded(read_rows(file))

    def count(self) -> int:
        return sum(batch.num_rows for file in self.files for batch in self._guarded(batches(file)))

    def digest(self) -> str:
        return _digest(self.files)

    def _guarded(self, items: Iterator[Any]) -> Iterator[Any]:
        """`items`; a damaged file that no recipe here made cannot be mended as one of ours."""
        try:
            yield from items
        except FolderError as error:
            if self.ours:
                raise
            raise UsageError(f"{str(error).rpartition('; ')[0]}; check it, or fetch it again") from None


class _Json:
    """Rows of JSON files, one behind the other."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    @cached_property
    def _seen(self) -> tuple[list[str], int]:
        """(columns, rows), in one pass."""
        names: dict[str, None] = {}
        rows = 0
        for row in self.rows():
            names.update(dict.fromkeys(row))
            rows += 1
        return list(names), rows

    def columns(self) -> list[str]:
        return list(self._seen[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        for file in self.files:
            yield from json_rows(file)

    def count(self) -> int:
        return self._seen[1]

    def digest(self) -> str:
        return _digest(self.files)


def _digest(files: Sequence[Path]) -> str:
    """A hash of what the files hold, in order; their names and places have no part in it."""
    whole = blake2b(digest_size=16)
    for path in files:
        one = blake2b(digest_size=16)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                one.update(piece)
        whole.update(one.digest())
    return whole.hexdigest()


def _file(name: str, path: Path, split: str) -> Source:
    suffix = _suffix(path)
    if not suffix:
        raise UsageError(f"{name} is no kind of file that is read here; allowed: .parquet, {', '.join(SUFFIXES)}")
    if split != "train":
        raise UsageError(f"{name} is a single file, which has no split {split!r}; it is its own train")
    rows: Rows = _Parquet([path]) if suffix == ".parquet" else _Json([path])
    return Source(name, split, "parquet" if suffix == ".parquet" else "json", rows)


def _folder(name: str, path: Path, split: str) -> Source:
    manifest = _manifest(path)
    found = _splits(path)
    if not found:
        what = ("is a dataset saved by datasets.save_to_disk, in Arrow's own format; save it with to_parquet"
                if any(path.glob("**/*.arrow")) else "holds no Parquet and no JSON lines; give a folder or file with rows")
        raise UsageError(f"{name} {what}")
    if split not in found:
        raise UsageError(f"{name} has no split {split!r}; it has {', '.join(sorted(found))}")
    kinds = {_suffix(file) == ".parquet" for file in found[split]}
    if len(kinds) > 1:
        shown = ", ".join(file.name for file in found[split][:4])
        raise UsageError(f"{name} holds both Parquet and JSON for split {split} ({shown}); name the file that is meant")
    rows: Rows = _Parquet(found[split], ours=manifest is not None) if kinds == {True} else _Json(found[split])
    kind = "pica" if manifest is not None else "parquet" if kinds == {True} else "json"
    return Source(name, split, kind, rows, manifest=manifest)


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a folder of ours, None for another's. Raises `FolderError` for one that is not finished or damaged."""
    config, manifest = _read(path / "config.json"), _read(path / "manifest.json")
    if isinstance(manifest, dict) and "stage" in manifest:
        raise UsageError(f"{path} is a trained model ({manifest['stage']}), not a dataset; use it as hf/{path}")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        if isinstance(config, dict) and "recipe" in config:
            raise FolderError(f"{path} is not finished (no manifest.json); give the command that makes it again (pica run "
                              f"{config['recipe']} ... --out {path}): it goes on where it stopped")
        return None
    for file, size in manifest["files"].items():
        data = path / file
        if str(file).startswith("data/") and (not data.is_file() or data.stat().st_size != size):
            raise FolderError(f"{data} is not as it was written ({'another size' if data.is_file() else 'missing'}); give the "
                              f"command that made {path} again: the answers are in the ledger")
    return manifest


def _read(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise FolderError(f"{file} is damaged ({error}); remove it and give the command that made it again") from None


def _splits(path: Path) -> dict[str, list[Path]]:
    """Files with rows by split, in order of name: `data/` where there is one, else the folder itself; folders in it named
    as a split hold that split."""
    place = path / "data" if (path / "data").is_dir() else path
    found: dict[str, list[Path]] = {}
    for item in sorted(place.iterdir()):
        if item.is_dir() and item.name in _SPLITS:
            found.setdefault(_SPLITS[item.name], []).extend(_data_files(item))
    for file in _data_files(place):
        found.setdefault(_split_of(file), []).append(file)
    return {split: files for split, files in found.items() if files}


def _data_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir())
            if file.is_file() and _suffix(file) and file.name not in _NO_DATA and not file.name.startswith(".")]


def _split_of(file: Path) -> str:
    """`test` of `test-00000-of-00001.parquet` and of `test.jsonl`; anything else is `train`."""
    stem = file.name.removesuffix(_suffix(file))
    shard = _SHARD.fullmatch(stem)
    return shard["split"] if shard else _SPLITS.get(stem.lower(), "train")


def _suffix(file: Path) -> str:
    """The suffix of a file with rows, as it is written here; empty for any other file."""
    return next((suffix for suffix in (".parquet", *SUFFIXES) if file.name.lower().endswith(suffix)), "")
