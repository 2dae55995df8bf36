"""What a ledger holds, model by model, and how well it is compressed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pica.synth.errors import LedgerError
from pica.synth.ledger.codec import zstd
from pica.synth.ledger.file import explained, open_to_read
from pica.synth.ledger.pages import log_path
from pica.synth.ledger.store import Spent
from pica.synth.visible import visible_line

# the first 18 bytes of a compressed text tell its length
_QUERY = """
SELECT model, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(seconds),
       sum(length(answer) + length(request)),
       sum(raw_size(substr(answer, 1, 18)) + raw_size(substr(request, 1, 18)))
FROM calls NOT INDEXED GROUP BY model ORDER BY count(*) DESC, model"""


@dataclass(frozen=True)
class ModelStats:
    """The calls of one model. `seconds` sums their times; `stored` and `raw` are bytes of requests and answers."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    seconds: float
    stored: int
    raw: int


@dataclass(frozen=True)
class Stats:
    """The ledger at `path`: `size` is bytes on disk with its log; one entry a model, most calls first."""

    path: Path
    size: int
    models: tuple[ModelStats, ...]

    @property
    def calls(self) -> int:
        """Calls of all models."""
        return sum(model.calls for model in self.models)

    @property
    def ratio(self) -> float:
        """Bytes of all requests and answers as they were, per byte that they take compressed; 1 for none."""
        stored = sum(model.stored for model in self.models)
        return sum(model.raw for model in self.models) / stored if stored else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {"path": str(self.path), "size": self.size, "calls": self.calls, "ratio": self.ratio,
                "models": [asdict(model) for model in self.models]}

    def explain(self) -> list[str]:
        """A table of the models, then the file."""
        head = ("model", "calls", "tokens in", "tokens out", "cost", "seconds")
        rows = [head, *((visible_line(one.model), f"{one.calls:,}", f"{one.prompt_tokens:,}",
                         f"{one.completion_tokens:,}", f"{one.cost:,.4f}", f"{one.seconds:,.1f}")
                        for one in self.models)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
                                                       in zip(row[1:], widths[1:], strict=True))]) for row in rows]
        per_call = f", {self.size / self.calls:,.0f} a call" if self.calls else ""
        return [*lines, f"file: {self.size:,} bytes{per_call}; texts compressed {self.ratio:.1f} times"]


def stats(path: Path) -> Stats:
    """Count the ledger at `path` in one pass. Raises `LedgerError` where it is absent, foreign or damaged."""
    if not path.is_file():
        raise LedgerError(f"no ledger at {path}; a run makes one in its output folder (or where `ledger=` says)")
    size = sum(file.stat().st_size for file in (path, log_path(path)) if file.is_file())
    with explained(path), closing(open_to_read(path)) as connection:
        connection.create_function("raw_size", 1, _raw_size, deterministic=True)
        return Stats(path, size, tuple(ModelStats(*row) for row in connection.execute(_QUERY)))


def spent_by_owner(path: Path) -> dict[str, Spent]:
    """What each owner's calls have used, by the id of its folder; nothing where there is no ledger yet."""
    if not path.is_file():
        return {}
    with explained(path), closing(open_to_read(path)) as connection:
        rows = connection.execute("SELECT owner, count(*), total(prompt_tokens), total(completion_tokens), total(cost) FROM calls"
                                  " GROUP BY owner")
        return {owner: Spent(calls, int(prompt), int(completion), cost) for owner, calls, prompt, completion, cost in rows}


def _raw_size(head: bytes) -> int:
    return zstd.get_frame_info(head).decompressed_size or 0
