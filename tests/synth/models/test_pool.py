"""Which server gets the next call."""

from __future__ import annotations

from pica.synth.models.pool import FIRST_PAUSE, LONGEST_PAUSE, Place, Pool


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pool(count: int) -> tuple[Pool[Place], list[Place], Clock]:
    clock = Clock()
    places = [Place() for _ in range(count)]
    return Pool(places, clock), places, clock


def test_fewest_in_flight_then_fewest_served() -> None:
    servers, (a, b), _ = pool(2)
    a.in_flight = 1
    assert servers.pick() is b
    b.in_flight, b.served = 1, 5
    assert servers.pick() is a


def test_a_failing_server_is_put_aside_longer_each_time_and_probed_by_one_call() -> None:
    servers, (a, b), clock = pool(2)
    b.in_flight = 9
    servers.failed(a)
    assert servers.pick() is b
    clock.now = FIRST_PAUSE
    assert servers.pick() is a  # the probe
    assert servers.pick() is b  # the others wait for it
    servers.failed(a)
    clock.now += FIRST_PAUSE * 1.5
    assert servers.pick() is b
    clock.now += FIRST_PAUSE
    assert servers.pick() is a
    servers.succeeded(a)
    assert servers.pick() is a and servers.pick() is a


def test_pauses_are_bounded_and_obey_the_server() -> None:
    servers, (a,), clock = pool(1)
    for _ in range(40):
        servers.failed(a)
    assert a.aside_until == LONGEST_PAUSE
    servers.failed(a, retry_after=500)
    assert a.aside_until == clock.now + 500


def test_every_server_is_offered_once_even_when_all_are_aside() -> None:
    servers, (a, b), _ = pool(2)
    servers.failed(a, retry_after=100)
    servers.failed(b, retry_after=10)
    assert servers.pick() is b
    assert servers.pick([b]) is a
    assert servers.pick([a, b]) is None
