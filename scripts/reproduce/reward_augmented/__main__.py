"""Reward augmentation against plain DPO, reproduced small (the claim: arXiv 2410.08067).

    .venv/bin/python scripts/reproduce/reward_augmented --out out/reward_augmented                # minutes on two cores
    .venv/bin/python scripts/reproduce/reward_augmented --model local --out out/real              # SmolLM2-135M, one GPU

Each seed is the whole experiment: a base policy is fine-tuned on answers of every quality; pairs of its answers are scored by
a programmatic reward from 1 to 10 (task.py); it is trained on the same pairs by plain DPO (one epoch, and two: as many steps
as the augmented data has), by reward-augmented DPO (two rows a pair), and by half of those rows; each policy then answers
held-out prompts without a goal and under the goals 1 to 10. Writes results.json and report.html; prints a table. What a
run that was ended has trained already is not trained again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, get_args

from arms import run_seed
from page import table, write
from settings import REAL, SMALLEST, TINY, Pairs, Settings

from pica.synth.errors import PicaError


def main() -> int:
    arguments = parser().parse_args()
    for name in ("seeds", "jobs", "number", "rate", "beta"):
        if (given := getattr(arguments, name)) is not None and given <= 0:
            parser().error(f"--{name} {given} is not above 0")
    settings = chosen(arguments)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    seeds = list(range(arguments.seeds))
    try:
        jobs = min(arguments.jobs, len(seeds))
        results = side_by_side(settings, seeds, out, jobs) if jobs > 1 else [run_seed(settings, out, seed) for seed in seeds]
    except PicaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write(out, settings, results)
    print(table(results))
    print(f"\nresults  {out / 'results.json'}\nreport   {out / 'report.html'}")
    return 0


def side_by_side(settings: Settings, seeds: list[int], out: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of the seeds, in order, made in processes of their own, which end with this one."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            for one in pool.map(partial(run_seed, settings, out), seeds):
                results.append(one)
                print(f"seed {one['seed']} is done", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.kill()
            raise
    return results


def chosen(arguments: argparse.Namespace) -> Settings:
    """The preset, with what the command line says otherwise."""
    preset = SMALLEST if arguments.smallest else TINY if arguments.model == "tiny" else REAL
    given = {"model": arguments.model, "choice": arguments.pairs, "pairs": arguments.number, "rate": arguments.rate,
             "beta": arguments.beta}
    return replace(preset, **{name: value for name, value in given.items() if value is not None})


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="reward_augmented", description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", required=True, help="folder for what is trained and found")
    words.add_argument("--seeds", type=int, default=5, help="how many times, with seeds from 0")
    words.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="seeds at once")
    words.add_argument("--model", default="tiny", help="tiny (a random Llama), local (SmolLM2-135M), or hf/ID-OR-PATH")
    words.add_argument("--smallest", action="store_true", help="a run of seconds that shows nothing but that it runs")
    words.add_argument("--pairs", choices=get_args(Pairs), help="which two answers make a pair: of any rewards that are not "
                       "equal, of rewards at most 2 apart, or of the same form")
    words.add_argument("--number", type=int, help="how many pairs")
    words.add_argument("--rate", type=float, help="learning rate of all preference trainings")
    words.add_argument("--beta", type=float, help="beta of all preference trainings")
    return words


if __name__ == "__main__":
    sys.exit(main())
