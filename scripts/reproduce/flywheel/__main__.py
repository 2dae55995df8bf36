"""Battles select what to learn from: against as many rows that nobody selected (the claim: arXiv 2407.10627).

    .venv/bin/python scripts/reproduce/flywheel --out out/flywheel                          # SmolLM2-135M, minutes on two cores
    .venv/bin/python scripts/reproduce/flywheel --model hf/ID --seeds 5 --out out/larger    # another model, on a GPU

Each seed is the whole experiment: prompts are held out, the others dealt to iterations. In an iteration the target fights five
rivals on a part of its own before a judge whose preference is known; it is fine-tuned on the best rival's answers where it lost
by enough (the recipe `arena-learning`). Two controls learn from as many rows in as many steps: prompts of the same part, drawn,
either with the answers that the same rule takes, or with those of rivals, drawn. Every model then fights the start, the one
before it, the other arms' and the rivals on the held-out prompts. Writes results.json and report.html; prints a table. What a run
that was ended has made already is not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from arms import run_seed
from figures import Scale
from page import figure, table, write
from settings import CHOSEN, SMALLEST, Settings

from pica.synth.errors import PicaError

FREE = ("model", "iterations", "epochs", "rate", "precision")  # settings that the command line may change


def main() -> int:
    arguments = parser().parse_args()
    for name in ("seeds", "iterations", "epochs", "rate"):
        if (given := getattr(arguments, name)) is not None and given <= 0:
            parser().error(f"--{name} {given} is not above 0")
    settings, out, began = chosen(arguments), Path(arguments.out), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    seeds = []
    try:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            seeds.append(run_seed(settings, out, seed))
            print(f"seed {seed} is done", file=sys.stderr, flush=True)
    except PicaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    scale = Scale.of([seed["battles"] for seed in seeds], rounds=settings.rounds)
    write(out, settings, seeds, scale, time.monotonic() - began)
    if arguments.figure:
        Path(arguments.figure).write_text(figure(seeds, scale), encoding="utf-8")
    print(table(seeds, scale))
    print(f"\nresults  {out / 'results.json'}\nreport   {out / 'report.html'}")
    return 0


def chosen(arguments: argparse.Namespace) -> Settings:
    """The preset, with what the command line says otherwise."""
    given = {name: value for name in FREE if (value := getattr(arguments, name)) is not None}
    return replace(SMALLEST if arguments.smallest else CHOSEN, **given)


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="flywheel", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", required=True, help="folder for what is trained and found; 5 GB a seed with SmolLM2-135M")
    words.add_argument("--seeds", type=int, default=1, help="how many times")
    words.add_argument("--first", type=int, default=1, help="the first seed; the settings were found on seed 0")
    words.add_argument("--model", help="what to start from: local (SmolLM2-135M), or hf/ID-OR-PATH")
    words.add_argument("--smallest", action="store_true", help="a run that shows nothing but that it runs")
    words.add_argument("--iterations", type=int, help="turns of the wheel")
    words.add_argument("--epochs", type=float, help="passes over the rows of an iteration")
    words.add_argument("--rate", type=float, help="learning rate")
    words.add_argument("--precision", choices=("bf16", "fp32"), help="of arithmetic; bf16 is fast on GPUs and recent CPUs")
    words.add_argument("--figure", help="draw the curves into this SVG file")
    return words


if __name__ == "__main__":
    sys.exit(main())
