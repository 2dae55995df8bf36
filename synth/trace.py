"""From a row of a dataset back to the calls that made it.

    pica trace DIR ROW_ID
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nlargest
from pathlib import Path
from typing import Any

import msgspec

from pica.synth.errors import FolderError, UsageError
from pica.synth.ledger import Call, read_calls
from pica.synth.models.base import Sampling
from pica.synth.parquet import batches
from pica.synth.visible import visible, visible_line

LONGEST = 2000  # characters of a text that are shown unless all are asked for
_ENDS = (1200, 400)  # of them at its start and end, where it is longer
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Trace:
    """A row and its calls, in the order in which the row names them; None for a call that the ledger does not have."""

    row_id: str
    file: Path
    row: dict[str, Any]
    ledger: Path
    keys: tuple[str, ...]
    calls: tuple[Call | None, ...]

    def render(self, *, full: bool = False) -> str:
        """The trace as text for a terminal. `full` shows long texts whole instead of their start and end."""
        return "\n".join([*self._head(), *(line for number in range(len(self.keys))
                                           for line in self._call(number, full))]) + "\n"

    def to_json(self) -> str:
        """Everything, as one JSON object (ASCII only); vectors are base64 of little-endian float32."""
        calls = [{"key": key, "missing": True} if call is None else call_fields(call)
                 for key, call in zip(self.keys, self.calls, strict=True)]
        return json.dumps({"id": self.row_id, "file": str(self.file), "ledger": str(self.ledger), "row": self.row,
                           "calls": calls}, indent=2, default=str)

    def _head(self) -> Iterator[str]:
        found = [call for call in self.calls if call is not None]
        yield f"row {visible_line(self.row_id)} in {self.file}"
        for name in ("reject_reason", "reject_detail", "recipe", "model", "seed"):
            if self.row.get(name) not in (None, ""):
                yield f"{name}: {visible_line(str(self.row[name]))}"
        yield f"ledger: {self.ledger}"
        missing = len(self.keys) - len(found)
        yield f"calls: {len(self.keys)}" + (f", {missing} of them not in this ledger" if missing else "")
        yield (f"tokens: {sum(call.answer.prompt_tokens for call in found):,} in, "
               f"{sum(call.answer.completion_tokens for call in found):,} out; "
               f"seconds: {sum(call.seconds for call in found):.3f}; cost: {sum(call.cost for call in found):.6f}")

    def _call(self, number: int, full: bool) -> Iterator[str]:
        call = self.calls[number]
        yield ""
        if call is None:
            yield f"call {number + 1} of {len(self.keys)}: {self.keys[number]} is not in this ledger"
            return
        answer = call.answer
        yield f"call {number + 1} of {len(self.keys)}: {call.task} by {visible_line(call.identity)}"
        yield f"key: {call.key}; sample: {call.sample}; seed: {call.seed}"
        yield f"sampling: {_sampling(call.sampling)}"
        if call.schema is not None:
            yield f"schema: {json.dumps(call.schema)}"
        said = [(message["role"], message["content"]) for message in call.messages]
        for title, text in [("prompt", call.prompt), *said, ("continuation", call.continuation),
                            ("reasoning", answer.reasoning)]:
            if text:
                yield from _block(title, text, full)
        yield from _block("answer", answer.text, full)
        if answer.values or answer.vector or answer.logprobs:
            yield (f"values: {list(answer.values)}; vector: {len(answer.vector) // 4} numbers; "
                   f"log-probabilities: {len(answer.logprobs)} tokens")
        yield (f"finish: {visible_line(answer.finish)}; served by: {visible_line(answer.model) or 'unsaid'}; tokens: "
               f"{answer.prompt_tokens:,} in, {answer.completion_tokens:,} out; seconds: {call.seconds:.3f}; "
               f"cost: {call.cost:.6f}")


def trace(folder: Path, row_id: str, *, ledger: Path | None = None) -> Trace:
    """The row `row_id` of the dataset in `folder`, accepted or rejected, and its calls.

    `ledger`: where the calls are, if not where the folder's manifest says. Raises `UsageError` for an unknown row,
    `FolderError` for a folder that is no dataset, or a damaged one, `LedgerError` for a missing or damaged ledger.
    """
    file, row = _find(folder, row_id)
    keys = row.get("calls")
    if not isinstance(keys, list) or not all(isinstance(key, str) and _KEY.fullmatch(key) for key in keys):
        raise FolderError(f"row {row_id!r} in {file} does not name its calls (column `calls`: {keys!r:.60}); only rows "
                          "that Pica made can be traced")
    path = ledger or _ledger(folder)
    found = {call.key: call for call in read_calls(path, list(dict.fromkeys(keys)))}
    return Trace(row_id, file, row, path, tuple(keys), tuple(found.get(key) for key in keys))


def call_fields(call: Call) -> dict[str, Any]:
    """A call as plain values, for JSON; an embedding's `vector` is base64 of little-endian float32."""
    return {**vars(call), "messages": list(call.messages), "answer": msgspec.to_builtins(call.answer)}


