"""`pica flywheel`: battle, learn, measure, again and again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError


def main(options: argparse.Namespace) -> int:
    """Run a campaign, or go on with one; returns the exit code."""
    from pica.commands.run import print_keys
    from pica.recipes.flywheel.config import FlywheelConfig, config_file, shipped
    from pica.synth.config import load_config

    if options.help_run:
        options.parser.print_help()
        print_keys("flywheel", FlywheelConfig)
        print(f"\nshipped configs (--config NAME): {', '.join(shipped())}")
        return 0
    config = load_config(FlywheelConfig, file=config_file(options.config) if options.config else None, words=options.settings)
    if options.plan:
        return _plan(config, as_json=options.json)
    if options.out is None:
        raise UsageError("where to? add --out DIR (a new folder, or an unfinished one to go on with)")
    return _run(config, options)


def _run(config: Any, options: argparse.Namespace) -> int:
    import msgspec

    from pica.recipes.flywheel.campaign import run_campaign
    from pica.synth.progress import Progress, style_for

    with Progress(style_for(sys.stderr, json=options.json, quiet=options.quiet)) as progress:
        outcome = run_campaign(config, options.out, update=options.update, progress=progress)
    campaign = outcome.campaign
    if options.json:
        facts = {"event": "done", "folder": str(outcome.folder), "fresh": outcome.fresh}
        print(json.dumps({**facts, **msgspec.to_builtins(campaign)}))
        return 0
    if not outcome.fresh:
        print("complete already: nothing was run")
    _show(campaign, outcome.folder)
    return 0


def _show(campaign: Any, folder: Path) -> None:
    from pica.synth.progress import duration

    for one in campaign.iterations[1:]:
        rows = ", ".join(f"{stage} {count:,}" for stage, count in one.data.items())
        print(f"{one.candidate}: {'promoted' if one.decision.promoted else 'refused'}: {one.decision.reason} (rows: {rows})")
    for rating in campaign.ratings:
        print(f"  {rating.model:<24}{_rated(rating)}")
    for warning in campaign.warnings:
        print(f"warning: {warning}")
    spent = campaign.spent
    print(f"{spent.calls:,} calls, {spent.train_steps:,} training steps, {duration(spent.seconds)}")
    print(f"best     {campaign.best_model}\ncampaign {folder / 'campaign.json'}\nreport   {folder / 'report.html'}")


def _rated(rating: Any) -> str:
    """A rating with its interval, `-` for an end that nothing bounds; or why there is none."""
    if rating.rating is None:
        return f"unbounded  {rating.unbounded}" if rating.unbounded else f"{'-':>9}"
    lower, upper = ("-" if end is None else f"{end:,.0f}" for end in (rating.lower, rating.upper))
    return f"{rating.rating:>9,.0f}  [{lower}, {upper}]"


def _plan(config: Any, *, as_json: bool) -> int:
    from pica.recipes.flywheel.ahead import plan

    made = plan(config)
    print(json.dumps(made.to_json()) if as_json else made.text())
    return 0
