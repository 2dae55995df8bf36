"""`pica ledger`: look into a ledger, and save what is left of a damaged one.

    pica ledger check FILE [--json]
    pica ledger salvage FILE --to NEW [--json]
    pica ledger export FILE --to CALLS.jsonl
    pica ledger stats FILE [--json]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pica.synth.ledger.salvage import Check


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the four actions and their arguments to `parser`."""
    actions = parser.add_subparsers(dest="action", metavar="check|salvage|export|stats", required=True)
    for name, what, to in (("check", "what is intact, damaged, missing; changes nothing", None),
                           ("salvage", "write every intact call to a fresh ledger", "NEW"),
                           ("export", "write every call as a line of JSON", "CALLS.jsonl"),
                           ("stats", "calls, tokens, cost and seconds of every model", None)):
        action = actions.add_parser(name, help=what, description=what)
        action.add_argument("file", type=Path, metavar="FILE", help="the ledger")
        if to is not None:
            action.add_argument("--to", type=Path, required=True, metavar=to, help="file to write; must not exist")
        if name != "export":
            action.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Do what the parsed arguments say; returns the exit code: 1 where `check` finds damage. Raises `PicaError`."""
    return {"check": _check, "salvage": _salvage, "export": _export, "stats": _stats}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from pica.synth.ledger.salvage import check

    found = check(args.file)
    _show(found, args.json)
    return 0 if found.healthy else 1


def _salvage(args: argparse.Namespace) -> int:
    from pica.synth.ledger.salvage import salvage

    _show(salvage(args.file, args.to), args.json)
    return 0


def _show(found: Check, as_json: bool) -> None:
    import json

    from pica.synth.visible import visible_line

    if as_json:
        print(json.dumps({**vars(found), "healthy": found.healthy, "advice": found.advice}, default=str))
    else:
        print("\n".join(visible_line(line) for line in found.explain()))


def _export(args: argparse.Namespace) -> int:
    import orjson

    from pica.synth.errors import LedgerError, UsageError
    from pica.synth.ledger import read_calls
    from pica.synth.trace import call_fields

    if args.to.exists():
        raise UsageError(f"{args.to} exists; name a new file to export to")
    part, count = Path(f"{args.to}.part"), 0
    try:
        with part.open("wb") as lines:
            for call in read_calls(args.file):
                lines.write(orjson.dumps(call_fields(call), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        part.replace(args.to)
    except OSError as error:
        raise LedgerError(f"cannot write {args.to} ({error.strerror}); give another place with --to") from None
    finally:
        part.unlink(missing_ok=True)
    print(f"{count:,} calls exported to {args.to}")
    return 0


def _stats(args: argparse.Namespace) -> int:
    import json

    from pica.synth.ledger.stats import stats

    found = stats(args.file)
    if args.json:
        print(json.dumps(found.to_dict()))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found.explain()))
    return 0
