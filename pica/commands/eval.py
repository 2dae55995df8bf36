"""`pica eval`: judge models on a benchmark and rank them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError

#: help of what stands on evaluations that are there; it takes no settings
ON_RESULTS = {
    "compare": """\
usage: pica eval compare A B [--json]

What changed from evaluation A to evaluation B, model by model: a paired test over the tasks that both have, corrected for the
number of models, and the smallest difference that so many tasks would show.

  A, B    folders of two evaluations
  --json  for programs
""",
    "agree": """\
usage: pica eval agree E REFERENCE [labels=FILE] [--json]

How well evaluation E ranks models as a reference does: Spearman's and Kendall's correlation, agreement and differentiation by
intervals.

  E, REFERENCE  each the folder of an evaluation, or a .csv or .json file with a row a model: model, score and, where there are
                intervals, lower and upper (pica/eval/boards.py lists the other names of these columns)
  labels=FILE   a JSON object: a name in REFERENCE -> the name in E
  --json        for programs
""",
}


def main(options: argparse.Namespace) -> int:
    """Run an evaluation, compare two, or set one beside a reference; returns the exit code."""
    from pica.commands.run import print_keys, run_config
    from pica.eval import EVALUATIONS, config_class, load_evaluation

    if options.benchmark is None:
        options.parser.print_help()
        print("\nbenchmarks:\n" + "\n".join(f"  {name:<12}{what}" for name, (_, what) in EVALUATIONS.items()))
        return 0 if options.help_run else 2
    if options.help_run and options.benchmark in ON_RESULTS:
        print(ON_RESULTS[options.benchmark], end="")
        return 0
    if options.benchmark == "compare":
        return _compare(options)
    if options.benchmark == "agree":
        return _agree(options)
    if options.help_run:
        settings = config_class(options.benchmark)
        options.parser.print_help()
        print_keys(options.benchmark, settings)
        return 0
    return run_config(load_evaluation(options.benchmark), options, Path(options.config) if options.config else None, show=_show)


def _compare(options: argparse.Namespace) -> int:
    """`pica eval compare A B`."""
    import json

    from pica.eval.compare import compare

    if len(options.settings) != 2:
        raise UsageError(f"compare takes two folders of evaluations, not {len(options.settings)}: pica eval compare A B")
    found = compare(Path(options.settings[0]), Path(options.settings[1]))
    print(json.dumps(found.to_json()) if options.json else found.text())
    return 0


def _agree(options: argparse.Namespace) -> int:
    """`pica eval agree E REFERENCE [labels=FILE]`."""
    import json

    from pica.eval.agree import agree

    named = [word.removeprefix("labels=") for word in options.settings if word.startswith("labels=")]
    boards = [word for word in options.settings if not word.startswith("labels=")]
    if len(boards) != 2 or len(named) > 1:
        raise UsageError(f"agree takes an evaluation and a reference, not {len(boards)}: pica eval agree E REFERENCE "
                         "[labels=FILE]; each is a folder of an evaluation, or a .csv or .json file")
    found = agree(Path(boards[0]), Path(boards[1]), labels=Path(named[0]) if named else None)
    print(json.dumps(found.to_json()) if options.json else found.text())
    return 0


def _show(manifest: dict[str, Any], folder: Path) -> None:
    """The leaderboard, as it was ranked."""
    import json

    from pica.eval.leaderboard import Leaderboard

    board = folder / "leaderboard.json"
    if not board.is_file():
        raise UsageError(f"{folder} has no leaderboard.json; give the command with --update to rank again")
    notes = manifest["notes"]
    print(Leaderboard.of(json.loads(board.read_text(encoding="utf-8")), notes["metric"], notes["method"],
                         manifest["config"]["level"], notes.get("warnings", [])).text())
