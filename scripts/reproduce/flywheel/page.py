"""What a reproduction found, as a table for the terminal, as JSON, as a report and as a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from arms import ARMS, label
from curve import Point, svg
from figures import Scale, Seeds, differences, iterations, verdict
from prompts import RIVALS
from settings import JUDGE, Settings
from world import START

from pica.synth.report import Intervals, Lines, Report, Table, write_report

HEADER = ("model", "rows", "steps", "rating", "won / tied / lost against the start")


def lines(seeds: Seeds, scale: Scale) -> list[tuple[str, ...]]:
    """A line of the table for the start, each model of each arm, and each rival."""
    turns = range(1, iterations(seeds) + 1)
    trained = [_line(seeds, scale, label(arm, turn)) for arm in ARMS for turn in turns]
    rivals = [(f"rival: {name}", "", "", str(scale.rating(name)), "") for name in RIVALS]
    return [(START, "", "", "1000", ""), *trained, *rivals]


def _line(seeds: Seeds, scale: Scale, model: str) -> tuple[str, ...]:
    own = [seed["models"][model] for seed in seeds]
    record = " / ".join(str(sum(one["record"][name] for one in own)) for name in ("wins", "ties", "losses"))
    rows, steps = (f"{round(fmean(one[name] for one in own), 1):g}" for name in ("rows", "steps"))
    return model, rows, steps, str(scale.rating(model)), record


def table(seeds: Seeds, scale: Scale) -> str:
    """Markdown: the models, the differences, the verdict."""
    several = [f"seed {seed['seed']}" for seed in seeds] if len(seeds) > 1 else []
    parts = (_markdown(HEADER, lines(seeds, scale)), _markdown(("lead", "points", *several), leads(seeds, scale)),
             verdict(scale, iterations(seeds)))
    return "\n\n".join(parts)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def leads(seeds: Seeds, scale: Scale) -> list[tuple[str, ...]]:
    """A line of the second table for each lead: over all seeds, and of each by itself where there are several."""
    every = [differences(one, iterations(seeds)) for one in (scale, *(scale.alone() if len(seeds) > 1 else ()))]
    return [(name, *(str(found[name]) for found in every)) for name in every[0]]


def curves(seeds: Seeds, scale: Scale) -> dict[str, list[Point]]:
    """Ratings by iteration of each arm, from the start on."""
    return {arm: [(turn, *scale.rating(label(arm, turn)).numbers) for turn in range(iterations(seeds) + 1)] for arm in ARMS}


def figure(seeds: Seeds, scale: Scale) -> str:
    """The curves as an SVG file."""
    return svg(curves(seeds, scale), x="iteration", y="Bradley-Terry rating, held-out prompts")


def write(folder: Path, settings: Settings, seeds: Seeds, scale: Scale, seconds: float) -> None:
    """Write results.json and report.html into `folder`."""
    turns = iterations(seeds)
    names = [*seeds[0]["models"], *RIVALS]
    results = {
        "settings": asdict(settings), "rivals": RIVALS, "judge": JUDGE, "verdict": verdict(scale, turns),
        "method": scale.explain(), "seconds": round(seconds, 1),
        "ratings": {name: scale.rating(name).numbers for name in names},
        "leads": {name: value.numbers for name, value in differences(scale, turns).items()},
        "seeds": [{**{name: seed[name] for name in ("seed", "audit", "models")},
                   "leads": {name: value.numbers for name, value in differences(one, turns).items()}}
                  for seed, one in zip(seeds, scale.alone(), strict=True)],
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_report(_report(settings, seeds, scale), folder / "report.html")


def _report(settings: Settings, seeds: Seeds, scale: Scale) -> Report:
    facts: dict[str, Any] = {**asdict(settings), "judge": JUDGE, "the judge's audit": seeds[0]["audit"]}
    return Report(
        "The flywheel, reproduced small", verdict(scale, iterations(seeds)), subtitle=scale.explain(),
        facts=[(name, str(value)) for name, value in facts.items()],
        sections=[
            Lines("Rating by iteration", curves(seeds, scale), x="iteration", y="rating",
                  note="on held-out prompts; iteration 0 is the start"),
            Intervals("Leads", [(name, *value.numbers) for name, value in differences(scale, iterations(seeds)).items()],
                      unit="points"),
            Table("Models", HEADER, lines(seeds, scale)),
        ])
