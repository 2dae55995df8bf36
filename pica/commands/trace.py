"""`pica trace DIR ROW_ID`: the calls that made a row."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR, ROW_ID and how to print."""
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("row", metavar="ROW_ID")
    parser.add_argument("--full", action="store_true", help="do not shorten long texts")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument("--ledger", metavar="FILE", type=Path, help="where the calls are; default: where the run kept them")


def main(options: argparse.Namespace) -> int:
    """Print the trace."""
    from pica.synth.trace import trace

    found = trace(options.folder, options.row, ledger=options.ledger)
    print(found.to_json() if options.json else found.render(full=options.full), end="\n" if options.json else "")
    return 0
