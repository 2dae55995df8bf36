"""`pica view DIR`: a folder in a few lines, and its report in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR and whether to open a browser."""
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--no-open", action="store_true", help="only print where the report is")


def main(options: argparse.Namespace) -> int:
    """Print the summary; open the report where there is a browser."""
    import json
    import webbrowser

    from pica.synth.errors import FolderError, UsageError

    report, manifest = options.folder / "report.html", options.folder / "manifest.json"
    campaign = options.folder / "campaign.json"
    if not report.is_file():
        raise UsageError(f"{options.folder} has no report.html; `pica run` writes one when its rows are made")
    if manifest.is_file():
        try:
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            rows = facts["rows"]
            if "stage" in facts:
                print(f"{facts['stage']}: {facts['steps']:,} steps over {rows['used']:,} rows of {rows['read']:,} read")
            else:
                print(f"{facts['recipe']}: {rows['out']:,} rows of {rows['in']:,} made")
        except (ValueError, KeyError, TypeError):
            raise FolderError(f"{manifest} is damaged; remove it and give the command that made the folder again: the "
                              "answers are in the ledger") from None
        for reason, number in rows["rejected"].items():
            print(f"  rejected {number:,}: {reason}")
    elif campaign.is_file():
        print(_campaign(campaign))
    else:
        print("not complete: no manifest.json yet")
    print(report.resolve())
    if not options.no_open:
        webbrowser.open(report.resolve().as_uri())
    return 0


def _campaign(file: Path) -> str:
    """A campaign in a line."""
    import json

    from pica.synth.errors import FolderError

    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        decided = [one["decision"] for one in facts["iterations"][1:] if one["decision"]]
        promoted = sum(decision["promoted"] for decision in decided)
        return f"campaign, {facts['state']}: {promoted} of {len(decided)} iterations promoted; best: {facts['best_model']}"
    except (ValueError, KeyError, TypeError):
        raise FolderError(f"{file} is damaged; give the command that made the folder again: it is written anew") from None
