"""Which skills and which query type a row gets: a lazy, seeded walk through all combinations of k skills.

Skills are put on a circle in a seeded order. A *pattern* is a combination up to rotation: the gaps between its skills.
The walk takes the patterns in a pseudo-random order, and of each its rotations in a pseudo-random order. So

- no combination comes twice, and every one comes once before the end;
- at any place of the walk the uses of any two skills differ by k at most, because the rotations of a pattern use
  every skill equally often, at most k times;
- what stands at a place depends on the seed alone, and finding it holds one pattern for each round of all skills in
  memory, whatever the number of combinations.

Held-out rows walk from the other end of the same order, so nothing they get can be met from the front.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from math import comb
from random import Random

ROUNDS = 4  # of the Feistel network


class Permutation:
    """A pseudo-random order of `0..n-1` in constant memory: `order[place]`. Equal n and key, equal order.

    A Feistel network over the next power of four, walked on until it lands below n.
    """

    def __init__(self, n: int, key: str) -> None:
        self._n = n
        self._bits = max(1, ((n - 1).bit_length() + 1) // 2)
        self._key = blake2b(key.encode(), digest_size=16).digest()

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self._n:
            raise IndexError(f"place {place} of {self._n}")
        value = self._encrypt(place)
        while value >= self._n:
            value = self._encrypt(value)
        return value

    def _encrypt(self, value: int) -> int:
        mask = (1 << self._bits) - 1
        left, right = value >> self._bits, value & mask
        for step in range(ROUNDS):
            digest = blake2b(right.to_bytes(32, "big") + bytes([step]), digest_size=32, key=self._key).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        return left << self._bits | right


class Combinations:
    """All combinations of `k` of `skills` skills, each once, from either end: `first(place)`, `last(place)`.

    `total` is how many there are. A place from the front and one from the back hold the same combination only when
    `front + back >= total - 1`.
    """

    def __init__(self, skills: int, k: int, seed: int) -> None:
        if not 1 <= k <= skills:
            raise ValueError(f"k={k} of {skills} skills: k must be 1 to {skills}")
        self.total = comb(skills, k)
        self._skills, self._k, self._key = skills, k, f"{seed} {skills} {k}"
        self._circle = list(range(skills))
        Random(f"circle {self._key}").shuffle(self._circle)
        self._patterns = Permutation(comb(skills - 1, k - 1), f"patterns {self._key}")
        self._front, self._back = _Found(), _Found()

    def first(self, place: int) -> tuple[int, ...]:
        """The combination at `place` from the front: skill numbers, ascending."""
        return self._at(place, self._front, back=False)

    def last(self, place: int) -> tuple[int, ...]:
        """The combination at `place` from the back."""
        return self._at(place, self._back, back=True)

    def _at(self, place: int, found: _Found, *, back: bool) -> tuple[int, ...]:
        if not 0 <= place < self.total:
            raise IndexError(f"combination {place} of {self.total}")
        while found.ends[-1] <= place:
            self._find(found, back=back)
        which = bisect_right(found.ends, place) - 1
        members, size = found.patterns[which], found.ends[which + 1] - found.ends[which]
        turn = place - found.ends[which]
        rotation = Permutation(size, f"rotations {members} {self._key}")[size - 1 - turn if back else turn]
        return tuple(sorted(self._circle[(rotation + member) % self._skills] for member in members))

    def _find(self, found: _Found, *, back: bool) -> None:
        """Look for the next pattern whose gaps are the smallest of their own rotations: each pattern has one such."""
        while True:
            place = len(self._patterns) - 1 - found.seen if back else found.seen
            found.seen += 1
            members = (0, *(m + 1 for m in subset(self._patterns[place], self._skills - 1, self._k - 1)))
            gaps = tuple(b - a for a, b in zip(members, (*members[1:], self._skills), strict=True))
            turned = [gaps[i:] + gaps[:i] for i in range(self._k)]
            if gaps == min(turned):
                found.patterns.append(members)
                found.ends.append(found.ends[-1] + self._skills // turned.count(gaps))
                return


class _Found:
    """The patterns met so far from one end, and the places where they end (with a 0 in front). `seen`: patterns looked at."""

    def __init__(self) -> None:
        self.seen = 0
        self.patterns: list[tuple[int, ...]] = []
        self.ends = [0]


def subset(rank: int, n: int, k: int) -> tuple[int, ...]:
    """The subset of `k` of `0..n-1` at `rank` of their lexicographic order."""
    members, low = [], 0
    for left in range(k, 0, -1):
        while (count := comb(n - low - 1, left - 1)) <= rank:
            rank -= count
            low += 1
        members.append(low)
        low += 1
    return tuple(members)


class Draws:
    """What each candidate of a run gets: its split, its skills, its query type.

    `held_out` of every `n` candidates, evenly spread, are for the split `test`; those walk from the back, and their
    query types follow another seed. Query types come in shuffled rounds of all `query_types`, for each split by itself.
    """

    def __init__(self, skills: int, k: int, query_types: int, *, n: int, held_out: int, seed: int) -> None:
        self.combinations = Combinations(skills, k, seed)
        self._types, self._n, self._held_out, self._seed = query_types, n, held_out, seed

    def place(self, index: int) -> tuple[str, int]:
        """(split, place within it) of candidate `index`."""
        before = index * self._held_out // self._n
        if (index + 1) * self._held_out // self._n > before:
            return "test", before
        return "train", index - before

    def skills(self, index: int) -> tuple[int, ...]:
        """The numbers of the skills of candidate `index`, ascending."""
        split, place = self.place(index)
        return self.combinations.first(place) if split == "train" else self.combinations.last(place)

    def query_type(self, index: int) -> int:
        """The number of the query type of candidate `index`."""
        split, place = self.place(index)
        around, within = divmod(place, self._types)
        return Permutation(self._types, f"query types {split} {around} {self._seed}")[within]
