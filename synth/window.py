"""Back-pressure: how many calls to one model are in flight, and how fast new ones start."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf, sqrt

import msgspec

from pica.synth.errors import ModelError, RateLimited
from pica.synth.pace import PAUSE, Pace

START = 32           # calls in flight at first
QUICK = 0.15         # of a place, at least, that an answer adds while the window ramps up
STEADY = 0.05        # of a place, at least, that an answer adds afterwards
RAMP = 2.0           # seconds that an answer takes to add a whole place; quicker ones add less, to overshoot less
HOLD = 2.0           # seconds that the window rests at a limit it met; doubled when it meets it again
LONGEST = 16.0       # seconds that it rests at most
SAME = 0.2           # relative difference of limits that count as the same
NOISE = 0.1          # share of faults that is taken as background
SURE = 3.0           # standard deviations above it that count as a sign of overload
FEWEST = 4           # faults that a sign of overload takes
SAMPLE = 100         # calls by which the share of faults is judged, at least


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A call that may start. `started` is loop time, `epoch` counts the decreases seen by then."""

    started: float
    epoch: int
    rank: int
    full: bool
    number: int


class Window:
    """Admission for one model: at most `maximum` calls at once, starting with `start`."""

    def __init__(self, maximum: int, *, start: int = START) -> None:
        self.maximum = maximum
        self.size = float(min(start, maximum))
        self.in_flight = 0
        self.refusals = 0
        self._pace = Pace()
        self._ceiling = inf
        self._hold_until = -inf
        self._hold = HOLD
        self._floor = 1.0
        self._room = inf
        self._blamed = False
        self._epoch = 0
        self._calls = 0
        self._faults = 0
        self._noise = NOISE
        self._share = 0.0
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._again: deque[asyncio.Future[Ticket]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rate(self) -> float | None:
        """Calls a second that may start; None while no limiter was met."""
        return self._pace.rate

    async def enter(self, *, first: bool = False) -> Ticket:
        """Wait until a call may start; `first` for a repeated call, which goes before the others."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiting and not self._again and self._admit(now):
            return self._ticket(now)
        turn: asyncio.Future[Ticket] = loop.create_future()
        (self._again if first else self._waiting).append(turn)
        self._wake(loop)
        try:
            return await turn
        except asyncio.CancelledError:
            self._withdraw(turn, loop)
            raise

    def leave(self, ticket: Ticket, error: BaseException | None = None) -> None:
        """The call of `ticket` ended, with this error if it failed."""
        loop = asyncio.get_running_loop()
        full = self.in_flight >= int(self.size)
        self.in_flight -= 1
        if error is None:
            self._answered(ticket, loop, full)
        elif isinstance(error, RateLimited):
            self._refused(ticket, loop.time(), error.retry_after)
        elif isinstance(error, ModelError) and error.overload:
            self._faulted(ticket, loop.time(), error.retry_after)
        if self._waiting or self._again:
            self._wake(loop)

    def _answered(self, ticket: Ticket, loop: asyncio.AbstractEventLoop, full: bool) -> None:
        if ticket.epoch == self._epoch:
            self._calls += 1
            if self._calls > SAMPLE and self._calls > 2 * self.size:
                self._calls, self._faults = self._calls // 2, self._faults // 2
        if full and self.size < self.maximum:
            now = loop.time()
            self._grow(now, now - ticket.started)

    def _grow(self, now: float, latency: float) -> None:
        if self.size < self._ceiling:
            self.size = min(self.size + min(1.0, max(QUICK, latency / RAMP)), self._ceiling)
        elif now > self._hold_until:
            self.size += max(STEADY, 1 / self.size)
            self._ceiling = self.size
        self.size = min(self.size, float(self.maximum))

    def _refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        self.refusals += 1
        if self._pace.refused(ticket.started, ticket.number, now, retry_after, full=ticket.full):
            self._epoch += 1
            self._floor, self._room, self._blamed = self.size / 2, inf, False
        if ticket.epoch + 1 != self._epoch:
            return
        self._room = min(self._room, ticket.rank - 1)
        if ticket.full and not self._blamed:
            self._blamed = True
            self._limit(self.size, now)
        if self._blamed:
            self.size = self._ceiling = max(1.0, self._floor, min(self.size, self._room))

    def _limit(self, size: float, now: float) -> None:
        """Hold the window at this size, and longer if it is the limit that was met before."""
        again = abs(size - self._ceiling) <= SAME * size
        self._hold = min(2 * self._hold, LONGEST) if again else HOLD
        self._hold_until = now + self._hold
        self.size = self._ceiling = size

    def _faulted(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        if ticket.epoch != self._epoch:
            return
        self._calls += 1
        self._faults += 1
        usual = self._noise * self._calls
        if self._faults >= FEWEST and self._faults > usual + SURE * sqrt(usual):
            self._overloaded(now, self._faults / self._calls, retry_after)

    def _overloaded(self, now: float, share: float, retry_after: float | None) -> None:
        self._calls = self._faults = 0
        self._epoch += 1
        if now < self._hold_until and share < 0.5 and share > 0.7 * self._share:  # the last decrease was no cure
            self._noise, self._ceiling = 1.2 * share, inf
            return
        if self.size <= 1:
            self._pace.pause(now, PAUSE if retry_after is None else retry_after)
        self._share = share
        if share < 0.5:
            self._limit(max(1.0, self.size * (1 - share)), now)
        else:
            self._ceiling = min(self._ceiling, self.size)
            self.size = max(1.0, self.size / 2)

    def _admit(self, now: float) -> bool:
        if self.in_flight >= int(self.size) or not self._pace.take(now):
            return False
        self.in_flight += 1
        return True

    def _ticket(self, now: float) -> Ticket:
        rank = self.in_flight
        return Ticket(now, self._epoch, rank, rank >= int(self.size), self._pace.started)

    def _next(self) -> deque[asyncio.Future[Ticket]] | None:
        """The queue whose head is next; those who gave up are dropped."""
        for queue in (self._again, self._waiting):
            while queue and queue[0].cancelled():
                queue.popleft()
            if queue:
                return queue
        return None

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while (queue := self._next()) and self._admit(now):
            queue.popleft().set_result(self._ticket(now))
        if queue and self._timer is None and self.in_flight < int(self.size):
            self._timer = loop.call_later(self._pace.delay(now), self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._wake(loop)

    def _withdraw(self, turn: asyncio.Future[Ticket], loop: asyncio.AbstractEventLoop) -> None:
        if not turn.cancelled():  # admitted in the same moment: hand the place on
            self.in_flight -= 1
            self._wake(loop)
        if self._next() is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None
