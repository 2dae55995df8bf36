"""A leaderboard that is there already: of a finished evaluation, or in a CSV or JSON file from anywhere.

A file has a row a model. Columns are found by their usual names, whatever their case:

    model, label, name                          who
    score, rating, elo, arena_score             higher is better
    lower, upper                                the ends of the interval (also ci_lower, lower_ci, rating_lower, rating_q025; ...)
    ci, interval                                instead of them: `+5/-6` around the score, or both ends: `1010, 1021`

An end that is missing beside one that is there has no bound, as in leaderboards of ours; without either there is no interval.
Numbers have a decimal point; a comma in one is read only where it groups thousands, as in 1,234.5.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError

MODEL = ("model", "label", "name")
SCORE = ("score", "rating", "elo", "arena_score")
LOWER = ("lower", "ci_lower", "lower_ci", "rating_lower", "lower_bound", "rating_q025")
UPPER = ("upper", "ci_upper", "upper_ci", "rating_upper", "upper_bound", "rating_q975")
CI = ("ci", "interval", "95_ci", "ci_95")
_EXPONENT = r"(?:[eE][-+]?[0-9]+)?"
_PLAIN = rf"(?:[0-9]+\.?[0-9]*|\.[0-9]+){_EXPONENT}"  # without a sign
_NUMBER = re.compile(rf"[-+]?(?:{_PLAIN}|[0-9]{{1,3}}(?:,[0-9]{{3}})+(?:\.[0-9]+)?{_EXPONENT}|nan|inf|infinity)", re.IGNORECASE)
_AROUND = re.compile(rf"\+\s*({_PLAIN})\s*/\s*-\s*({_PLAIN})")
_ENDS = re.compile(rf"[\[(]?\s*([-+]?{_PLAIN})\s*(?:,|;|to|\.\.)\s*([-+]?{_PLAIN})\s*[\])]?")
_MINUS = str.maketrans("\u2212", "-")

#: The ends of an interval.
Ends = tuple[float, float]
#: A row, and where it stands in its file.
Placed = tuple[str, Mapping[str, Any]]
REST = "beyond the header"


@dataclass(frozen=True)
class Standing:
    """A model's score, higher is better, and its interval, None where there is none."""

    score: float
    ends: Ends | None


@dataclass(frozen=True)
class Board:
    """A leaderboard by model. `unranked`: models that it names without a score."""

    name: str
    standings: Mapping[str, Standing]
    unranked: Sequence[str] = ()

    def renamed(self, names: Mapping[str, str]) -> Board:
        """The same with other names for some models. Raises `UsageError` for a name that is not there, or stands twice then."""
        there = [*self.standings, *self.unranked]
        if strange := [name for name in names if name not in there]:
            raise UsageError(f"labels: {self.name} has no model {strange[0]!r}; it has {', '.join(there)}")
        after = [names.get(name, name) for name in there]
        if twice := next((name for name in after if after.count(name) > 1), ""):
            raise UsageError(f"labels: two models of {self.name} would be {twice!r}")
        return Board(self.name, {names.get(name, name): standing for name, standing in self.standings.items()},
                     [names.get(name, name) for name in self.unranked])


def read_board(path: Path) -> Board:
    """The leaderboard of a finished evaluation's folder, or of a .json or .csv file. Raises `UsageError`."""
    file = path / "leaderboard.json" if path.is_dir() else path
    if path.is_dir() and not (file.is_file() and (path / "manifest.json").is_file()):
        raise UsageError(f"{path} is no finished evaluation: it has no leaderboard.json with a manifest.json; give one that "
                         "`pica eval` made, or a .csv or .json file")
    if file.suffix.lower() not in {".json", ".csv"}:
        raise UsageError(f"{path} is no leaderboard that can be read; give the folder of an evaluation, or a .csv or .json file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path} cannot be read ({why}); give the folder of an evaluation, or a .csv or .json file") from None
    return _board(str(path), _json(path, text) if file.suffix.lower() == ".json" else _csv(path, text))


