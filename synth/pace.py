"""Pace: how fast new calls to one model may start, learnt from a rate limiter's refusals (429).

A rate limiter is thought of as a token bucket: it has some calls in store and refills at a steady rate. Nothing is
paced until the first refusal. Then nothing starts until the server's `Retry-After` has passed. The first stretch of
calls bounds the rate: accepted calls a second with the pause counted are too few if the bucket overflowed in the pause,
without it too many, since the store was part of them. The first pace is the geometric mean of the two, and climbs
quickly until it is refused. Then the bucket is empty for the second time, so that the rate follows from what was
accepted in between: all of it over all of the time, pause included, or what exceeds the store over any last part of the
stretch; both are lower bounds, and the higher one is tight. A learnt pace falls by `FALL` at most at one refusal. What
the bucket saved up in the pause is used by a somewhat higher pace. After `HOLD` seconds the pace climbs, slowly at
first, since limits change; what was refused then lies above the rate, so the next pace lies between the two. A pace
that has grown far beyond what was learnt is dropped.

Calls count by the moment they start, so that slow answers do not matter.
Source of the model: token buckets as in RFC 2697; the search is TCP's slow start (RFC 5681) on a rate, not a window.
"""

from __future__ import annotations

from collections import deque
from math import exp, inf, log, sqrt

MARK = 0.25          # seconds between the moments at which the calls started so far are noted
MARKS = 40           # such notes that are kept: the memory is their product
SHORTEST = 0.02      # seconds that any part of a stretch is taken to last at least: clocks and networks are not exact
BLUR = 0.01          # seconds by which calls may arrive out of step: makes what short parts prove less
PAUSE = 1.0          # seconds, doubled while nothing is accepted, when a refusal names no time
PAUSES = 6           # such doublings at most
MARGIN = 0.97        # of an estimate from the first stretch alone
SAVED = 0.95          # of what the bucket is thought to have saved up is used
CATCH_UP = 0.3       # by which the pace is exceeded while that is used
FALL = 0.7           # of a learnt pace is kept at least: what short stretches prove is often far too low
KEPT = 0.95          # of the pace is kept when only that excess was refused
TRUST = 0.3         # of the way from the rate that is proven to the pace that was refused after it was held
SETTLE = 1.0         # seconds after that excess in which a refusal is still put down to it
HOLD = 8.0           # seconds without a refusal until the pace climbs again
CLIMB = 0.01         # growth (as a logarithm) a second at first
DOUBLING = 2.0       # seconds in which that growth doubles
FASTEST = 1.0        # growth a second at most
TOGETHER = 0.02      # seconds of the pace that may start together: timers are not exact
UNPACED = 16.0       # a pace this many times the learnt one says nothing any more

Part = tuple[int, float]  # calls accepted, and the seconds in which they were


class Stretch:
    """Calls that started between two pauses: how many by when, and how many of them were refused.

    `gap`: seconds without a start before it. `stop`, `total`: when it ended, and the calls started by then. `end`,
    `calls`: the same at the first call that was refused.
    """

    __slots__ = ("calls", "due", "end", "gap", "marks", "refused", "since", "stop", "total")

    def __init__(self, now: float, started: int, gap: float) -> None:
        self.since = now
        self.gap = gap
        self.stop = self.end = inf
        self.total = self.calls = self.refused = 0
        self.marks = deque([(now, started)], maxlen=MARKS)
        self.due = now + MARK

    def mark(self, now: float, started: int) -> None:
        """Note that so many calls had started by now."""
        self.marks.append((now, started))
        self.due = now + MARK

    def whole(self) -> list[Part]:
        """What was accepted in every last part that holds all refused calls, the longest first."""
        return [(self.total - self.refused - calls, max(SHORTEST, self.stop - at))
                for at, calls in self.marks if at <= self.end or at == self.since]

    def before(self) -> list[Part]:
        """What was accepted in every last part before the first refused call, the longest first."""
        return [(self.calls - calls, max(SHORTEST, self.end - at)) for at, calls in self.marks if at < self.end]

    def mean(self) -> float:
        """Accepted calls a second, the gap before counted; 0 if the beginning is forgotten."""
        calls, seconds = self.whole()[0]
        return calls / (seconds + self.gap) if self.marks[0][0] == self.since else 0.0


def store(first: list[Part], rate: float) -> float:
    """Calls that a limiter of this rate must have had in store to accept the first stretch."""
    return max(0.0, *(calls - rate * seconds for calls, seconds in first))


def proven(stretch: Stretch, first: list[Part]) -> float:
    """The rate that a limiter must have to accept `stretch`, given what its store gave in the first one."""
    rate = mean = stretch.mean()
    parts = stretch.whole() + stretch.before()
    for _ in range(3):  # a higher rate means a smaller store, which proves a higher rate
        kept = max(1.0, store(first, rate))
        rate = max(mean, *((calls - kept) / (seconds + BLUR) for calls, seconds in parts))
    return rate


