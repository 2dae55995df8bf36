"""Fixtures for trainings of seconds: a tiny random Llama, and files of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lessons import Write
from tiny_llama import build_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with SmolLM2's chat template."""
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def lines(tmp_path: Path) -> Write:
    """Writes rows as JSON lines: `lines("name", [row, ...])` gives the file."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
