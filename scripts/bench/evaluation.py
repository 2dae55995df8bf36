"""How long the report of an evaluation takes to build, how large it is, and how quick it is in a browser.

    PYTHONPATH=. python scripts/bench/evaluation.py [--tasks 500] [--models 5] [--keep FILE]

Battles are made up here: every model against every other on every task, both orders, answers of about 1,500 characters, reasons
of about 200. The sections are those of `pica eval arena`; Chromium runs headless, and without it the browser's part is left out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

from report import in_browser, prose  # the script beside this one

from pica.eval.battle_rows import battles_of, record
from pica.eval.bias import leanings
from pica.eval.intervals import bootstrap
from pica.eval.leaderboard import Entry, Leaderboard
from pica.eval.ratings import fit
from pica.eval.report import BATTLE_COLUMNS, BATTLES, battle_sections, neighbours
from pica.eval.style_effects import style_effects
from pica.synth.report import Report, write_report

LABELS = ("a>>b", "a>b", "a=b", "b>a", "b>>a")
WORTH = dict(zip(LABELS, (1.0, 1.0, 0.5, 0.0, 0.0), strict=True))


def game(rng: random.Random, order: str) -> dict[str, Any]:
    """A verdict with its reason."""
    reason = prose(rng, 200)
    return {"judge": "openai/judge-model", "order": order, "verdict": rng.choice(LABELS), "score_a": None, "score_b": None,
            "reason": reason, "text": f'{{"reason": "{reason}"}}', "first": "K", "second": "T", "prompt": "9f2c41d07a6be358",
            "parser": "pairwise-1", "call": f"{rng.getrandbits(128):032x}", "flags": [], "problem": ""}


def battles(tasks: int, models: int) -> list[dict[str, Any]]:
    """Battle rows as `pica eval arena` keeps them."""
    rng, rows = random.Random(0), []
    names = [f"organisation/model-{number}-instruct" for number in range(models)]
    for task in range(tasks):
        prompt = [{"role": "user", "content": prose(rng, 400)}]
        answers = {name: prose(rng, round(rng.lognormvariate(7.2, 0.4))) + "\n- item" * rng.randint(0, 4)
                   + " **b**" * rng.randint(0, 3) + "\n# head" * rng.randint(0, 2) for name in names}
        for one, other in combinations(names, 2):
            games = [game(rng, order) for order in ("ab", "ba")]
            worths = [WORTH[made["verdict"]] for made in games]
            agreed = worths[0] if worths[0] == worths[1] else 0.5
            rows.append({
                "id": f"arena-{rng.getrandbits(56):014x}", "task": f"task-{task}", "category": f"category {task % 12}",
                "prompt": prompt, "model_a": one, "model_b": other, "answer_a": answers[one], "answer_b": answers[other],
                "games": games,
                "outcome": {1.0: "a", 0.5: "tie", 0.0: "b"}[agreed], "share_a": sum(worths) / 2, "flags": [],
                "agreement": "same" if worths[0] == worths[1] else "differ", "length_a": len(answers[one]),
                "length_b": len(answers[other]), "calls": [made["call"] for made in games]})
    return rows


def ranked(rows: list[dict[str, Any]]) -> Leaderboard:
    """The leaderboard of an arena."""
    games = battles_of(rows)
    ratings = fit(games)
    ends = bootstrap(games, ratings)
    entries = [Entry(model, float(ratings.points[code]), float(ends.lower[code]), float(ends.upper[code]),
                     int(ratings.games[code]), more=record(rows, model)) for code, model in enumerate(ratings.models)]
    return Leaderboard.ranked(entries, "Bradley-Terry rating", ratings.explain())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="write the report here and keep it")
    args = parser.parse_args()
    rows = battles(args.tasks, args.models)
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or Path(folder) / "report.html"
        marks = [time.perf_counter()]
        board = ranked(rows)
        marks.append(time.perf_counter())
        order = [entry.model for entry in board.entries]
        sections = [*board.sections(), *neighbours(rows, order), *battle_sections(rows, order, leanings(rows))]
        marks.append(time.perf_counter())
        sections += style_effects(rows).sections()
        marks.append(time.perf_counter())
        info = write_report(Report("arena", f"{len(order)} models", sections=sections, rows=rows, columns=BATTLE_COLUMNS,
                                   panes=(BATTLES,)), path)
        marks.append(time.perf_counter())
        parts = [f"{name} {after - before:.2f} s" for name, before, after in
                 zip(("ranking", "sections", "style effects", "page"), marks, marks[1:], strict=False)]
        print(f"{len(rows):,} battles of {len(order)} models: {', '.join(parts)}; {info.bytes / 1e6:.1f} MB")
        if shutil.which("chromium") and shutil.which("chromedriver"):
            in_browser(path)
        else:
            print("in the browser: not measured, chromium and chromedriver are not installed")


if __name__ == "__main__":
    main()
