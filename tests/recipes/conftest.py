"""Fixtures for recipes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from books import rejects, rows


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A folder that keeps its books, whatever a test does to it."""
    yield tmp_path / "out"
    if (tmp_path / "out" / "manifest.json").exists():
        counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"]
        assert counts["in"] == counts["out"] + sum(counts["rejected"].values())
        assert counts["out"] == len(rows(tmp_path / "out"))
        assert counts["rejected"] == dict(Counter(row["reject_reason"] for row in rejects(tmp_path / "out")))