def _find(folder: Path, row_id: str) -> tuple[Path, dict[str, Any]]:
    files = [*sorted(folder.glob("data/*.parquet")), *sorted(folder.glob("rejected/*.parquet"))]
    if not files:
        raise FolderError(f"no dataset in {folder}: it has neither data/*.parquet nor rejected/*.parquet; give the "
                          "folder that a finished run wrote")
    for file in files:
        for batch in batches(file):
            for place, found in enumerate(_ids(file, batch)):
                if found == row_id:
                    one = batch.slice(place, 1)
                    return file, {name: one[name].to_pylist()[0] for name in one.schema.names}
    near = nlargest(100, (found for file in files for batch in batches(file) for found in _ids(file, batch)),
                    key=lambda found: _shared(found, row_id))
    close = get_close_matches(row_id, near, n=3, cutoff=0) or ["none: the dataset is empty"]
    raise UsageError(f"no row {row_id!r} in {folder}; near ones: {', '.join(map(visible_line, close))}")


def _shared(one: str, other: str) -> int:
    """Characters at the start that both have."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))


def _ids(file: Path, batch: Any) -> list[str]:
    if "id" not in batch.schema.names:
        raise FolderError(f"{file} has no column `id`; only datasets that Pica made can be traced")
    return [str(value) for value in batch["id"].to_pylist()]


def _ledger(folder: Path) -> Path:
    """The ledger that the folder's manifest, or its config, names; else the folder's own."""
    for name in ("manifest.json", "config.json"):
        path = folder / name
        try:
            said = json.loads(path.read_bytes()) if path.is_file() else {}
        except ValueError as error:
            raise FolderError(f"{path} is damaged ({error}); say with --ledger where the calls are") from None
        config = said.get("config") if isinstance(said, dict) else None
        named = config.get("ledger") if isinstance(config, dict) else None
        if named:  # as the run was given it: relative to where it was started
            return next((place for place in (Path(named), folder / named) if place.is_file()), Path(named))
    return folder / "ledger.sqlite"


def _sampling(values: dict[str, Any]) -> str:
    """Temperature, and what differs from the default."""
    usual = Sampling().model_dump(mode="json")
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items()
                     if name == "temperature" or value != usual.get(name))


def _block(title: str, text: str, full: bool) -> Iterator[str]:
    """A text that somebody else wrote: every line marked, so that it cannot pass for a line of the trace."""
    yield f"[{visible_line(title)}] {len(text):,} characters"
    parts = [text] if full or len(text) <= LONGEST else [text[:_ENDS[0]], text[-_ENDS[1]:]]
    for number, part in enumerate(parts):
        if number:
            yield f"  ... {len(text) - sum(_ENDS):,} characters are not shown (--full shows all) ..."
        yield from (f"  | {line}" for line in visible(part).split("\n"))
