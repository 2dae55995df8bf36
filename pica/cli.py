"""The `pica` command. Each subcommand imports what it needs when it runs, so that `pica --help` is quick.

    pica recipes                                          what there is
    pica run RECIPE [key=value ...] [--config FILE] --out DIR
    pica view DIR     pica trace DIR ROW_ID     pica models     pica ledger ...     pica serve-fake ...

Exit codes: 0 done, 1 failed, 2 bad usage, 3 stopped by a budget, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

DONE, FAILED, USAGE, BUDGET, INTERRUPTED = 0, 1, 2, 3, 130

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that cannot show a letter shows its number
            stream.reconfigure(errors="backslashreplace")
    parser = _parser(words)
    options, rest = parser.parse_known_args(words)
    _collect_settings(parser, options, rest)
    if options.command is None:
        parser.print_help()
        return USAGE
    from pica.synth.errors import BudgetSpent, Interrupted, PicaError, UsageError

    try:
        command: Command = options.run
        code = command(options)
        sys.stdout.flush()
        return code
    except PicaError as error:
        codes: list[tuple[type[PicaError], int]] = [(UsageError, USAGE), (BudgetSpent, BUDGET), (Interrupted, INTERRUPTED)]
        _complain(str(error))
        return next((code for kind, code in codes if isinstance(error, kind)), FAILED)
    except KeyboardInterrupt:
        _complain("interrupted; give the same command to go on")
        return INTERRUPTED
    except BrokenPipeError:  # `pica ... | head`: nobody reads on, and Python's last flush must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        _complain(_system_problem(error))
        return FAILED


def _complain(text: str) -> None:
    line = "".join(char if char.isprintable() else " " for char in text)
    print(f"pica: {line}", file=sys.stderr)


def _system_problem(error: OSError) -> str:
    import errno

    place = f" ({error.filename})" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space left on the disk{place}; free some and give the same command again: answers are kept"
    if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
        return f"not allowed to write{place}; give a folder that can be written"
    return f"{error.strerror or error}{place}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, with a near match where a command is unknown; exit code 2."""
        found = re.match(r"argument COMMAND: invalid choice: '(.*?)' ", message)
        if found:
            known = ["run", *COMMANDS]
            near = get_close_matches(found[1], known, n=1)
            message = (f"unknown command {found[1]!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
                       f"Known: {', '.join(known)}")
        _complain(f"{message}; `{self.prog} --help` explains")
        sys.exit(USAGE)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    from pica import __version__

    parser = _Parser(prog="pica", allow_abbrev=False, description=(
        "Makes alignment data out of language models, trains on it, measures the result, and feeds the measurement back."))
    parser.add_argument("--version", action="version", version=f"pica {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    command = next((word for word in words if not word.startswith("-")), "")
    _add_run(commands, words)
    for name, add in COMMANDS.items():
        module, what = add
        sub = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        if name == command:
            _mount(sub, module)
    return parser


#: subcommand -> (module with `add_arguments` and `main`, what it does)
COMMANDS = {
    "recipes": ("pica.commands.recipes", "list the recipes"),
    "models": ("pica.commands.models", "list the kinds of models"),
    "view": ("pica.commands.view", "summarise a folder and open its report"),
    "trace": ("pica.commands.trace", "show the calls that made a row"),
    "ledger": ("pica.commands.ledger", "check, salvage, export a ledger of calls"),
    "serve-fake": ("pica.synth.serve_fake", "an OpenAI-compatible server with settable faults"),
}


def _mount(parser: argparse.ArgumentParser, module: str) -> None:
    import importlib

    implementation: Any = importlib.import_module(module)
    implementation.add_arguments(parser)
    parser.set_defaults(run=implementation.main)


def _add_run(commands: Any, words: Sequence[str]) -> None:
    run = commands.add_parser("run", help="make a dataset", allow_abbrev=False, add_help=False,
                              usage="pica run RECIPE [key=value ...] [--config FILE] --out DIR",
                              description="Make a dataset with a recipe, or go on with one. `pica run RECIPE --help` "
                                          "prints every key.")
    run.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `pica recipes`")
    run.add_argument("settings", nargs="*", metavar="key=value", help="settings, such as n=1000 teacher=openai/NAME@URL")
    run.add_argument("--config", metavar="FILE", help="YAML file with settings, or the name of one shipped with the recipe")
    run.add_argument("--out", metavar="DIR", type=Path, help="output folder; an unfinished one is gone on with")
    run.add_argument("--plan", action="store_true", help="show calls, tokens, time and cost; call nothing")
    run.add_argument("--update", action="store_true", help="make the folder again with a changed config")
    run.add_argument("--retry", action="store_true", help="ask again for the rows that got no answer")
    run.add_argument("--json", action="store_true", help="progress and result as JSON lines")
    run.add_argument("--quiet", action="store_true", help="no progress")
    run.add_argument("-h", "--help", action="store_true", dest="help_run", help="this text, with every key of RECIPE")
    run.set_defaults(run=_run, parser=run)


def _run(options: argparse.Namespace) -> int:
    from pica.commands import run

    return run.main(options)


def _collect_settings(parser: argparse.ArgumentParser, options: argparse.Namespace, rest: list[str]) -> None:
    """Settings may stand anywhere on the line; anything else that is left over is a mistake."""
    takes_settings = hasattr(options, "settings")
    strangers = [word for word in rest if word.startswith("-") or "=" not in word or not takes_settings]
    if strangers:
        parser.error(f"unrecognized arguments: {' '.join(strangers)}")
    if takes_settings:
        options.settings = [*options.settings, *rest]


if __name__ == "__main__":
    sys.exit(main())
