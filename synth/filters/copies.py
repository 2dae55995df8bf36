"""Copies dropped from a table of rows: exact, near by MinHash, near by embedding; of every group one row stays."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:  # configs hold `Duplicates` and load without numpy
    from pica.synth.embed import Embedder
    from pica.synth.filters.groups import Groups
    from pica.synth.progress import Progress
    from pica.synth.table import Table


class Duplicates(BaseModel):
    """Which copies are dropped: of every group one row stays, the best by reward where there is one, then by content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact: bool = Field(True, description="equal after normalising case and white space")
    minhash: float = Field(0.8, ge=0, le=1, description="Jaccard similarity of character 5-grams; 0: off")
    embedder: str = Field("minilm", description="minilm, hash, hf/ID, wordllama; none: no distances")
    distance: float = Field(0.05, ge=0, le=4, description="squared distance of embeddings up to which two are copies; "
                                                          "0: distances are only noted")


class CopyFilter:
    """Drops copies as `settings` say. Packages and weights are found here, so that a missing one shows before the first call.

    Raises `UsageError` for what is missing.
    """

    def __init__(self, settings: Duplicates) -> None:
        self.settings = settings
        self.embedder: Embedder | None = None
        if settings.minhash:
            from pica.synth.filters.minhash import near_duplicates

            near_duplicates([""], threshold=settings.minhash)
        if settings.embedder != "none":
            from pica.synth.embed import open_embedder

            self.embedder = open_embedder(settings.embedder)

    def drop(self, table: Table, progress: Progress, *, column: str = "instruction", reward: str = "") -> None:
        """Drop the rows alive whose `column` copies another's. Of a group the highest in the column `reward` stays.

        With an embedder, sets the columns `min_neighbor_distance`, `repeat_count`, `min_similar_id` and `embedder`.
        """
        if self.settings.exact and len(table):
            from pica.synth.filters.exact import exact_groups

            _keep_one(table, exact_groups(table.column(column)), "copy", reward)
        if self.settings.minhash and len(table):
            from pica.synth.filters.minhash import near_duplicates

            found = near_duplicates(table.column(column), threshold=self.settings.minhash)
            _keep_one(table, found, "near copy (MinHash)", reward)
        if self.embedder is not None and len(table) > 1:
            self._by_distance(table, progress, self.embedder, column, reward)

    def _by_distance(self, table: Table, progress: Progress, embedder: Embedder, column: str, reward: str) -> None:
        from pica.synth.filters.groups import content_keys
        from pica.synth.filters.neighbours import neighbours

        texts, ids = table.columns(column, "id")
        progress.say(f"measuring distances of {len(ids):,} {column}s with {embedder.name}")
        found = neighbours(embedder.embed(texts), threshold=self.settings.distance, keys=content_keys(texts))
        table.set("min_neighbor_distance", [round(float(value), 6) for value in found.min_distance])
        table.set("repeat_count", [int(value) for value in found.repeat_count])
        table.set("min_similar_id", [ids[place] for place in found.nearest])
        table.set("embedder", [embedder.name] * len(ids))
        if embedder.truncated:
            table.notes.setdefault("warnings", []).append(
                f"{embedder.truncated:,} {column}s are longer than {embedder.name} reads; their distance goes by their beginning")
        if self.settings.distance:
            _keep_one(table, found.groups, "near copy (embedding)", reward)


def _keep_one(table: Table, groups: Groups, reason: str, reward: str) -> None:
    from pica.synth.filters.groups import keep_one

    ids = table.column("id")
    priority = [nan if value is None else value for value in table.column(reward)] if reward else None
    keep = keep_one(groups, priority, ids=ids)
    names = {int(label): name for label, name, kept in zip(groups.label, ids, keep, strict=True) if kept}
    table.keep(keep.tolist(), reason, [f"of {names[int(label)]}" for label in groups.label])
