"""One entry for what several names mean: merged by name, then by embedding, whatever order they came in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pica.recipes.skillmix.skills import Entry, Skill, level_name
from pica.synth.embed import Embedder, Vectors


@dataclass(frozen=True)
class Named:
    """A skill or a query type as a model named it. `topic`: empty for a query type."""

    name: str
    description: str
    topic: str = ""


def merge_skills(named: Iterable[Named], embedder: Embedder | None, distance: float) -> list[Skill]:
    """Every skill once, in the order of their names. See `merge_entries`; topics of what is merged are united."""
    several = list(named)
    topics: defaultdict[str, set[str]] = defaultdict(set)
    spelling = {level_name(topic): topic for topic in sorted({one.topic for one in several}, reverse=True)}
    for one in several:
        topics[level_name(one.name)].add(spelling[level_name(one.topic)])
    return [Skill(**dict(entry), topics=tuple(sorted({
        topic for name in (entry.name, *entry.merged) for topic in topics[level_name(name)] if topic})))
        for entry in merge_entries(several, embedder, distance)]


def merge_entries(named: Iterable[Named], embedder: Embedder | None, distance: float) -> list[Entry]:
    """Every entry once, in the order of their names.

    Names that are equal without case and punctuation are one; the most common spelling and description stand for it.
    Then, from the most often named to the least, an entry whose name lies within `distance` (squared, of unit vectors)
    of one already kept is merged into the nearest such. Nothing is merged across a chain: every merged name is near the
    name that stands for it.
    """
    entries = sorted(_by_name(named), key=lambda entry: (-entry.found, level_name(entry.name)))
    if embedder is not None and distance > 0 and len(entries) > 1:
        entries = _by_meaning(entries, embedder.embed([entry.name for entry in entries]), distance)
    return sorted(entries, key=lambda entry: level_name(entry.name))


def _by_name(named: Iterable[Named]) -> list[Entry]:
    groups: defaultdict[str, list[Named]] = defaultdict(list)
    for one in named:
        if level := level_name(one.name):
            groups[level].append(one)
    found = []
    for several in groups.values():
        name = _most_common([one.name for one in several])
        others = tuple(sorted({one.name for one in several} - {name}))
        found.append(Entry(name=name, description=_most_common([one.description for one in several]), found=len(several),
                           merged=others))
    return found


def _by_meaning(entries: Sequence[Entry], vectors: Vectors, distance: float) -> list[Entry]:
    kept: list[int] = []
    into: dict[int, int] = {}
    for place, vector in enumerate(vectors):
        if kept:
            squared = ((vectors[kept] - vector) ** 2).sum(axis=1)
            nearest = int(squared.argmin())
            if squared[nearest] <= distance:
                into[place] = kept[nearest]
                continue
        kept.append(place)
    joined: dict[int, list[Entry]] = {place: [] for place in kept}
    for place, keeper in into.items():
        joined[keeper].append(entries[place])
    return [_join(entries[place], others) for place, others in joined.items()]


def _join(entry: Entry, others: Sequence[Entry]) -> Entry:
    names = {name for other in others for name in (other.name, *other.merged)}
    return entry.model_copy(update={"found": entry.found + sum(other.found for other in others),
                                    "merged": tuple(sorted({*entry.merged, *names}))})


def _most_common(texts: Sequence[str]) -> str:
    """The text that stands most often; of equals the shortest, then the first in the alphabet; an empty one only if all are."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (not text, -counts[text], len(text), text))
