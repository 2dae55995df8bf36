"""What a dataset folder holds, for tests of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pica.synth.rows import read_rows


def rows(out: Path, pattern: str = "data/*.parquet") -> list[dict[str, Any]]:
    """All rows of a folder."""
    return [row for file in sorted(out.glob(pattern)) for row in read_rows(file)]


def rejects(out: Path) -> list[dict[str, Any]]:
    """All rejected rows of a folder."""
    return rows(out, "rejected/*.parquet")
