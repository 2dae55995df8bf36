"""Battles that an evaluation made, read as fights of one target: `read_battles(config)`.

Folders of `pica eval arena`, `arena-hard` and `wildbench mode=reward` hold battles; so does any data with their columns. The
battles of an evaluation's audit stand in a split of their own and are never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pica.eval.audit.bouts import NAME as AUDIT
from pica.eval.battle_rows import battles_of
from pica.eval.shipped import SHIPPED
from pica.recipes.arena_learning.config import ArenaLearningConfig
from pica.recipes.arena_learning.fought import Fought, fought
from pica.recipes.arena_learning.rows import Fight
from pica.recipes.arena_learning.sources import check_battles, writers_in
from pica.synth.card import Role
from pica.synth.errors import UsageError
from pica.synth.models.base import Message
from pica.synth.source import Source

BASELINE = ("arena-hard", "wildbench")  # whose side a is a baseline
NAMED = 5  # labels that a message lists


@dataclass(frozen=True)
class Battles:
    """What was read. `rivals`: those that the target met, or of them those that are asked for. `fights`: in order of appearance.
    `ratings`: of everybody, where they are asked for. `evaluations`: what a manifest says of the sources, and how many of the
    target's `battles` are there. `missing`: judgments that could not be made there. `outcomes`: battles judged by outcome.
    `roles`: who wrote the answers, and who judged them."""

    target: str
    why_target: str
    rivals: tuple[str, ...]
    fights: tuple[Fight, ...]
    evaluations: tuple[dict[str, Any], ...]
    missing: int
    outcomes: int
    warnings: tuple[str, ...]
    roles: tuple[Role, ...]
    ratings: Mapping[str, float] = field(default_factory=dict)


def read_battles(config: ArenaLearningConfig) -> Battles:
    """The battles of `config.battles` from the target's side. Raises `UsageError` for a folder without battles, an unknown
    target, a rival that it never met, and a battle that stands twice."""
    sources = check_battles(config.battles)
    target, why = (config.target, "as given") if config.target else _own_target(sources[0])
    read = _Reading(config, target)
    for source in sources:
        read.add(source)
    _check(config, target, read.labels, read.met)
    rivals = tuple(config.rivals) or tuple(sorted(read.met))
    fights = tuple(_fight(key, some, read.about[key]) for key, some in read.battles.items())
    judges = dict.fromkeys(judge for fight in fights for battle in fight.battles for judge in battle.judges)
    warnings = [*_of_others(config, target, sources, read.counts), *(one for source in sources for one in _warnings(source))]
    return Battles(
        target, why, rivals, fights, tuple({**_about(source), "battles": read.counts[source.name]} for source in sources),
        sum(map(_missing, sources)), read.outcomes, tuple(warnings),
        (*writers_in(sources, [target, *rivals]), *(("judge", judge) for judge in judges)),
        config.ratings or (_rated(read.light, target) if config.winner == "rating" else {}))


Key = tuple[str, bytes]


class _Reading:
    """Battles so far, by prompt. Only what is needed of each is kept: verdicts without the judges' reasons."""

    def __init__(self, config: ArenaLearningConfig, target: str) -> None:
        self.config, self.target = config, target
        self.battles: dict[Key, list[Fought]] = {}
        self.about: dict[Key, tuple[str, tuple[str, ...], tuple[Message, ...]]] = {}
        self.labels: set[str] = set()
        self.met: set[str] = set()  # by the target
        self.counts: Counter[str] = Counter()  # battles that are read, by source
        self.light: list[dict[str, Any]] = []
        self.outcomes = 0
        self._from: dict[tuple[Key, str], str] = {}

    def add(self, source: Source) -> None:
        """Read a source's battles."""
        for number, row in enumerate(source, 1):
            try:
                self._add(row, source.name)
            except (KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{source.name}, row {number}: not a battle as pica eval writes it ({type(error).__name__}: "
                                 f"{error}); give the folder of an evaluation") from None

    def _add(self, row: dict[str, Any], name: str) -> None:
        labels = {row["model_a"], row["model_b"]}
        if None in labels:
            raise TypeError("it names no two models")
        self.labels |= labels
        self.met |= labels - {self.target} if self.target in labels else set()
        if self.config.winner == "rating" and not self.config.ratings:
            games = [{"order": game["order"], "verdict": game["verdict"]} for game in row["games"]]
            self.light.append({column: row[column] for column in ("task", "model_a", "model_b")} | {"games": games})
        for battle in fought([row], self.target, self.config, self.config.rivals):
            self._keep(row, battle, name)
            self.counts[name] += 1

    def _keep(self, row: dict[str, Any], battle: Fought, name: str) -> None:
        prompt = tuple(Message(role=message["role"], content=message["content"]) for message in row["prompt"])
        key = row["task"], orjson.dumps(prompt)
        before = self._from.setdefault((key, battle.rival), name)
        if any(one.rival == battle.rival for one in self.battles.get(key, ())):
            raise UsageError(f"{self.target} and {battle.rival} fought twice on task {row['task']} (in {before} and in {name}); "
                             "leave one of the folders out of battles, or a rival with rivals=[...]")
        self.battles.setdefault(key, []).append(battle)
        self.about.setdefault(key, (row["category"] or "", tuple(row.get("tags") or ()), prompt))
        self.outcomes += battle.target_score is None and battle.gap is not None


def _fight(key: Key, battles: Iterable[Fought], about: tuple[str, tuple[str, ...], tuple[Message, ...]]) -> Fight:
    category, tags, prompt = about
    return Fight(key[0], category, tags, prompt, tuple(sorted(battles, key=lambda one: one.rival)))


def _own_target(source: Source) -> tuple[str, str]:
    """(label, why it is the target), where none is given."""
    manifest = source.manifest or {}
    own = manifest.get("config") or {}
    first = next(iter(source))
    if own.get("target"):
        return str(own["target"]), f"the target of {source.name}"
    baselines = {first["model_a"]} if manifest.get("recipe") in BASELINE else set()
    labels = [str(model.get("label") or model["name"]) for model in own.get("models") or ()]
    if label := next((label for label in labels if label not in baselines), ""):
        return label, f"the first model of {source.name}"
    return str(first["model_b" if baselines else "model_a"]), f"the first label in {source.name}"


def _check(config: ArenaLearningConfig, target: str, labels: set[str], met: set[str]) -> None:
    if not met:
        raise UsageError(f"target={target!r} fought nobody here; labels: {_listed(labels)}")
    for rival in config.rivals:
        if rival not in met:
            what = "never met the target here" if rival in labels else "fought no battle here"
            raise UsageError(f"rivals names {rival!r}, who {what}; who met {target!r}: {_listed(met)}")


def _of_others(config: ArenaLearningConfig, target: str, sources: Sequence[Source], counts: Mapping[str, int]) -> list[str]:
    """Warnings of sources that are about another target: one counts in all of them."""
    found = [f"{source.name} has no battle of {target!r}{' with these rivals' if config.rivals else ''}: nothing is learnt of it"
             for source in sources if not counts[source.name]]
    if not config.target:
        owns = [(source, *_own_target(source)) for source in sources if source.manifest and counts[source.name]]
        found += [f"in {source.name} too the battles of {target!r} count, though {own!r} is {why}; target=LABEL says whose"
                  for source, own, why in owns if own != target]
    return found


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels))


