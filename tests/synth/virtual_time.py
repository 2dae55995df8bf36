"""An asyncio loop whose clock jumps to the next timer, and servers with every kind of limit, for use with it.

Hours of traffic take seconds and come out the same each time, so that times and counts can be compared exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pica.synth.errors import ModelError, RateLimited, ServerFault
from pica.synth.window import Window

T = TypeVar("T")
START = 1000.0  # the clock does not begin at 0, as no machine's does

Latency = Callable[[random.Random], float]
Fault = Callable[[float, int, random.Random], bool]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can run, and jumps to the next timer when nothing can."""

    def __init__(self) -> None:
        super().__init__()
        self._now = START

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            if not self._scheduled:  # type: ignore[attr-defined]
                raise RuntimeError("everybody waits and no timer is set: a wake-up was lost")
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]

    def timers(self) -> int:
        """Timers that are still to fire."""
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]


def virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


class Limit(Protocol):
    """Whether a request that arrives now is served; `busy` counts requests being served, this one included."""

    def allows(self, now: float, busy: int) -> bool: ...


class NoLimit:
    """Serves everything."""

    def allows(self, now: float, busy: int) -> bool:
        return True


class TokenBucket:
    """Holds up to `burst` tokens, refilled at `rate` a second; every request takes one."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.at = burst, START

    def allows(self, now: float, busy: int) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        allowed = self.tokens >= 1
        self.tokens -= allowed
        return allowed


class FixedWindow:
    """`count` requests in every `seconds` of the clock."""

    def __init__(self, count: int, seconds: float = 1.0) -> None:
        self.count, self.seconds = count, seconds
        self.window, self.used = -1, 0

    def allows(self, now: float, busy: int) -> bool:
        if (window := int(now // self.seconds)) != self.window:
            self.window, self.used = window, 0
        self.used += 1
        return self.used <= self.count


class SlidingWindow:
    """`count` requests in any `seconds`, refused ones included."""

    def __init__(self, count: int, seconds: float = 1.0) -> None:
        self.count, self.seconds = count, seconds
        self.seen: deque[float] = deque()

    def allows(self, now: float, busy: int) -> bool:
        while self.seen and self.seen[0] <= now - self.seconds:
            self.seen.popleft()
        self.seen.append(now)
        return len(self.seen) <= self.count


class Concurrent:
    """`count` requests at a time."""

    def __init__(self, count: int) -> None:
        self.count = count

    def allows(self, now: float, busy: int) -> bool:
        return busy <= self.count


class Changing:
    """A token bucket whose rate is `rates[i]` from second `times[i]` on."""

    def __init__(self, times: list[float], rates: list[float], burst: float) -> None:
        self.times, self.rates = times, rates
        self.bucket = TokenBucket(rates[0], burst)

    def allows(self, now: float, busy: int) -> bool:
        allowed = self.bucket.allows(now, busy)
        self.bucket.rate = [rate for time, rate in zip(self.times, self.rates, strict=True) if now >= START + time][-1]
        return allowed


def steady(seconds: float) -> Latency:
    """Every answer takes this long."""
    return lambda _: seconds


def uniform(low: float, high: float) -> Latency:
    """Every answer takes between `low` and `high` seconds."""
    return lambda rng: rng.uniform(low, high)


def never(now: float, busy: int, rng: random.Random) -> bool:
    """No fault."""
    return False


@dataclass
class Server:
    """Answers after `latency` seconds, refuses beyond `limit`, and fails as `fault` says (of time, busy, dice).

    The limiter sees a request after 5 ms and answers refusals 5 ms later (`at_once`), or sees it when its latency has
    passed. `early` counts requests that started before the time that a refusal named.
    """

    limit: Limit = field(default_factory=NoLimit)
    latency: Latency = steady(0.05)  # noqa: RUF009
    retry_after: float | None = None
    fault: Fault = never
    at_once: bool = False
    seed: int = 0
    busy: int = 0
    most: int = 0
    early: int = 0
    refused: int = 0
    faults: int = 0
    closed_at: float = 0.0
    closed_until: float = 0.0
    served: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    async def call(self) -> None:
        """One request. Raises what a provider raises."""
        loop = asyncio.get_running_loop()
        self.early += self.closed_at < loop.time() < self.closed_until
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await self._serve(loop, self.latency(self.rng))
        finally:
            self.busy -= 1
        self.served.append(loop.time() - START)

    def close(self, now: float, retry_after: float | None) -> None:
        """A refusal that asks for this pause has reached the client."""
        if retry_after is not None and now + retry_after > self.closed_until:
            self.closed_at = self.closed_at if now < self.closed_until else now
            self.closed_until = now + retry_after

    async def _serve(self, loop: asyncio.AbstractEventLoop, latency: float) -> None:
        busy = self.busy
        await asyncio.sleep(0.005 if self.at_once else latency)
        if not self.limit.allows(loop.time(), busy):
            self.refused += 1
            if self.at_once:
                await asyncio.sleep(0.005)
            raise RateLimited("too many requests", retry_after=self.retry_after)
        if self.fault(loop.time(), busy, self.rng):
            self.faults += 1
            raise ServerFault("internal error")
        if self.at_once:
            await asyncio.sleep(latency)


@dataclass(frozen=True)
class Outcome:
    """What a run took: seconds, calls refused and failed, calls too early, most calls at once, and what is left."""

    seconds: float
    refused: int
    faults: int
    early: int
    most: int
    window: Window
    server: Server
    timers: int

    def speed(self, begin: float, end: float) -> float:
        """Calls answered a second between two seconds of the run."""
        return sum(begin <= at < end for at in self.server.served) / (end - begin)


async def _row(window: Window, server: Server, rng: random.Random) -> None:
    attempt = 0
    while True:
        ticket = await window.enter(first=attempt > 0)
        try:
            await server.call()
        except ModelError as error:
            server.close(asyncio.get_running_loop().time(), error.retry_after)
            window.leave(ticket, error)
            backoff = min(8.0, 0.1 * 2**attempt) * rng.uniform(0.5, 1)
            attempt += 1
            await asyncio.sleep(max(error.retry_after or 0, backoff))
        else:
            window.leave(ticket)
            return


async def _drive(server: Server, rows: int, workers: int, maximum: int) -> Outcome:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    window, rng, todo = Window(maximum), random.Random(server.seed + 1), iter(range(rows))

    async def worker() -> None:
        for _ in todo:
            await _row(window, server, rng)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return Outcome(loop.time() - START, server.refused, server.faults, server.early, server.most, window, server,
                   loop.timers())


def drive(server: Server, rows: int, workers: int = 256, maximum: int = 256) -> Outcome:
    """Answer `rows` rows with that many workers, each repeating a call until it is answered."""
    return virtually(_drive(server, rows, workers, maximum))
