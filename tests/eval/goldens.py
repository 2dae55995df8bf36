"""Where published result files lie: PICA_GOLDEN, or `shared/golden` beside the checkout. Tests that need them skip without."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("PICA_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))
needs_golden = pytest.mark.skipif(not FOLDER.is_dir(), reason="no published result files; PICA_GOLDEN names their folder")


def golden(path: str) -> Any:
    """A published JSON file."""
    return json.loads((FOLDER / path).read_text(encoding="utf-8"))


def golden_lines(path: str) -> list[dict[str, Any]]:
    """A published file of JSON lines."""
    return [json.loads(line) for line in (FOLDER / path).read_text(encoding="utf-8").splitlines()]
