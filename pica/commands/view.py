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
    else:
        print("not complete: no manifest.json yet")
    print(report.resolve())
    if not options.no_open:
        webbrowser.open(report.resolve().as_uri())
    return 0
