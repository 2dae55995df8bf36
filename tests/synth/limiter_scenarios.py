"""Servers that limit, fail and change, each with the time that a perfect client needs and what is asked of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf
from random import Random

from virtual_time import (
    Changing,
    Concurrent,
    FixedWindow,
    Limit,
    Outcome,
    Server,
    SlidingWindow,
    TokenBucket,
    drive,
    steady,
    uniform,
)


@dataclass(frozen=True)
class Scenario:
    """`ideal`: seconds of a perfect client. `ratio`, `refused`: at most this many times that, and this many 429s."""

    name: str
    server: Callable[[], Server]
    rows: int
    ideal: float
    ratio: float
    refused: float = inf
    workers: int = 256
    maximum: int = 256

    def run(self) -> Outcome:
        """Answer all rows in virtual time."""
        return _run(self)


@cache
def _run(scenario: Scenario) -> Outcome:
    """What a scenario comes to: the same each time, so it is played once."""
    return drive(scenario.server(), scenario.rows, scenario.workers, scenario.maximum)


def bucket(name: str, ratio: float, *, rate: float = 100, burst: float = 100, rows: int = 1000,
           latency: tuple[float, float] = (0.05, 0.05), retry_after: float | None = 1, refused: float = 99,
           seed: int = 0, at_once: bool = False, workers: int = 256) -> Scenario:
    """A token bucket; its ideal uses the whole burst, refills from the first moment and waits for one answer."""
    ideal = max(0.0, rows - burst) / rate + sum(latency) / 2
    return Scenario(name, lambda: Server(TokenBucket(rate, burst), uniform(*latency), retry_after, at_once=at_once,
                                         seed=seed), rows, ideal, ratio, refused, workers)


def limited(name: str, limit: Callable[[], Limit], rows: int, ideal: float, ratio: float, refused: float = inf, *,
            latency: tuple[float, float] = (0.05, 0.05), retry_after: float | None = 1) -> Scenario:
    """Some other limiter."""
    return Scenario(name, lambda: Server(limit(), uniform(*latency), retry_after), rows, ideal, ratio, refused)


def some(share: float) -> Callable[[float, int, Random], bool]:
    """This share of the answers is a 500."""
    return lambda now, busy, rng: rng.random() < share


def beyond(count: int) -> Callable[[float, int, Random], bool]:
    """A request that comes while this many are being served fails."""
    return lambda now, busy, rng: busy > count


def outage(begin: float, end: float) -> Callable[[float, int, Random], bool]:
    """Everything fails from second `begin` to second `end`."""
    return lambda now, busy, rng: begin <= now - 1000 < end


BUCKETS = [
    bucket("100/s, burst 100, 256 workers", 1.05, refused=70),
    bucket("the same, 100 workers", 1.05, refused=70, workers=100),
    *(bucket(f"the same, answers in 20 to 120 ms, seed {seed}", 1.05, latency=(0.02, 0.12), refused=70, seed=seed)
      for seed in range(5)),
    bucket("the same, refused on arrival", 1.05, at_once=True),
    bucket("the same, answers in 20 to 120 ms, refused on arrival", 1.05, latency=(0.02, 0.12), at_once=True),
    bucket("100/s, burst 200", 1.05, burst=200),
    bucket("100/s, burst 200, answers in 20 to 120 ms", 1.05, burst=200, latency=(0.02, 0.12)),
    bucket("100/s, burst 50", 1.15, burst=50),
    bucket("100/s, burst 50, answers in 20 to 120 ms", 1.25, burst=50, latency=(0.02, 0.12)),
    *(bucket(f"100/s, burst 100, answers in {round(1000 * latency)} ms", 1.15, latency=(latency, latency))
      for latency in (0.01, 0.02, 0.1, 0.2, 0.5)),
    bucket("the same, refused on arrival, answers in 500 ms", 1.15, latency=(0.5, 0.5), at_once=True),
    bucket("100/s, burst 10", 1.2, burst=10, rows=5000),
    bucket("100/s, burst 1", 1.3, burst=1, rows=5000),
    bucket("500/s, burst 50", 1.25, rate=500, burst=50, rows=20000),
    bucket("500/s, burst 50, answers in 20 to 120 ms", 1.25, rate=500, burst=50, rows=20000, latency=(0.02, 0.12)),
    bucket("100/s, burst 100, no Retry-After", 1.05, rows=5000, retry_after=None),
    bucket("100/s, burst 100, Retry-After 0.2", 1.05, rows=5000, retry_after=0.2),
    bucket("100/s, burst 100, Retry-After 2", 1.2, rows=5000, retry_after=2),
    bucket("10/s, burst 10, answers in 2 to 8 s, refused on arrival", 1.15, rate=10, burst=10, latency=(2, 8),
           at_once=True),
]

OTHERS = [
    limited("100 in every second of the clock", lambda: FixedWindow(100), 5000, 50, 1.3, 99),
    limited("100 in any second, refused ones counted", lambda: SlidingWindow(100), 5000, 50, 1.35, 99),
    limited("20 in flight", lambda: Concurrent(20), 40000, 100, 1.3, 200),
    limited("20 in flight, answers in 20 to 120 ms", lambda: Concurrent(20), 40000, 140, 1.3, 150,
            latency=(0.02, 0.12)),
    limited("20 in flight, no Retry-After", lambda: Concurrent(20), 40000, 100, 1.3, 200, retry_after=None),
]

CHANGING = limited("100/s, 300/s from second 30 to 90, burst 100",
                   lambda: Changing([0, 30, 90], [100, 300, 100], 100), 24000, 119, 1.35, 180)

FAULTS = [
    Scenario("no limit, 100 in flight", Server, 20000, 10, 1.05, 0, 100, 100),
    Scenario("no limit, 256 in flight", Server, 40000, 40000 / 256 * 0.05, 1.1, 0, 512),
    Scenario("no limit, answers in 3 to 7 s", lambda: Server(latency=uniform(3, 7)), 5120, 100, 1.2, 0, 512),
    Scenario("2 % take 3 s", lambda: Server(latency=lambda rng: 3 if rng.random() < 0.02 else 0.05), 40000,
             40000 / 256 * (0.98 * 0.05 + 0.02 * 3), 1.25, 0, 512),
    Scenario("5 % faults", lambda: Server(fault=some(0.05)), 60000, 60000 / 256 * 0.05 / 0.95, 1.08, 0, 512),
    Scenario("15 % faults", lambda: Server(fault=some(0.15)), 60000, 60000 / 256 * 0.05 / 0.85, 1.35, 0, 512),
    Scenario("faults beyond 40 in flight", lambda: Server(fault=beyond(40)), 40000, 50, 1.1, 0, 512),
    Scenario("the same, answers in 20 to 120 ms", lambda: Server(latency=uniform(0.02, 0.12), fault=beyond(40)), 40000,
             70, 1.35, 0, 512),
    Scenario("out from second 10 to 30", lambda: Server(latency=steady(0.05), fault=outage(10, 30)), 100000,
             100000 / 256 * 0.05 + 20, 1.12, 0, 512),
]

SCENARIOS = [*BUCKETS, *OTHERS, CHANGING, *FAULTS]
__all__ = ["BUCKETS", "CHANGING", "FAULTS", "OTHERS", "SCENARIOS", "Scenario", "some"]
