"""Several servers behind one name: who gets the next call, and who is put aside.

A call goes to the healthy server with the fewest calls in flight. A server that fails is put aside, twice as long after
each failure in a row; when that time is over, one call probes it, and the others follow once it has answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

FIRST_PAUSE = 1.0  # seconds aside after a first failure
LONGEST_PAUSE = 60.0


class Place:
    """What the pool knows of one server."""

    __slots__ = ("aside_until", "failures", "in_flight", "served")

    def __init__(self) -> None:
        self.in_flight = 0
        self.served = 0
        self.failures = 0
        self.aside_until = 0.0


P = TypeVar("P", bound=Place)


class Pool(Generic[P]):
    """Chooses among `places`. `clock` gives seconds and exists so that tests need not wait."""

    def __init__(self, places: Sequence[P], clock: Callable[[], float] = time.monotonic) -> None:
        self.places = tuple(places)
        self._clock = clock

    def pick(self, tried: Collection[P] = ()) -> P | None:
        """The server for the next call, or None if all were tried. Where all are aside, the one due first is asked."""
        left = [place for place in self.places if place not in tried]
        if not left:
            return None
        now = self._clock()
        healthy = [place for place in left if place.aside_until <= now]
        if not healthy:
            return min(left, key=lambda place: place.aside_until)
        chosen = min(healthy, key=lambda place: (place.in_flight, place.served))
        if chosen.failures:  # a probe: the others wait for its result
            chosen.aside_until = now + self._pause(chosen)
        return chosen

    def succeeded(self, place: P) -> None:
        """The server answered: it is healthy."""
        place.failures = 0
        place.aside_until = 0.0

    def failed(self, place: P, retry_after: float | None = None) -> None:
        """The server failed: put it aside, at least for the seconds that it asked for."""
        place.failures += 1
        place.aside_until = self._clock() + max(self._pause(place), retry_after or 0.0)

    def _pause(self, place: P) -> float:
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(place.failures - 1, 16)))