def read_labels(path: Path) -> dict[str, str]:
    """A JSON object of names: what a model is called on the second leaderboard -> on the first. Raises `UsageError`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"labels={path} cannot be read ({error}); give a JSON object {{\"its name\": \"name here\"}}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"labels={path} must hold a JSON object {{\"its name\": \"name here\"}}")
    return found


def _csv(path: Path, text: str) -> list[Placed]:
    """The rows below the header, by line."""
    reader = csv.DictReader(io.StringIO(text), restkey=REST)
    rows: list[Placed] = []
    try:
        for row in reader:
            if REST in row:
                raise UsageError(f"{path} line {reader.line_num} has {row[REST][0]!r:.60} beyond the columns of its header; "
                                 "quote what holds a comma")
            rows.append((f"line {reader.line_num}", row))
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV below line {reader.line_num}: {error}") from None
    return rows


def _json(path: Path, text: str) -> list[Placed]:
    """The rows of a list of objects, or of an object that gives every model its score."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if isinstance(found, dict):
        found = [{"model": name, **(value if isinstance(value, dict) else {"score": value})} for name, value in found.items()]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise UsageError(f"{path} must hold a list of objects with model and score, or one object of scores by model")
    return [(f"row {number}", row) for number, row in enumerate(found, 1)]


def _board(name: str, rows: Sequence[Placed]) -> Board:
    if not rows:
        raise UsageError(f"{name} has no rows")
    standings: dict[str, Standing] = {}
    unranked = []
    for place, row in rows:
        plain = {re.sub(r"[^a-z0-9]+", "_", str(key).lower()).strip("_"): value for key, value in row.items()}
        label = _first(plain, MODEL)
        if not isinstance(label, str) or not any(key in plain for key in SCORE):
            raise UsageError(f"{name} {place} needs a model ({', '.join(MODEL)}) and a score ({', '.join(SCORE)}); it has "
                             f"{', '.join(plain)}")
        if label in standings or label in unranked:
            raise UsageError(f"{name} names the model {label!r} twice")
        where = f"{name} {place} ({label})"
        score = _number(_first(plain, SCORE), where)
        if score is None:
            unranked.append(label)
        else:
            standings[label] = Standing(score, _ends(plain, score, where))
    return Board(name, standings, unranked)


def _ends(row: Mapping[str, Any], score: float, where: str) -> Ends | None:
    """The ends of an interval; None where both are missing. Raises `UsageError` where they do not hold the score."""
    lower, upper = _number(_first(row, LOWER), where), _number(_first(row, UPPER), where)
    written = _first(row, CI)
    if lower is None and upper is None and written is not None:
        lower, upper = _interval(written, score, where)
    if lower is None and upper is None:
        return None
    lower, upper = -math.inf if lower is None else lower, math.inf if upper is None else upper
    if not lower <= score <= upper:
        raise UsageError(f"{where}: the interval from {lower:g} to {upper:g} does not hold the score {score:g}")
    return lower, upper


def _interval(written: Any, score: float, where: str) -> Ends:
    if isinstance(written, list) and len(written) == 2:
        lower, upper = (_number(end, where) for end in written)
        if lower is not None and upper is not None:
            return lower, upper
    text = str(written).translate(_MINUS).strip()
    if around := _AROUND.fullmatch(text):
        return score - float(around[2]), score + float(around[1])
    if ends := _ENDS.fullmatch(text):
        return float(ends[1]), float(ends[2])
    raise UsageError(f"{where}: the interval {text!r:.60} is not understood; write +5/-6, or both ends: 1010, 1021")


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _number(value: Any, where: str) -> float | None:
    """A finite number, also written as text; None for nothing, NaN and what has no bound."""
    if value is None:
        return None
    text = str(value).translate(_MINUS).strip()
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"{where}: {value!r:.60} is no number; write 1234.5, or 1,234.5")
    found = float(text.replace(",", ""))
    return found if math.isfinite(found) else None
