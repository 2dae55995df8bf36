"""Prompts dealt to splits: some held out, the rest in parts. They stand in a seeded order already."""

from __future__ import annotations

HELD_OUT = "held_out"


def deal(count: int, *, held_out: int = 0, parts: int = 0, part_size: int = 0) -> list[str]:
    """The split of each of `count` prompts: `held_out` for the first so many, then part1, part2, ... one behind the other.

    `parts`: so many equal parts, of which the first are larger by one where it does not come out even. `part_size`: parts of
    exactly so many prompts; the last one has what is left.
    """
    assert bool(parts) != bool(part_size) and count >= held_out
    rest = count - held_out
    sizes = ([rest // parts + (place < rest % parts) for place in range(parts)] if parts
             else [min(part_size, rest - begin) for begin in range(0, rest, part_size)])
    return [HELD_OUT] * held_out + [f"part{number}" for number, size in enumerate(sizes, 1) for _ in range(size)]