class Pace:
    """Says whether a call may start now. `rate` is calls a second, None while nothing limits them."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.started = 0
        self.paused_until = -inf
        self._stretch: Stretch | None = None
        self._last: Stretch | None = None
        self._first: list[Part] = []
        self._learnt: float | None = None
        self._climb = CLIMB
        self._hold_until = -inf
        self._catch_up = CATCH_UP
        self._owed = 0.0
        self._least = 0.0
        self._base = 0.0
        self._probing = False
        self._caught_up = -inf
        self._tokens = 0.0
        self._refilled = 0.0
        self._short = False
        self._pauses = 0

    def take(self, now: float) -> bool:
        """Start a call now, if it may."""
        if now < self.paused_until or (self.rate is not None and not self._token(now, self.rate)):
            return False
        stretch = self._stretch or self._open(now)
        if now >= stretch.due:
            stretch.mark(now, self.started)
        self.started += 1
        return True

    def delay(self, now: float) -> float:
        """Seconds until it is worth asking again."""
        if now < self.paused_until:
            return self.paused_until - now
        return max(0.001, (1 - self._tokens) / self.rate) if self.rate else 0.001

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing for this long."""
        self.paused_until = max(self.paused_until, now + seconds)

    def refused(self, started: float, number: int, now: float, retry_after: float | None, *, full: bool) -> bool:
        """The call of this number, started then, was refused: pause and learn. Whether this is a new event.

        `full`: the window was full at its start, so that it may have been refused for the calls in flight.
        """
        event = self._stretch is not None and started >= self._stretch.since
        if event:
            self._close(now)
        self.pause(now, PAUSE * 2 ** self._pauses if retry_after is None else retry_after)
        last = self._last
        if last is not None and self._stretch is None and started >= last.since:
            last.refused += 1
            if started < last.end:
                last.end, last.calls = started, number - 1
            if full and last.stop - last.since > HOLD and self._learnt is not None:
                self._least = self._learnt  # the window alone gives way, unless it has just done so
            self._learn(last)
        return event

    def _open(self, now: float) -> Stretch:
        self._stretch = Stretch(now, self.started, now - self._last.stop if self._last else 0.0)
        return self._stretch

    def _close(self, now: float) -> None:
        nothing = self._last is not None and self._last.whole()[0][0] <= 0
        self._pauses = min(self._pauses + 1, PAUSES) if nothing else 0
        self._last, self._stretch = self._stretch, None
        assert self._last is not None
        self._last.stop, self._last.total = now, self.started
        self._learnt, self._least = self.rate, 0.0
        if self.rate is not None and not self._probing:
            self._least = FALL * self.rate
            if now < self._caught_up:
                self._least, self._catch_up = KEPT * self.rate, 0.0

    def _learn(self, stretch: Stretch) -> None:
        """The pace after a refusal; again with every further refusal of the same event."""
        pause = self.paused_until - stretch.stop
        if self._learnt is None:
            self._first, self._catch_up = stretch.whole(), CATCH_UP
            calls, seconds = self._first[0]
            rate = max(1, calls) / sqrt(seconds * (seconds + pause))
            if seconds < pause:
                self._resume(rate, 0.0, log((seconds + pause) / seconds) / 2, probing=True)
                return
            rate *= MARGIN
        else:
            rate = max(proven(stretch, self._first), self._least)
            if stretch.stop - stretch.since > HOLD:
                rate += max(0.0, self._learnt - rate) * TRUST
        rate = max(rate, 1 / max(pause, PAUSE))
        self._resume(rate, SAVED * min(store(self._first, rate), rate * pause), CLIMB, probing=False)

    def _resume(self, rate: float, owed: float, climb: float, *, probing: bool) -> None:
        begin = self._refilled = self.paused_until
        self.rate = self._base = rate
        self._owed, self._climb, self._probing = owed, min(FASTEST, climb), probing
        self._hold_until = begin if probing else begin + HOLD
        self._caught_up = begin + SETTLE + owed / (rate * self._catch_up) if self._catch_up and not probing else begin
        self._tokens, self._short = 1.0, False

    def _token(self, now: float, rate: float) -> bool:
        elapsed, self._refilled = now - self._refilled, now
        if self._short and now > self._hold_until:
            self._grow(elapsed, rate)
        extra = min(self._owed, elapsed * rate * self._catch_up)
        self._owed -= extra
        self._tokens = min(self._tokens + elapsed * rate + extra, 1 + rate * TOGETHER)
        self._short = self._tokens < 1 - 1e-9
        if not self._short:
            self._tokens -= 1
        return not self._short

    def _grow(self, elapsed: float, rate: float) -> None:
        self.rate = rate * exp(self._climb * elapsed)
        if self.rate > UNPACED * self._base:
            self.rate = None
        self._climb = min(FASTEST, self._climb * 2 ** (elapsed / DOUBLING))
