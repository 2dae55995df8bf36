"""Tasks that come with Pica, by the name under which settings call them."""

from __future__ import annotations

from pathlib import Path

SHIPPED = {"pica": Path(__file__).parent / "benchmark" / "tasks.jsonl"}
