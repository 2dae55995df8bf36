"""Back-pressure: how many calls to one model are in flight, and how fast new ones start.

The window grows by one with every answer until the first sign of overload (slow start), then by one a round trip
(additive increase). A refusal (429) halves it; faults and time-outs shrink it in proportion to their share once that
share is no longer background noise (as DCTCP does with marks), so that a server with 5 % random faults keeps its speed.
All signs that belong to calls started before the last decrease count as one.

A rate limit is not a window: after a refusal no call starts before the server's `Retry-After` has passed, and the rate
that the server accepted since the last refusal, pause included, becomes the pace of new calls. What a token bucket
saved up during the pause is used by a pace somewhat above that until it is used up, and less so each time that this is
refused (a server without a bucket saves nothing). The pace then climbs, ever faster, towards the pace that was last
refused, and rests just below it. Without refusals there is no pace: nothing here caps the rate of a server that does not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from math import inf

from pica.synth.errors import ModelError, RateLimited

START = 32           # calls in flight at first
GROWTH = 0.5         # of a place, for every answer during slow start
NOISE = 0.1          # share of faults that is taken as background
PAUSE = 1.0          # seconds, doubled with every further refusal, when a refusal names no time
PACE = 0.97          # of the rate that the server accepted: leaves room for clocks that differ
CATCH_UP = 0.25      # by which the pace is exceeded after a pause; halved when that is refused
CLIMB = 0.02         # growth of the pace in the first second after that; doubles every second
NEAR = 0.95          # of the pace that was refused: where climbing ends
SUSTAINED = 3.0      # seconds at a pace until it counts as accepted
BURST = 0.02         # seconds of the pace that may start together: timers are not exact
FORGET = 30.0        # seconds without a refusal until the refused pace is tried again
UNPACED = 4.0        # a pace that grew this much since, without a refusal, says nothing any more


@dataclass(slots=True)
class Ticket:
    """A call that may start. `started` is loop time, `epoch` counts the decreases seen by then."""

    started: float
    epoch: int


class Window:
    """Admission for one model: at most `maximum` calls at once, starting with `start`."""

    def __init__(self, maximum: int, *, start: int = START) -> None:
        self.maximum = maximum
        self.size = float(min(start, maximum))
        self.in_flight = 0
        self.refusals = 0
        self.rate: float | None = None
        self._threshold = float(maximum)
        self._epoch = 0
        self._faults = 0.0
        self._paused_until = 0.0
        self._pauses = 0
        self._refused_rate = inf
        self._held = 0.0
        self._last_rate = 0.0
        self._climb = CLIMB
        self._catch_up = CATCH_UP
        self._owed = 0.0
        self._tokens = 0.0
        self._refilled = 0.0
        self._since = 0.0
        self._answers = 0
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, *, first: bool = False) -> Ticket:
        """Wait until a call may start; `first` for a repeated call, which goes before the others."""
        loop = asyncio.get_running_loop()
        if self._waiting or not self._admit(loop.time()):
            turn: asyncio.Future[Ticket] = loop.create_future()
            (self._waiting.appendleft if first else self._waiting.append)(turn)
            self._wake()
            try:
                return await turn
            except asyncio.CancelledError:
                self._withdraw(turn)
                raise
        return Ticket(loop.time(), self._epoch)

    def leave(self, ticket: Ticket, error: BaseException | None = None) -> None:
        """The call of `ticket` ended, with this error if it failed."""
        now = asyncio.get_running_loop().time()
        self.in_flight -= 1
        if error is None:
            self._succeeded(now)
        elif isinstance(error, RateLimited):
            self._refused(ticket, now, error.retry_after)
        elif isinstance(error, ModelError) and error.overload:
            self._faulted(ticket)
        self._wake()

    def _succeeded(self, now: float) -> None:
        self._answers += 1
        self._faults *= 1 - 1 / max(16.0, self.size)
        if self.size < self.maximum:
            self.size = min(float(self.maximum), self.size + (GROWTH if self.size < self._threshold else 1 / self.size))
        self._pauses = 0 if now > self._paused_until + PAUSE else self._pauses

    def _refused(self, ticket: Ticket, now: float, retry_after: float | None) -> None:
        self.refusals += 1
        if ticket.epoch == self._epoch:
            self._decrease(0.5 if self.rate is None else 1.0)  # once there is a pace, the pace decides
            self._measure(now)
            self._pauses += 1
        pause = retry_after if retry_after is not None else PAUSE * 2 ** min(self._pauses - 1, 6)
        self._paused_until = max(self._paused_until, now + pause)
        assert self.rate is not None
        self._refilled = self._paused_until
        self._owed = self.rate * (self._paused_until - self._since)

    def _faulted(self, ticket: Ticket) -> None:
        self._faults += (1 - self._faults) / max(16.0, self.size)
        if ticket.epoch == self._epoch and self._faults > NOISE:
            self._decrease(1 - self._faults / 2)

    def _decrease(self, factor: float) -> None:
        self._epoch += 1
        self.size = max(1.0, self.size * factor)
        self._threshold = self.size

    def _measure(self, now: float) -> None:
        """Learn the pace from what was accepted since the last refusal, pause included."""
        elapsed = max(now - self._since, 1e-3)
        sustained = now - max(self._since, self._paused_until) > SUSTAINED
        accepted = max(PACE * self._answers / elapsed, self._held, 0.1)
        if self.rate is not None:
            if self._owed >= 1:
                self._catch_up /= 2
            else:
                self._refused_rate = self.rate
                self._held = NEAR * (self.rate if sustained else self._held)
                accepted = max(accepted, self._held)
        self.rate = self._last_rate = accepted
        self._climb = CLIMB
        self._refilled, self._tokens, self._owed = now, 0.0, 0.0
        self._since, self._answers = now, 0

    def _admit(self, now: float) -> bool:
        if self.in_flight >= int(self.size) or now < self._paused_until or not self._take(now):
            return False
        self._since = self._since or now
        self.in_flight += 1
        return True

    def _take(self, now: float) -> bool:
        if self.rate is None:
            return True
        elapsed, self._refilled = now - self._refilled, now
        extra = min(self._owed, elapsed * self.rate * self._catch_up)
        self._owed -= extra
        self._tokens = min(self._tokens + elapsed * self.rate + extra, max(1.0, self.rate * BURST))
        if self._owed < 1:
            self._grow(now, elapsed)
        if self._tokens < 1 and self.rate is not None:
            return False
        self._tokens -= 1
        return True

    def _grow(self, now: float, elapsed: float) -> None:
        assert self.rate is not None
        if self._refused_rate < inf and now - self._since > FORGET:
            self._refused_rate, self._climb = inf, CLIMB
        if self.rate < NEAR * self._refused_rate:
            self.rate *= (1 + self._climb) ** elapsed
            self._climb = min(1.0, self._climb * 2 ** elapsed)
        if self.rate > UNPACED * max(self._last_rate, self._held) and now - self._since > FORGET:
            self.rate = None

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._admit(loop.time()):
            turn = self._waiting.popleft()
            if turn.cancelled():
                self.in_flight -= 1
            else:
                turn.set_result(Ticket(loop.time(), self._epoch))
        if self._waiting and self._timer is None and self.in_flight < int(self.size):
            self._timer = loop.call_later(self._delay(loop.time()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._wake()

    def _delay(self, now: float) -> float:
        if now < self._paused_until:
            return self._paused_until - now
        return max(0.001, (1 - self._tokens) / self.rate) if self.rate else 0.001

    def _withdraw(self, turn: asyncio.Future[Ticket]) -> None:
        if turn.done() and not turn.cancelled():
            self.in_flight -= 1  # admitted in the same moment: hand the place on
            self._wake()
        elif turn in self._waiting:
            self._waiting.remove(turn)
