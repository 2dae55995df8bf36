"""The window in virtual time: how closely it meets limits, and that no caller is lost, doubled or out of turn."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limiter_scenarios import BUCKETS, CHANGING, FAULTS, OTHERS, SCENARIOS, Scenario, some
from virtual_time import START, Changing, Server, VirtualLoop, drive, steady, virtually

from pica.synth.errors import BadRequest, ModelError, RateLimited, ServerFault, TimedOut, Unreachable, UsageError
from pica.synth.window import Ticket, Window


def named(scenarios: list[Scenario]) -> list[object]:
    return [pytest.param(scenario, id=scenario.name) for scenario in scenarios]


def by_name(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@pytest.mark.parametrize("scenario", named([*BUCKETS, *OTHERS]))
def test_a_limiter_is_met_closely_with_few_refusals(scenario: Scenario) -> None:
    done = scenario.run()
    assert len(done.server.served) == scenario.rows
    assert done.seconds / scenario.ideal <= scenario.ratio
    assert 0 < done.refused <= scenario.refused
    assert done.refused == done.window.refusals
    assert (done.early, done.timers, done.window.in_flight) == (0, 0, 0)


@pytest.mark.parametrize("scenario", named(FAULTS))
def test_faults_and_stragglers_cost_no_more_than_they_must(scenario: Scenario) -> None:
    done = scenario.run()
    assert len(done.server.served) == scenario.rows
    assert done.seconds / scenario.ideal <= scenario.ratio
    assert (done.refused, done.window.rate, done.timers, done.window.in_flight) == (0, None, 0, 0)


def test_a_limit_that_changes_is_found_again() -> None:
    done = CHANGING.run()
    assert done.seconds / CHANGING.ideal <= CHANGING.ratio
    assert done.refused <= CHANGING.refused
    assert 85 <= done.speed(15, 30) <= 110
    assert 240 <= done.speed(55, 90) <= 310  # 25 s after the rise
    assert 85 <= done.speed(95, 110) <= 110  # 5 s after the fall


def test_a_limit_that_is_lifted_is_forgotten() -> None:
    done = drive(Server(Changing([0, 20], [100, 1e6], 100), retry_after=1), 60000)
    assert done.window.rate is None
    assert done.window.size == 256


@pytest.mark.parametrize("name", ["20 in flight", "20 in flight, answers in 20 to 120 ms",
                                  "20 in flight, no Retry-After"])
def test_a_limit_on_calls_in_flight_is_found(name: str) -> None:
    done = by_name(name).run()
    assert 19 <= done.window.size < 22
    assert done.most <= 32


@pytest.mark.parametrize("name", ["faults beyond 40 in flight", "the same, answers in 20 to 120 ms"])
def test_an_overloaded_server_is_held_just_below_its_limit(name: str) -> None:
    scenario = next(s for s in FAULTS if s.name == name)
    done = scenario.run()
    assert 30 <= done.window.size <= 60
    assert done.most <= 80
    assert done.faults < 0.03 * scenario.rows


def test_random_faults_leave_the_window_open() -> None:
    done = drive(Server(fault=some(0.05)), 30000, 512)
    assert done.window.size == 256
    clean = drive(Server(), 30000, 512)
    made = (done.speed(2, 5)) / 0.95  # answered, of the calls that were made
    assert made >= 0.98 * clean.speed(2, 5)


def test_an_outage_is_neither_stormed_nor_outlasted() -> None:
    done = by_name("out from second 10 to 30").run()
    assert done.faults < 1500  # of the 100,000 that 20 s of full speed would make
    assert done.speed(35, 40) >= 0.9 * done.speed(5, 10)


def test_nothing_is_limited_without_signs() -> None:
    done = drive(Server(latency=steady(2.0)), 20000, 4000, 4000)
    assert done.most == 4000
    assert done.speed(18, 20) >= 1900  # 4,000 in flight after seven doublings of 32


def test_retry_after_is_obeyed_to_the_second() -> None:
    async def main() -> float:
        window = Window(8)
        window.leave(await window.enter(), RateLimited("slow down", retry_after=7.5))
        await window.enter()
        return asyncio.get_running_loop().time() - START

    assert virtually(main()) == pytest.approx(7.5, abs=0.002)


def test_pauses_double_while_a_server_names_none_and_accepts_nothing() -> None:
    async def main() -> list[float]:
        window, times = Window(8), []
        for _ in range(6):
            ticket = await window.enter()
            times.append(ticket.started)
            window.leave(ticket, RateLimited("no"))
        return [after - before for before, after in pairwise(times)]

    pauses = virtually(main())
    assert pauses[0] == pytest.approx(1, abs=0.01)
    assert pauses[-1] == pytest.approx(16, abs=0.01)


def test_signs_from_before_a_decrease_are_one_event() -> None:
    async def main() -> tuple[float, float]:
        window = Window(100, start=100)
        tickets = [await window.enter() for _ in range(100)]
        for ticket in tickets[:60]:
            window.leave(ticket, TimedOut("late"))
        once = window.size
        for ticket in tickets[60:]:
            window.leave(ticket, TimedOut("later"))
        return once, window.size

    once, after = virtually(main())
    assert 50 <= once < 100
    assert after == once


@pytest.mark.parametrize("error", [BadRequest("too long"), Unreachable("gone"), ValueError("ours"),
                                   asyncio.CancelledError()])
def test_other_errors_are_no_sign_of_overload(error: BaseException) -> None:
    async def main() -> Window:
        window = Window(64)
        for _ in range(200):
            window.leave(await window.enter(), error)
        return window

    window = virtually(main())
    assert (window.size, window.rate, window.in_flight) == (32, None, 0)


def test_windows_are_independent() -> None:
    async def main() -> tuple[float, float | None]:
        one, other = Window(8), Window(8)
        one.leave(await one.enter(), RateLimited("no", retry_after=100))
        ticket = await other.enter()
        return ticket.started - START, other.rate

    assert virtually(main()) == (0, None)


@pytest.mark.parametrize(("maximum", "start"), [(0, 1), (-1, 1), (4, 0)])
def test_an_empty_window_is_refused(maximum: int, start: int) -> None:
    with pytest.raises(UsageError, match="must be 1 or more"):
        Window(maximum, start=start)


async def fill(window: Window) -> list[Ticket]:
    return [await window.enter() for _ in range(int(window.size))]


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_order_is_first_come_and_repeats_go_first() -> None:
    async def main() -> list[str]:
        window, order = Window(1, start=1), []
        held = await fill(window)

        async def caller(name: str, first: bool) -> None:
            ticket = await window.enter(first=first)
            order.append(name)
            window.leave(ticket)

        names = [("a", False), ("b", False), ("r1", True), ("c", False), ("r2", True)]
        tasks = [asyncio.create_task(caller(name, first)) for name, first in names]
        await turn()
        window.leave(held[0])
        await asyncio.gather(*tasks)
        return order

    assert virtually(main()) == ["r1", "r2", "a", "b", "c"]


def test_a_waiter_that_is_cancelled_as_it_is_admitted_hands_its_place_on() -> None:
    async def main() -> int:
        window = Window(1, start=1)
        held = await fill(window)
        first, second = (asyncio.create_task(window.enter()) for _ in range(2))
        await turn()
        window.leave(held[0])
        first.cancel()
        ticket = await asyncio.wait_for(second, 1)
        assert first.cancelled()
        window.leave(ticket)
        return window.in_flight

    assert virtually(main()) == 0


def test_no_timer_stays_when_nothing_waits() -> None:
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        window = Window(4)
        window.leave(await window.enter(), RateLimited("no", retry_after=60))
        waiting = [asyncio.create_task(window.enter()) for _ in range(3)]
        await turn()
        armed = loop.timers()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return armed, loop.timers()

    assert virtually(main()) == (1, 0)


def test_it_works_on_the_ordinary_loop() -> None:
    async def main() -> int:
        window = Window(4)
        window.leave(await window.enter(), RateLimited("no", retry_after=0.02))

        async def call() -> None:
            window.leave(await window.enter())

        await asyncio.gather(*(call() for _ in range(10)))
        return window.in_flight

    assert asyncio.run(main()) == 0


ERRORS: list[ModelError | None] = [None, None, None, RateLimited("r", retry_after=0.5), RateLimited("r"),
                                   ServerFault("f"), ServerFault("f", retry_after=0.3), TimedOut("t"), BadRequest("b")]
STEP = st.one_of(
    st.tuples(st.just("enter"), st.booleans()),
    st.tuples(st.just("leave"), st.integers(0, 99), st.sampled_from(range(len(ERRORS)))),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.001, 0.05, 1.0, 10.0])),
)


class Callers:
    """Random callers of one window, with what must hold after every step."""

    def __init__(self) -> None:
        self.window = Window(6, start=3)
        self.tasks: list[tuple[asyncio.Task[Ticket], bool]] = []
        self.inside: list[Ticket] = []

    def collect(self) -> None:
        """Move the callers that were admitted inside; those who came first in their queue must be those."""
        for again in (True, False):
            done = [task.done() for task, first in self.tasks if first == again and not task.cancelled()]
            assert done == sorted(done, reverse=True), "out of turn"
        self.inside += [task.result() for task, _ in self.tasks if task.done() and not task.cancelled()]
        self.tasks = [(task, first) for task, first in self.tasks if not task.done()]
        assert self.window.in_flight == len(self.inside)
        assert 1 <= self.window.size <= self.window.maximum

    async def step(self, kind: str, *values: int) -> None:
        if kind == "enter":
            self.tasks.append((asyncio.create_task(self.window.enter(first=bool(values[0]))), bool(values[0])))
        elif kind == "leave" and self.inside:
            self.window.leave(self.inside.pop(values[0] % len(self.inside)), ERRORS[values[1]])
        elif kind == "cancel" and self.tasks:
            self.tasks[values[0] % len(self.tasks)][0].cancel()
        elif kind == "sleep":
            await asyncio.sleep(values[0])

    async def finish(self) -> None:
        """Everybody who waits gets in, once those inside leave."""
        for _ in range(10000):
            await turn()
            self.collect()
            if not self.tasks:
                break
            while self.inside:
                self.window.leave(self.inside.pop())
            await asyncio.sleep(0.5)
        assert not self.tasks, "a wake-up was lost"


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=60), st.booleans())
def test_places_are_neither_lost_nor_doubled(steps: list[tuple[str, int]], settle: bool) -> None:
    async def main() -> int:
        callers = Callers()
        for step in steps:
            before = callers.window.in_flight
            await callers.step(*step)
            if callers.window.in_flight > before:
                assert callers.window.in_flight <= int(callers.window.size)
            if settle:
                await turn()
                callers.collect()
        await callers.finish()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.timers()

    assert virtually(main()) == 0


