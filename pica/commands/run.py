"""`pica run`: make a dataset."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError


def main(options: argparse.Namespace) -> int:
    """Run a recipe; returns the exit code."""
    from pica import recipes

    if options.recipe is None:
        options.parser.print_help()
        print(f"\nrecipes: {', '.join(recipes.names())}")
        return 0 if options.help_run else 2
    config_class = recipes.config_class(options.recipe)
    if options.help_run:
        options.parser.print_help()
        print_keys(options.recipe, config_class)
        return 0
    file = recipes.config_file(options.recipe, options.config) if options.config else None
    return run_config(recipes.load(options.recipe), options, file)


def run_config(recipe_class: Any, options: argparse.Namespace, file: Path | None,
               show: Callable[[dict[str, Any], Path], None] = lambda manifest, folder: None) -> int:
    """Make what the settings on the command line and in `file` say; `show` prints what was found, first of all."""
    from pica.synth.config import load_config

    recipe = recipe_class(load_config(recipe_class.config_class, file=file, words=options.settings))
    if options.plan:
        return _plan(recipe, as_json=options.json)
    if options.out is None:
        raise UsageError("where to? add --out DIR (a new folder, or an unfinished one to go on with)")
    return _make(recipe, options, show)


def _make(recipe: Any, options: argparse.Namespace, show: Callable[[dict[str, Any], Path], None]) -> int:
    import asyncio

    from pica.synth.progress import Progress, duration, style_for
    from pica.synth.recipe import make

    with Progress(style_for(sys.stderr, json=options.json, quiet=options.quiet)) as progress:
        outcome = asyncio.run(make(recipe, options.out, update=options.update, retry=options.retry, progress=progress))
    manifest = outcome.manifest
    if options.json:
        print(json.dumps({"event": "done", "folder": str(outcome.folder), "fresh": outcome.fresh, **manifest}))
        return 0
    show(manifest, outcome.folder)
    rows, calls = manifest["rows"], manifest["calls"]
    if outcome.fresh:
        print(f"{rows['out']:,} rows from {rows['in']:,} candidates in {duration(manifest['seconds'])}: {calls['made']:,} calls, "
              f"{calls['cached']:,} from the ledger")
    else:
        print(f"complete already: {rows['out']:,} rows; nothing was asked")
    for reason, number in rows["rejected"].items():
        print(f"  rejected {number:,}: {reason}")
    print(f"dataset  {outcome.folder}\nreport   {outcome.folder / 'report.html'}")
    return 0


def _plan(recipe: Any, *, as_json: bool) -> int:
    from pica.synth.models import open_model

    plan = recipe.whole.plan()
    for step in plan.steps:
        open_model(step.model)  # an unknown one is an error; nothing is loaded or asked
    print(json.dumps(plan.to_json()) if as_json else plan.text())
    return 0


def print_keys(name: str, config_class: Any) -> None:
    """Print every key of a config, with its type and default."""
    from pica.synth.config import fields

    rows = list(fields(config_class))
    width = min(max(len(key) for key, *_ in rows), 34)
    print(f"\n{name}: {config_class.summary}\n\nkeys (key=value; nested ones as shown):")
    for key, kind, default, what in rows:
        shown = f"{kind}, default {default}" if default else kind
        print(f"  {key:<{width}}  {what}{' ' if what else ''}[{shown}]")
