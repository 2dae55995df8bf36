"""What a reproduction found, as a table for the terminal, as JSON, and as a report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arms import ARMS, BASE, GOALS
from figures import Mean, by_goal, differences, follows, verdict
from settings import Settings

from pica.synth.report import Intervals, Lines, Report, Table, write_report

Seeds = Sequence[Mapping[str, Any]]
HEADER = ("arm", "rows", "steps", "no goal", "goal 1", "goal 5", "goal 10", "Spearman", "goals 8-10 less 1-3")


def lines(seeds: Seeds) -> list[tuple[str, ...]]:
    """A line of the table for each arm."""
    found = []
    for arm in (BASE, *ARMS):
        means, (rank, rise) = by_goal(seeds, arm), follows(seeds, arm)
        rows, steps = (str(seeds[0][name].get(arm, "")) for name in ("rows", "steps"))
        found.append((arm, rows, steps, *(str(means[name]) for name in ("", "1", "5", "10")), str(rank), str(rise)))
    return found


def table(seeds: Seeds) -> str:
    """Markdown: the arms, the differences, the verdict."""
    rows = [HEADER, tuple("---" for _ in HEADER), *lines(seeds)]
    arms = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    pairs = "\n".join(f"| {name} | {value} |" for name, value in differences(seeds).items())
    return f"{arms}\n\n| difference, paired by seed | mean |\n| --- | --- |\n{pairs}\n\n{verdict(seeds)}"


def write(folder: Path, settings: Settings, seeds: Seeds) -> None:
    """Write results.json and report.html into `folder`."""
    results = {
        "settings": asdict(settings), "verdict": verdict(seeds), "seeds": list(seeds),
        "by_goal": {arm: {name or "none": _numbers(mean) for name, mean in by_goal(seeds, arm).items()} for arm in (BASE, *ARMS)},
        "follows": {arm: [_numbers(mean) for mean in follows(seeds, arm)] for arm in (BASE, *ARMS)},
        "differences": {name: _numbers(mean) for name, mean in differences(seeds).items()},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_report(_report(settings, seeds), folder / "report.html")


def _report(settings: Settings, seeds: Seeds) -> Report:
    curves = {arm: [(value, *_ends(by_goal(seeds, arm)[str(value)])) for value in GOALS] for arm in (BASE, *ARMS)}
    return Report(
        "Reward-augmented DPO, reproduced small", verdict(seeds),
        facts=[(name, str(value)) for name, value in asdict(settings).items()],
        sections=[
            Lines("Reward by goal", curves, x="goal in the prompt", y="mean reward",
                  note="held-out prompts; bands are 95 % t intervals over seeds"),
            Intervals("Reward without a goal", [(arm, *_ends(by_goal(seeds, arm)[""])) for arm in (BASE, *ARMS)]),
            Intervals("Differences", [(name, *_ends(mean)) for name, mean in differences(seeds).items()],
                      note="paired by seed"),
            Table("Arms", HEADER, lines(seeds)),
        ])


def _ends(mean: Mean) -> tuple[float, float | None, float | None]:
    if math.isnan(mean.low):
        return mean.value, None, None
    return mean.value, mean.low, mean.high


def _numbers(mean: Mean) -> list[float | None]:
    return list(_ends(mean))
