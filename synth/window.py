"""Back-pressure: how many calls to one model are in flight, and how fast new ones start.

The window grows with every answer while it is full: by a place an answer where answers are slow (TCP's slow start), by
less where they are quick, since a doubling every few milliseconds only overshoots. Faults and time-outs shrink it in
proportion to their share once that share is surely more than background noise (DCTCP), by half at most (AIMD); so a
server with 5 % random faults keeps its speed, and a share that a decrease does not lower counts as noise from then on.
Refusals (429) teach the pace of new calls, see `pica.synth.pace`; where a call was refused that took the window's last
place, the window also shrinks to the company in which no call was refused, which is how a limit on calls in flight is
found. A window that met a limit rests there, twice as long each time it meets it again, then grows by a place or a
twentieth a round trip. All signs from calls that started before the last decrease are one event. Without such signs
nothing here limits in-flight calls, up to the maximum, or their rate.

Sources: RFC 5681 (slow start, additive increase, multiplicative decrease), RFC 8257 (DCTCP).
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf, sqrt

import msgspec

from pica.synth.errors import ModelError, RateLimited, UsageError
from pica.synth.pace import PAUSE, Pace

START = 32           # calls in flight at first
RAMP = 2.0           # seconds that an answer takes to add a whole place; quicker ones add less
QUICK = 0.15         # of a place, at least, that an answer adds below the last limit
STEADY = 0.05        # of a place, at least, that an answer adds beyond it
REST = 2.0           # seconds that the window rests at a limit; doubled when it meets the same one again
LONGEST = 16.0       # seconds that it rests at most
SAME = 0.2           # relative difference of limits that count as the same
NOISE = 0.1          # share of faults that is taken as background
SURE = 3.0           # standard deviations above it that are a sign of overload
FEWEST = 4           # faults that such a sign takes
SAMPLE = 100         # calls by which the share is judged, at least
OUTAGE = 0.5         # share of faults from which on the window halves, and nothing is learnt of a limit
USELESS = 0.5        # of the share before is left after a decrease that was no cure
ROOM = 1.2           # what counts as noise then, as a multiple of the share


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A call that may start.

    `started` is loop time, `number` counts all calls, `epoch` the decreases seen by then; `company` is the number of
    calls in flight, this one included, and `full` whether it took the last place.
    """

    started: float
    number: int
    epoch: int
    company: int
    full: bool


class Window:
    """Admission for one model: at most `maximum` calls at once, beginning with `start`. For one event loop.

    `size` is what is allowed in flight now, `in_flight` what is, `refusals` counts calls answered with 429.
    """

    def __init__(self, maximum: int, *, start: int = START) -> None:
        if min(maximum, start) < 1:
            raise UsageError(f"a window of {maximum} calls in flight, {start} at first; both must be 1 or more")
        self.maximum = maximum
        self.size = float(min(start, maximum))
        self.in_flight = 0
        self.refusals = 0
        self._pace = Pace()
        self._epoch = 0
        self._limit = inf
        self._settled = inf
        self._rest = REST
        self._rest_until = -inf
        self._least = 1.0
        self._company = inf
        self._shrunk = False
        self._counted = 0
        self._faults = 0.0
        self._noise = NOISE
        self._share = 0.0
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._again: deque[asyncio.Future[Ticket]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rate(self) -> float | None:
        """Calls a second that may start; None while no rate limiter was met."""
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
        if error is None:
            if self.size < self.maximum and self.in_flight >= int(self.size):
                self._grow(ticket, asyncio.get_running_loop().time())
        elif isinstance(error, RateLimited):
            self._refused(ticket, asyncio.get_running_loop().time(), error.retry_after)
        elif isinstance(error, ModelError) and error.overload:
            self._faulted(ticket, asyncio.get_running_loop().time(), error.retry_after)
        self.in_flight -= 1
        if self._waiting or self._again:
            self._wake(asyncio.get_running_loop())

    def _grow(self, ticket: Ticket, now: float) -> None:
        """A call was answered while the window was full."""
        if self.size < self._limit:
            step = min(1.0, max(QUICK, (now - ticket.started) / RAMP))
            self.size = min(self.size + step, self._limit)
        elif now > self._rest_until:
            self.size = self._limit = self.size + max(STEADY, 1 / self.size)
        self.size = min(self.size, float(self.maximum))

    def _refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        self.refusals += 1
        if self._pace.refused(ticket.started, ticket.number, now, retry_after, full=ticket.full):
            self._epoch += 1
            self._least, self._company, self._shrunk = max(1.0, self.size / 2), inf, False
        if ticket.epoch + 1 != self._epoch:
            return
        self._company = min(self._company, ticket.company - 1)
        if ticket.full and not self._shrunk:
            self._shrunk = True
            self._settle(max(self._least, min(self.size, self._company)), now)
        elif self._shrunk:
            self.size = self._limit = self._settled = max(self._least, min(self.size, self._company))

    def _faulted(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        if ticket.epoch != self._epoch:
            return
        calls, sample = self._pace.started - self._counted, max(SAMPLE, 2 * int(self.size))
        if calls > sample:  # what was counted long ago matters less
            self._faults *= sample / calls
            self._counted, calls = self._pace.started - sample, sample
            if self._faults < self._noise * sample / 2:
                self._noise = max(NOISE, self._noise / 2)
        self._faults += 1
        usual = self._noise * calls
        if self._faults >= FEWEST and self._faults > usual + SURE * sqrt(usual):
            self._overloaded(now, self._faults / max(self._faults, calls - self.in_flight / 2), retry_after)

    def _overloaded(self, now: float, share: float, retry_after: float | None) -> None:
        self._epoch += 1
        self._faults, self._counted = 0.0, self._pace.started
        if now < self._rest_until and USELESS * self._share < share < OUTAGE:
            self._noise, self._limit = ROOM * share, inf
            return
        if retry_after is not None or self.size <= 1:
            self._pace.pause(now, PAUSE if retry_after is None else retry_after)
        self._share = share
        if share < OUTAGE:
            self._settle(max(1.0, self.size * (1 - share)), now)
        else:
            self._limit = min(self._limit, self.size)
            self.size = max(1.0, self.size / 2)

    def _settle(self, size: float, now: float) -> None:
        """Rest at this size."""
        again = abs(size - self._settled) <= SAME * size
        self._rest = min(2 * self._rest, LONGEST) if again else REST
        self._rest_until = now + self._rest
        self.size = self._limit = self._settled = size

    def _admit(self, now: float) -> bool:
        if self.in_flight >= int(self.size) or not self._pace.take(now):
            return False
        self.in_flight += 1
        return True

    def _ticket(self, now: float) -> Ticket:
        company = self.in_flight
        return Ticket(now, self._pace.started, self._epoch, company, company >= int(self.size))

    def _queue(self) -> deque[asyncio.Future[Ticket]] | None:
        """The queue whose head is next; heads that gave up are dropped."""
        for queue in (self._again, self._waiting):
            while queue and queue[0].cancelled():
                queue.popleft()
            if queue:
                return queue
        return None

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while (queue := self._queue()) and self._admit(now):
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
        if self._timer is not None and self._queue() is None:
            self._timer.cancel()
            self._timer = None