def _about(source: Source) -> dict[str, Any]:
    """What a manifest says of an evaluation."""
    manifest = source.manifest or {}
    own, notes = manifest.get("config") or {}, manifest.get("notes") or {}
    told = {**source.describe(), "tasks": own.get("tasks"), "audit": notes.get("audit")}
    return {name: value for name, value in told.items() if value is not None}


def _missing(source: Source) -> int:
    """Judgments that could not be made; those of an audit would be no data."""
    rejected = ((source.manifest or {}).get("rows") or {}).get("rejected", {})
    return sum(count for reason, count in rejected.items() if not reason.startswith(f"{AUDIT}: "))


def _warnings(source: Source) -> list[str]:
    """What a reader of data from these battles must know."""
    about = _about(source)
    found = benchmark_warning(str(about.get("tasks") or ""), source.name, str(about.get("recipe") or ""))
    audit = about.get("audit") or _audit(Path(source.name))
    if audit.get("verdict") == "fails":
        found.append(f"the judge of {source.name} failed its audit: {audit.get('sentence', '')}")
    return found


def _audit(folder: Path) -> dict[str, Any]:
    try:
        found = orjson.loads((folder / "audit.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def benchmark_warning(tasks: str, name: str, recipe: str = "") -> list[str]:
    """A warning where prompts are those of a benchmark."""
    if recipe in BASELINE or tasks in SHIPPED:
        what = recipe if recipe in BASELINE else f"the tasks {tasks!r}"
        return [f"the prompts of {name} are those of a benchmark ({what}): do not measure a model that learnt from them with it"]
    return []


def _rated(rows: Sequence[dict[str, Any]], target: str) -> dict[str, float]:
    """Ratings of everybody who can be compared with the target, from all battles."""
    from pica.eval.connected import comparable
    from pica.eval.ratings import fit

    names = comparable(battles_of(rows), target)
    met = [row for row in rows if row["model_a"] in names and row["model_b"] in names]
    if not met:
        return {}
    ratings = fit(battles_of(met), prior=1.0)
    return dict(zip(ratings.models, map(float, ratings.points), strict=True))
