"""A part of a table: the rows of one split, what is done to them done to the whole."""

from __future__ import annotations

from pathlib import Path

import orjson

from pica.synth.spool import Spool
from pica.synth.table import Table


def test_a_part_holds_one_split(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "rows.ndjson")
    try:
        for number in range(6):
            spool.accept(spool.start(), [orjson.dumps({"id": f"r{number}", "odd": number % 2})])
        table = Table(spool, 6)
        table.split(["audit" if odd else "train" for odd in table.column("odd")])
        own, tried = table.part("train"), table.part("audit")
        assert (own.column("id"), tried.column("id")) == (["r0", "r2", "r4"], ["r1", "r3", "r5"])
        assert (len(own), own.alive) == (3, [0, 2, 4])
        own.set("place", [1, 2, 3])
        own.keep([True, False, True], "too late")
        own.notes["said"] = "so"
        assert (len(table), len(own), len(tried), table.notes) == (5, 2, 3, {"said": "so"})
        assert [(split, row["id"], row.get("place")) for split, row in table.splits()] == [
            ("train", "r0", 1), ("audit", "r1", None), ("audit", "r3", None), ("train", "r4", 3), ("audit", "r5", None)]
        assert [row["id"] for row in table.rejected()] == ["r2"]
        assert table.reasons() == {"too late": 1}
        assert len(table.part("none")) == 0
    finally:
        spool.close()
