"""Pace: how fast new calls to one model may start, learnt from a rate limiter's refusals (429).

A rate limiter is thought of as a token bucket: it holds some calls in store and refills at a steady rate. Nothing is
paced until the first refusal. Then nothing starts until the server's `Retry-After` has passed, and the first pace is
the geometric mean of the two bounds that the first stretch of calls gives: accepted calls a second with the pause
counted (too low if the bucket overflowed while nothing was sent), and without it (too high, since the store was part of
it). The pace doubles about once a second until it is refused again. At that moment the bucket is empty for the second
time, so that the rate follows from what was accepted in between: all of it over all of the time, pause included, or
what exceeds the store over any last part of the stretch, whichever is more; both are lower bounds, and one of them is
tight. What the bucket saved up during the pause is used up by a somewhat higher pace. After `HOLD` seconds the pace
climbs again, slowly at first, since limits change; it stops being kept once it has grown far beyond what was learnt.

Calls count by the moment they start, and as accepted until they are refused, so that slow answers do not matter.
Source of the model: token buckets as in RFC 2697; the search is TCP's slow start (RFC 5681) on a rate, not a window.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt

SLOT = 0.25          # seconds for which starts are counted together
MEMORY = 40          # slots that are remembered
PAUSE = 1.0          # seconds, doubled while nothing is accepted, when a refusal names no time
PAUSES = 6           # such doublings at most
MARGIN = 0.98        # of the learnt rate: clocks differ
SAVED = 0.9          # of what the bucket is thought to have saved up is used
CATCH_UP = 0.3       # by which the pace is exceeded while that is used
HOLD = 10.0          # seconds without a refusal until the pace climbs again
CLIMB = 0.02         # growth (as a logarithm) in the first second after that; doubles every second
FASTEST = 1.0        # growth a second at most
TOGETHER = 0.02      # seconds of the pace that may start together: timers are not exact
UNPACED = 8.0        # a pace this many times the learnt one says nothing any more


class Stretch:
    """Calls that started between two pauses and were not refused, counted in slots of `SLOT` seconds.

    `since`: when the first of them started; `gap`: seconds since the stretch before; `stop`: when a refusal ended it.
    """

    __slots__ = ("_forgot", "_slots", "gap", "since", "stop")

    def __init__(self, since: float, gap: float) -> None:
        self.since = since
        self.gap = gap
        self.stop = since
        self._slots: dict[int, int] = {}
        self._forgot = False

    def add(self, now: float) -> None:
        """A call started."""
        slot = int((now - self.since) / SLOT)
        slots = self._slots
        if slot in slots:
            slots[slot] += 1
            return
        slots[slot] = 1
        if len(slots) > MEMORY:
            del slots[next(iter(slots))]
            self._forgot = True

    def remove(self, started: float) -> None:
        """A call that started then was refused, or did not start after all."""
        slot = int((started - self.since) / SLOT)
        if self._slots.get(slot, 0) > 0:
            self._slots[slot] -= 1

    def parts(self) -> list[tuple[int, float]]:
        """(calls accepted, seconds) of every last part of the stretch, the shortest first."""
        calls, parts = 0, []
        for slot in reversed(self._slots):
            calls += self._slots[slot]
            parts.append((calls, max(SLOT, self.stop - self.since - slot * SLOT)))
        return parts

    def accepted(self) -> int:
        """Calls that are remembered."""
        return sum(self._slots.values())

    def mean(self) -> float:
        """Calls a second, the gap before counted; 0 if the stretch is too long for the gap to matter."""
        return 0.0 if self._forgot else self.accepted() / max(SLOT, self.stop - self.since + self.gap)


def store(first: list[tuple[int, float]], rate: float) -> float:
    """Calls that a limiter of this rate must have had in store to accept the first stretch."""
    return max((calls - rate * seconds for calls, seconds in first), default=0.0)


def proven(stretch: Stretch, first: list[tuple[int, float]]) -> float:
    """The rate that a limiter must have to accept `stretch`, given what its store gave in the first one."""
    rate = mean = stretch.mean()
    for _ in range(3):  # a higher rate means a smaller store, which proves a higher rate
        kept = max(1.0, store(first, rate))
        rate = max(mean, *((calls - kept) / seconds for calls, seconds in stretch.parts()))
    return rate


class Pace:
    """Says whether a call may start now. `rate` is calls a second, None while nothing limits them."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.paused_until = -inf
        self._stretch: Stretch | None = None
        self._last: Stretch | None = None
        self._first: list[tuple[int, float]] = []
        self._learnt: float | None = None
        self._climb = CLIMB
        self._hold_until = -inf
        self._owed = 0.0
        self._tokens = 0.0
        self._refilled = 0.0
        self._short = False
        self._pauses = 0

    def take(self, now: float) -> bool:
        """Start a call now, if it may."""
        if now < self.paused_until or (self.rate is not None and not self._token(now, self.rate)):
            return False
        (self._stretch or self._open(now)).add(now)
        return True

    def undo(self, started: float) -> None:
        """A call that was allowed to start did not."""
        if self._stretch is not None:
            self._stretch.remove(started)

    def delay(self, now: float) -> float:
        """Seconds until it is worth asking again."""
        if now < self.paused_until:
            return self.paused_until - now
        return max(0.001, (1 - self._tokens) / self.rate) if self.rate else 0.001

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing for this long."""
        self.paused_until = max(self.paused_until, now + seconds)

    def refused(self, started: float, now: float, retry_after: float | None) -> bool:
        """A call that started then was refused: pause and learn. Whether this is a new event."""
        event = self._stretch is not None and started >= self._stretch.since
        if event:
            self._close(now)
        if self._last is not None:
            self._last.remove(started)
        self.pause(now, PAUSE * 2 ** self._pauses if retry_after is None else retry_after)
        if self._last is not None and self._stretch is None:
            self._learn(self._last)
        return event

    def _open(self, now: float) -> Stretch:
        self._stretch = Stretch(now, now - self._last.stop if self._last else 0.0)
        return self._stretch

    def _close(self, now: float) -> None:
        nothing = self._last is not None and self._last.accepted() == 0
        self._pauses = min(self._pauses + 1, PAUSES) if nothing else 0
        self._last, self._stretch = self._stretch, None
        assert self._last is not None
        self._last.stop = now
        if self.rate is None:
            self._first = []
        self._learnt = self.rate

    def _learn(self, stretch: Stretch) -> None:
        pause = self.paused_until - stretch.stop
        if self._learnt is None:
            self._probe(stretch, pause)
        else:
            rate = max(proven(stretch, self._first), 1 / max(pause, PAUSE))
            self.rate = MARGIN * rate
            self._owed = SAVED * min(max(0.0, store(self._first, rate)), rate * pause)
            self._climb = CLIMB
            self._hold_until = self.paused_until + HOLD
        self._tokens, self._refilled, self._short = 1.0, self.paused_until, False

    def _probe(self, stretch: Stretch, pause: float) -> None:
        """The pace after the first refusal, and how fast it climbs."""
        self._first = stretch.parts()
        calls, seconds = self._first[-1]
        whole = seconds + pause
        self.rate = max(1, calls) / sqrt(seconds * whole)
        self._climb = min(FASTEST, log(whole / seconds) / 2)
        self._hold_until = self.paused_until

    def _token(self, now: float, rate: float) -> bool:
        elapsed, self._refilled = now - self._refilled, now
        if self._short and now > self._hold_until:
            self._grow(elapsed, rate)
        extra = min(self._owed, elapsed * rate * CATCH_UP)
        self._owed -= extra
        self._tokens = min(self._tokens + elapsed * rate + extra, 1 + rate * TOGETHER)
        self._short = self._tokens < 1 - 1e-9
        if not self._short:
            self._tokens -= 1
        return not self._short

    def _grow(self, elapsed: float, rate: float) -> None:
        self.rate = rate * exp(self._climb * elapsed)
        self._climb = min(FASTEST, self._climb * 2 ** elapsed)
