"""`pica train`: learn from data."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError


def main(options: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from pica.train.stage import STAGES, load_stage

    if options.stage is None:
        options.parser.print_help()
        print("\nstages:")
        for name, (_, what) in STAGES.items():
            print(f"  {name:<8} {what}")
        print(f"\nshipped configs (--config NAME): {', '.join(config_names())}")
        return 0 if options.help_run else 2
    stage = load_stage(options.stage)
    if options.help_run:
        from pica.commands.run import print_keys

        options.parser.print_help()
        print_keys(stage.name, stage.config_class)
        print(f"\nshipped configs (--config NAME): {', '.join(config_names())}")
        return 0
    from pica.synth.config import load_config

    file = config_file(options.config) if options.config else None
    if file is not None:
        _check_stage(file, stage.name)
    config = load_config(stage.config_class, file=file, words=options.settings)
    if options.plan:
        return _plan(stage, config, options)
    if options.out is None:
        raise UsageError("where to? add --out DIR (a new folder, or an unfinished one to go on with)")
    return _train(stage, config, options)


def config_names() -> list[str]:
    """The configs shipped with the stages."""
    folder = files("pica.train").joinpath("configs")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def config_file(name: str) -> Path:
    """The file `name`, or the config shipped under this name. Raises `UsageError` with the shipped ones."""
    if Path(name).is_file():
        return Path(name)
    if name in config_names():
        return Path(str(files("pica.train").joinpath("configs", f"{name}.yaml")))
    raise UsageError(f"no config file {name!r}; give a YAML file, or one of: {', '.join(config_names())}")


def _check_stage(file: Path, stage: str) -> None:
    """Raise `UsageError` where the file states another stage, before its keys are looked at."""
    import re

    try:
        stated = re.search(r"^stage: *['\"]?(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):  # reading it as a config says what is wrong
        return
    if stated and stated[1] != stage:
        raise UsageError(f"config {file.name} is for `pica train {stated[1]}`, not for `pica train {stage}`")


def _train(stage: Any, config: Any, options: argparse.Namespace) -> int:
    from pica.synth.progress import duration, style_for
    from pica.train.progress import TrainProgress
    from pica.train.run import train

    progress = TrainProgress(style_for(sys.stderr, json=options.json, quiet=options.quiet))
    outcome = train(stage, config, options.out, update=options.update, progress=progress)
    manifest = outcome.manifest
    if options.json:
        print(json.dumps({"event": "done", "folder": str(outcome.folder), "fresh": outcome.fresh, **manifest}))
        return 0
    if manifest.get("machine_rank"):
        print(f"machine {manifest['machine_rank']} is done; machine 0 saves the model")
        return 0
    loss = manifest["loss"]
    if outcome.fresh:
        print(f"{manifest['steps']:,} steps over {manifest['rows']['used']:,} rows in {duration(manifest['seconds'])}; loss "
              f"{loss['first']:.4g} -> {loss['last']:.4g}")
    else:
        print(f"complete already: {manifest['steps']:,} steps; nothing was trained")
    for reason, number in manifest["rows"]["rejected"].items():
        print(f"  left out {number:,} rows: {reason}")
    print(f"model    hf/{outcome.folder}\nreport   {outcome.folder / 'report.html'}")
    return 0


def _plan(stage: Any, config: Any, options: argparse.Namespace) -> int:
    from pica.train.run import plan

    made = plan(stage, config, options.out)
    print(json.dumps(made.to_json()) if options.json else made.text())
    return 0
