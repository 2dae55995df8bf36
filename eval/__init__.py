"""Measure: judges, battles, ratings, benchmarks, audits.

Every benchmark is a module with `EVALUATION`, a recipe whose rows are judgments, and beside it one with `CONFIG`, its settings:
`arena.py` and `arena_config.py`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from pica.synth.errors import UsageError

#: benchmark -> (module with `EVALUATION`, what it measures); `CONFIG` is in the module of that name with `_config`
EVALUATIONS = {
    "checklist": ("pica.eval.checklist", "answers checked item by item (TICK)"),
    "arena-hard": ("pica.eval.arena_hard", "models against a baseline (Arena-Hard, its official files)"),
    "wildbench": ("pica.eval.wildbench", "answers scored against checklists or compared with baselines (WildBench)"),
    "arena": ("pica.eval.arena", "every model against every other, on any tasks"),
}


def load_evaluation(name: str) -> Any:
    """The class of the benchmark `name`. Raises `UsageError` with the known ones."""
    return import_module(_module(name)).EVALUATION


def config_class(name: str) -> Any:
    """The config class of the benchmark `name`, without loading the benchmark. Raises `UsageError` with the known ones."""
    return import_module(f"{_module(name)}_config").CONFIG


def _module(name: str) -> str:
    if name not in EVALUATIONS:
        near = get_close_matches(name, EVALUATIONS, n=1)
        raise UsageError(f"unknown benchmark {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
                         f"Known: {', '.join(EVALUATIONS)}")
    return EVALUATIONS[name][0]
