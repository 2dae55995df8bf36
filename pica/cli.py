"""The `pica` command. Each subcommand imports what it needs when it runs, so that `pica --help` is quick.

    pica recipes                                          what there is
    pica run RECIPE [key=value ...] [--config FILE] --out DIR
    pica train sft|dpo|reward|online [key=value ...] [--config FILE] --out DIR
    pica eval arena|arena-hard|wildbench|checklist [key=value ...] [--config FILE] --out DIR
    pica audit judge=SPEC [key=value ...] [--config FILE] --out DIR
    pica flywheel [key=value ...] [--config FILE] --out DIR
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
            known = ["run", "train", "eval", "audit", "flywheel", *COMMANDS]
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
    _add_run(commands)
    _add_train(commands)
    _add_eval(commands)
    _add_audit(commands)
    _add_flywheel(commands)
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


def _add_run(commands: Any) -> None:
    run = _with_settings(commands, "run", "RECIPE", "make a dataset",
                         "Make a dataset with a recipe, or go on with one. `pica run RECIPE --help` prints every key.",
                         plan="show calls, tokens, time and cost; call nothing", first="see `pica recipes`")
    run.add_argument("--retry", action="store_true", help="ask again for the rows that got no answer")


def _add_train(commands: Any) -> None:
    _with_settings(commands, "train", "STAGE", "train a model",
                   "Train a model on a dataset, or go on with a training. `pica train STAGE --help` prints every key.",
                   plan="show steps, tokens, memory and the command; train nothing", first="sft, dpo, reward or online")


def _add_eval(commands: Any) -> None:
    evaluate = _with_settings(commands, "eval", "BENCHMARK", "judge models and rank them",
                              "Judge models on a benchmark and rank them, or go on with that. `pica eval BENCHMARK --help` "
                              "prints every key.", plan="show calls, tokens, time and cost; call nothing",
                              first="arena, arena-hard, wildbench or checklist; `compare A B` compares two evaluations; "
                                    "`agree E REFERENCE` sets a leaderboard beside a reference")
    evaluate.add_argument("--retry", action="store_true", help="ask again for the judgments that got no answer")


def _add_audit(commands: Any) -> None:
    audit = _with_settings(commands, "audit", "", "find out whether a judge is worth believing",
                           "Try a judge with answers that must lose, battles that must be even, and people's verdicts where "
                           "there are some. The exit code is 0 when the audit is done, whatever it found. `pica audit --help` "
                           "prints every key.", plan="show calls, tokens, time and cost; call nothing")
    audit.add_argument("--retry", action="store_true", help="ask again for the battles that got no answer")


def _add_flywheel(commands: Any) -> None:
    _with_settings(commands, "flywheel", "", "battle, learn, measure, again and again",
                   "Run a campaign, or go on with one: battles find where the target loses, what it loses becomes training data, "
                   "the trained model is measured, and it replaces the one before only if it passes the gates. `pica flywheel "
                   "--help` prints every key.", plan="show calls, tokens, training steps, time and cost; run nothing")


def _with_settings(commands: Any, name: str, kind: str, what: str, description: str, *, plan: str, first: str = "",
                   ) -> argparse.ArgumentParser:
    """A subcommand that makes a folder from a RECIPE or STAGE (`kind`; none where it is empty) and settings."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, allow_abbrev=False, add_help=False, description=description,
        usage=f"pica {name} {f'{kind} ' if kind else ''}[key=value ...] [--config FILE] --out DIR")
    if kind:
        parser.add_argument(kind.lower(), nargs="?", metavar=kind, help=first)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings, such as seed=1 or a.b=2")
    parser.add_argument("--config", metavar="FILE", help="YAML file with settings, or the name of a shipped one")
    parser.add_argument("--out", metavar="DIR", type=Path, help="output folder; an unfinished one is gone on with")
    parser.add_argument("--plan", action="store_true", help=plan)
    parser.add_argument("--update", action="store_true", help="make the folder again with changed settings")
    parser.add_argument("--json", action="store_true", help="progress and result as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    keys = f"every key of {kind}" if kind else "every key"
    parser.add_argument("-h", "--help", action="store_true", dest="help_run", help=f"this text, with {keys}")
    parser.set_defaults(run=_late(f"pica.commands.{name}"), parser=parser)
    return parser


def _late(module: str) -> Command:
    """`main` of `module`, imported when it is called."""
    def main(options: argparse.Namespace) -> int:
        import importlib

        command: Command = importlib.import_module(module).main
        return command(options)

    return main


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
