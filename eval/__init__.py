"""Measure: judges, battles, ratings, benchmarks, audits.

Every benchmark is a module with `EVALUATION`, a recipe whose rows are judgments.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from pica.synth.errors import UsageError

#: benchmark -> (module with `EVALUATION`, what it measures)
EVALUATIONS = {
    "checklist": ("pica.eval.checklist", "answers checked item by item (TICK)"),
    "arena-hard": ("pica.eval.arena_hard", "models against a baseline (Arena-Hard, its official files)"),
    "wildbench": ("pica.eval.wildbench", "answers scored against checklists or compared with baselines (WildBench)"),
    "arena": ("pica.eval.arena", "every model against every other, on any tasks"),
}


def load_evaluation(name: str) -> Any:
    """The class of the benchmark `name`. Raises `UsageError` with the known ones."""
    if name not in EVALUATIONS:
        near = get_close_matches(name, EVALUATIONS, n=1)
        raise UsageError(f"unknown benchmark {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
                         f"Known: {', '.join(EVALUATIONS)}")
    return import_module(EVALUATIONS[name][0]).EVALUATION
