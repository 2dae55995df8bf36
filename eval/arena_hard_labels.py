"""Verdicts in Arena-Hard's judgments: from what a judge wrote to one of five labels.

The two answers are called A and B, and A stands first. Ways to read a judge's text, by name:

- `v0.1`: `[[label]]`; two different labels are no verdict.
- `v2`: the last `[[label]]`, else the last `[label]`, in either case. It also takes `[b]` in code for a label.
- `pica`: the last `[[label]]` that is a verdict, spaces and either case allowed; else `[label]` in the last line.

Whatever is read, only the five labels and their mirror images (`B<A` is `A>B`) are verdicts. Anything else is unscored, and
kept as it was so that a warning can name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pica.eval.arena_hard_files import Judgment, OfficialGame
from pica.eval.battle import BOTH, MIRROR, Game, Order
from pica.eval.judge import Label

_SIGNS: dict[str, tuple[Label, Label]] = {">>": ("a>>b", "b>>a"), ">": ("a>b", "b>a"), "=": ("a=b", "a=b"),
                                          "<": ("b>a", "a>b"), "<<": ("b>>a", "a>>b")}
_LABEL = re.compile(r"\s*([AB])\s*(>>|<<|>|<|=)\s*([AB])\s*", re.IGNORECASE)
_DOUBLE, _SINGLE = re.compile(r"\[\[([AB<>=]+)\]\]"), re.compile(r"\[([AB<>=]+)\]")
_LOOSE_DOUBLE, _LOOSE_SINGLE = re.compile(r"\[\[([^\[\]\n]{1,20})\]\]"), re.compile(r"\[([^\[\]\n]{1,20})\]")
#: why a game is unscored
NULL, NONE, NO_TEXT, UNKNOWN = "null game", "no label", "no text to read", "unknown label"
#: a label as the files have it
WRITTEN: dict[Label, str] = {"a>>b": "A>>B", "a>b": "A>B", "a=b": "A=B", "b>a": "B>A", "b>>a": "B>>A"}


def canonical(label: object) -> Label | None:
    """The verdict that a label stands for, a the answer that stood first; None for anything that is no verdict."""
    found = _LABEL.fullmatch(label) if isinstance(label, str) else None
    if found is None or found[1].upper() == found[3].upper():
        return None
    return _SIGNS[found[2]][found[1].upper() == "B"]


def _first(text: str) -> str | None:
    found = set(_DOUBLE.findall(text))
    return str(found.pop()) if len(found) == 1 else None


def _second(text: str) -> str | None:
    for pattern in (_DOUBLE, _SINGLE):
        found = pattern.findall(text.upper())
        if found:
            return str(found[-1])
    return None


def _ours(text: str) -> str | None:
    lines = text.rstrip().splitlines()
    for pattern, where in ((_LOOSE_DOUBLE, text), (_LOOSE_SINGLE, lines[-1] if lines else "")):
        found = [label for label in pattern.findall(where) if canonical(label)]
        if found:
            return str(found[-1])
    return None


#: name -> how a label is found in a judge's text (None: there is none, or more than one)
PARSERS: dict[str, Callable[[str], str | None]] = {"pica": _ours, "v0.1": _first, "v2": _second}


def given_games(made: Judgment, parser: str, orders: Sequence[Order]) -> list[Game]:
    """A given judgment's games in these orders, answer a the baseline's. `parser`: `stored`, or one of `PARSERS`. What is no
    verdict has its `problem`."""
    return [_game(made.judge, order, game, parser) for order, game in zip(BOTH, made.games, strict=False) if order in orders]


def _game(judge: str, order: Order, game: OfficialGame | None, parser: str) -> Game:
    label, problem = _label(game, parser)
    verdict = canonical(label)
    if label is not None and verdict is None:
        problem = f"{UNKNOWN} {label!s:.40}"
    if verdict is not None and order == "ba":
        verdict = MIRROR[verdict]
    return Game(judge=judge, order=order, verdict=verdict, text=game.text if game else "", first="A", second="B",
                parser=f"arena-hard-{parser}", problem=problem)


def _label(game: OfficialGame | None, parser: str) -> tuple[object, str]:
    """(label, why there is none)."""
    if game is None:
        return None, NULL
    if parser == "stored":
        return (None, NONE) if game.score is None or game.score == "" else (game.score, "")
    if not game.text:
        return None, NO_TEXT
    label = PARSERS[parser](game.text)
    return label, "" if label is not None else NONE
