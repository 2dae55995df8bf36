"""The draw of prompts from clusters (`pica.synth.filters.clusters`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pica.synth.filters.clusters import Clusters


@dataclass(frozen=True)
class Drawn:
    """Places of prompts: `diverse` ones, and `candidates` for the hard ones; no place is in both. `short`: clusters that have
    fewer prompts than both ask for."""

    diverse: Sequence[int]
    candidates: Sequence[int]
    short: int


def draw(clusters: Clusters, *, diverse: int, candidates: int, nearest: bool = False) -> Drawn:
    """From each cluster `diverse` prompts, and of its other ones `candidates`; a smaller cluster gives what it has, diverse ones
    first. Prompts stand in a seeded order, so the first are drawn; with `nearest` the diverse ones lie nearest to the centre."""
    members: list[list[int]] = [[] for _ in range(len(clusters))]
    for place, label in enumerate(clusters.label.tolist()):
        members[label].append(place)
    first, then, short = [], [], 0
    for own in members:
        ranked = sorted(own, key=lambda place: (clusters.distance[place], place)) if nearest else own
        chosen = set(ranked[:diverse])
        first += ranked[:diverse]
        then += [place for place in own if place not in chosen][:candidates]
        short += len(own) < diverse + candidates
    return Drawn(first, then, short)
