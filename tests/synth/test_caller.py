"""The one place through which every call goes: the ledger first, one call for equal requests, retries, hard caps."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SCRIPTS, Clock, Scripted, calling, chat, together, until

from pica.synth.budget import Budget
from pica.synth.caller import Caller, Retry
from pica.synth.errors import (
    BadRequest,
    BudgetSpent,
    Denied,
    Interrupted,
    LedgerError,
    Malformed,
    ModelError,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    UsageError,
)
from pica.synth.ledger import Ledger, call_key
from pica.synth.models import PROVIDERS
from pica.synth.models.base import Answer, ModelConfig, Request
from pica.synth.purse import token_bound

PATIENT = Retry(wait=0.001, longest=0.002, tries=4, malformed=2, timed_out=3, first_contact=2, patience=0.05)


def failing(errors: list[ModelError]) -> Callable[[Request, int], str]:
    """Fails as the list says, then answers."""
    left = list(errors)

    def answer(request: Request, sample: int) -> str:
        if left:
            raise left.pop(0)
        return "at last"
    return answer


class TestLedgerFirst:
    async def test_a_stored_answer_is_not_asked_for_again(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("one", lambda request, sample: "an answer")
        for _ in range(2):
            with calling(tmp_path) as caller:
                (called,) = await caller.ask(config, chat("hello"))
                assert called.answer.text == "an answer"
                assert called.key == call_key(model.identity, chat("hello")).hex()
        assert len(model.requests) == 1
        assert (caller.counts.made, caller.counts.cached) == (0, 1)

    async def test_an_answer_is_durable_before_it_is_seen(self, tmp_path: Path, scripted: Scripted) -> None:
        config, _ = scripted("durable", lambda request, sample: "kept")
        with calling(tmp_path) as caller:
            (called,) = await caller.ask(config, chat("hello"))
            other = sqlite3.connect(f"file:{tmp_path}/ledger.sqlite?mode=ro", uri=True)
            try:
                assert other.execute("SELECT hex(key) FROM calls").fetchall() == [(called.key.upper(),)]
            finally:
                other.close()

    async def test_equal_requests_at_the_same_time_are_one_call(self, tmp_path: Path, scripted: Scripted) -> None:
        async def slow(request: Request, sample: int) -> str:
            await asyncio.sleep(0.01)
            return "once"
        config, model = scripted("slow", slow)
        with calling(tmp_path) as caller:
            found = await asyncio.gather(*(caller.ask(config, chat("same")) for _ in range(20)))
        assert {called.answer.text for (called,) in found} == {"once"}
        assert len(model.requests) == 1
        assert (caller.counts.made, caller.counts.cached) == (1, 19)

    async def test_where_the_first_of_equal_requests_fails_the_next_asks(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("unlucky", failing([BadRequest("no")]))
        with calling(tmp_path) as caller:
            found = await together(*(caller.ask(config, chat("same")) for _ in range(3)))
        assert [type(one) for one in found] == [BadRequest, list, list]
        assert len(model.requests) == 2

    async def test_more_samples_ask_only_for_the_new_ones(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("samples", lambda request, sample: f"{request.seed}-{sample}")
        with calling(tmp_path) as caller:
            two = await caller.ask(config, chat("hello", n=2))
            four = await caller.ask(config, chat("hello", n=4))
        assert [request.n for request in model.requests] == [2, 2]
        assert four[:2] == two
        assert len({called.answer.text for called in four}) == 4, "the later samples need another seed"
        assert len({called.key for called in four}) == 4

    async def test_fewer_samples_ask_for_nothing(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("fewer", lambda request, sample: str(sample))
        with calling(tmp_path) as caller:
            four = await caller.ask(config, chat("hello", n=4))
            assert await caller.ask(config, chat("hello", n=2)) == four[:2]
        assert len(model.requests) == 1

    async def test_a_role_with_other_sampling_is_the_same_model(self, tmp_path: Path, scripted: Scripted) -> None:
        config, _ = scripted("shared", lambda request, sample: "x")
        with calling(tmp_path) as caller:
            assert caller.lane(config) is caller.lane(config.model_copy(update={"temperature": 0.5}))
            assert caller.lane(config) is not caller.lane(config.model_copy(update={"max_in_flight": 3}))

    async def test_what_json_cannot_hold_is_a_bad_request_and_asks_nothing(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("surrogate", lambda request, sample: "x")
        with calling(tmp_path) as caller, pytest.raises(BadRequest, match="Unicode"):
            await caller.ask(config, chat("\ud800"))
        assert model.requests == []


RETRIED: list[tuple[type[ModelError], int]] = [(ServerFault, 4), (Malformed, 2), (TimedOut, 3)]


class TestRetries:
    @pytest.mark.parametrize(("kind", "tries"), RETRIED)
    async def test_a_fault_that_may_pass_is_tried_again_so_often(self, tmp_path: Path, scripted: Scripted,
                                                                 kind: type[ModelError], tries: int) -> None:
        config, model = scripted("faulty", failing([kind("first"), *[kind("again")] * 20]))
        with calling(tmp_path, retry=PATIENT) as caller:
            with pytest.raises(kind):
                await caller.ask(config, chat("hello"))
            assert caller.stopped is None
        assert len(model.requests) == tries == caller.counts.failed

    @pytest.mark.parametrize(("kind", "tries"), RETRIED)
    async def test_the_last_try_may_succeed(self, tmp_path: Path, scripted: Scripted, kind: type[ModelError],
                                            tries: int) -> None:
        config, _ = scripted("faulty", failing([kind("not yet")] * (tries - 1)))
        with calling(tmp_path, retry=PATIENT) as caller:
            (called,) = await caller.ask(config, chat("hello"))
        assert called.answer.text == "at last"
        assert caller.counts.failed == tries - 1

    async def test_a_bad_request_is_asked_once(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("bad", failing([BadRequest("too long")] * 5))
        with calling(tmp_path) as caller:
            with pytest.raises(BadRequest):
                await caller.ask(config, chat("hello"))
            assert caller.stopped is None
        assert len(model.requests) == 1

    async def test_a_refused_key_stops_everything(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("denied", failing([Denied("the key is refused")] * 5))
        with calling(tmp_path) as caller:
            with pytest.raises(Denied):
                await caller.ask(config, chat("one"))
            with pytest.raises(Denied, match="the key is refused"):
                await caller.ask(config, chat("two"))
        assert len(model.requests) == 1

    async def test_a_server_that_never_answered_stops_the_run_soon(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("down", failing([Unreachable("refused")] * 50))
        with calling(tmp_path, retry=PATIENT) as caller:
            with pytest.raises(Unreachable):
                await caller.ask(config, chat("one"))
            assert isinstance(caller.stopped, Unreachable)
        assert len(model.requests) == PATIENT.first_contact

    async def test_a_server_that_answered_before_is_waited_for(self, tmp_path: Path, scripted: Scripted) -> None:
        errors: list[ModelError] = []
        def answer(request: Request, sample: int) -> str:
            if errors:
                raise errors.pop()
            return "at last"
        config, _ = scripted("away", answer)
        with calling(tmp_path, retry=replace(PATIENT, patience=600)) as caller:
            await caller.ask(config, chat("one"))
            errors += [Unreachable("restarting")] * (PATIENT.tries + PATIENT.first_contact + 3)
            (called,) = await caller.ask(config, chat("two"))
        assert called.answer.text == "at last"

    @pytest.mark.parametrize("kind", [Unreachable, RateLimited])
    async def test_patience_ends(self, tmp_path: Path, scripted: Scripted, kind: type[ModelError]) -> None:
        answered = False

        def answer(request: Request, sample: int) -> str:
            nonlocal answered
            if answered:
                raise kind("gone")
            answered = True
            return "once"
        config, model = scripted("gone", answer)
        with calling(tmp_path, retry=PATIENT) as caller:
            await caller.ask(config, chat("one"))
            with pytest.raises(kind):
                await caller.ask(config, chat("two"))
        assert len(model.requests) > 2

    async def test_retry_after_is_obeyed(self, tmp_path: Path, scripted: Scripted) -> None:
        times: list[float] = []

        def answer(request: Request, sample: int) -> str:
            times.append(asyncio.get_running_loop().time())
            if len(times) == 1:
                raise RateLimited("slower", retry_after=0.08)
            return "at last"
        config, _ = scripted("limited", answer)
        with calling(tmp_path) as caller:
            await caller.ask(config, chat("hello"))
        assert times[1] - times[0] >= 0.08

    async def test_waits_double_are_jittered_and_bounded(self, tmp_path: Path, scripted: Scripted,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        sleep = asyncio.sleep

        async def noted(seconds: float) -> None:
            waits.append(seconds)
            await sleep(0)
        monkeypatch.setattr(asyncio, "sleep", noted)
        config, _ = scripted("faulty", failing([ServerFault("x")] * 5))
        with calling(tmp_path, retry=Retry(wait=1.0, longest=4.0)) as caller:
            await caller.ask(config, chat("hello"))
        for wait, longest in zip(waits, [1.0, 2.0, 4.0, 4.0, 4.0], strict=True):
            assert longest / 2 <= wait <= longest
        assert len(set(waits)) == 5

    @pytest.mark.parametrize("number", [0, 1, 3])
    async def test_the_wrong_number_of_answers_is_malformed(self, tmp_path: Path, number: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROVIDERS, "odd", (__name__, f"Gives{number}", ""))
        with calling(tmp_path, retry=PATIENT) as caller:
            with pytest.raises(Malformed, match=f"gave {number} answers where 2 were asked for"):
                await caller.ask(ModelConfig(name="odd/x"), chat("hello", n=2))
            assert caller.counts.failed == PATIENT.malformed
            assert caller.counts.made == 0

    async def test_an_answer_that_cannot_be_stored_is_malformed(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("surrogates", lambda request, sample: "\ud800")
        with calling(tmp_path, retry=PATIENT) as caller:
            with pytest.raises(Malformed):
                await caller.ask(config, chat("hello"))
            assert caller.stopped is None
        assert len(model.requests) == PATIENT.malformed

    async def test_each_kind_of_fault_is_told_once(self, tmp_path: Path, scripted: Scripted) -> None:
        said: list[str] = []
        config, _ = scripted("chatty", failing([ServerFault("five hundred"), ServerFault("again"), TimedOut("slow")]))
        with calling(tmp_path, warn=said.append) as caller:
            await caller.ask(config, chat("hello"))
        assert [text.split(" (")[0] for text in said] == ["five hundred", "slow"]


class Gives:
    """A provider that gives another number of answers than it was asked for."""

    number = 0
    slots = None

    def __init__(self, target: str, config: ModelConfig) -> None:
        self.name = self.identity = config.name

    async def generate(self, request: Request) -> list[Answer]:
        return [Answer(text="x")] * self.number

    async def close(self) -> None:
        pass


Gives0, Gives1, Gives3 = (type(f"Gives{number}", (Gives,), {"number": number}) for number in (0, 1, 3))


def used(request: Request, rng: random.Random) -> Answer:
    """An answer that uses some of what was set aside for it."""
    prompt, _ = token_bound(request)
    return Answer(text="x", prompt_tokens=rng.randint(0, prompt),
                  completion_tokens=rng.randint(0, request.sampling.max_tokens))


class TestKindsOfFault:
    async def test_each_kind_of_fault_has_its_own_tries(self, tmp_path: Path, scripted: Scripted) -> None:
        faults = [*[RateLimited("slow", retry_after=0.001)] * 5, *[ServerFault("x")] * 3, Malformed("y"), TimedOut("z")]
        config, _ = scripted("mixed", failing(faults))
        with calling(tmp_path, retry=Retry(wait=0.001, longest=0.002, tries=4, malformed=2, timed_out=2)) as caller:
            (called,) = await caller.ask(config, chat("hello"))
        assert called.answer.text == "at last"
        assert caller.counts.failed == len(faults)

    async def test_patience_begins_with_the_first_refusal(self, tmp_path: Path, scripted: Scripted, clock: Clock) -> None:
        async def answer(request: Request, sample: int) -> str:
            if request.seed == 1:
                for _ in range(5):
                    await asyncio.sleep(0)  # the other call is in the queue by now
                clock.skip(1000)
            elif not refused:
                refused.append(True)
                raise RateLimited("slower", retry_after=0.001)
            return "x"
        refused: list[bool] = []
        config, _ = scripted("queue", answer)
        with calling(tmp_path, concurrency=1, retry=Retry(wait=0.001, patience=500)) as caller:
            found = await asyncio.gather(caller.ask(config, chat("long")), caller.ask(config, chat("waits", seed=2)))
        assert [called.answer.text for (called,) in found] == ["x", "x"]


class TestBudget:
    async def test_no_call_beyond_the_cap(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("capped", lambda request, sample: "x")
        with calling(tmp_path, budget=Budget(calls=3)) as caller:
            found = await together(*(caller.ask(config, chat(str(k))) for k in range(10)))
        assert len(model.requests) == 3 == caller.counts.made
        assert sum(isinstance(one, BudgetSpent) for one in found) == 7
        assert isinstance(caller.stopped, BudgetSpent)

    async def test_the_ledger_costs_nothing(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("free", lambda request, sample: "x")
        with calling(tmp_path, budget=Budget(calls=1)) as caller:
            for _ in range(5):
                await caller.ask(config, chat("same"))
        assert len(model.requests) == 1

    async def test_earlier_runs_count(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("earlier", lambda request, sample: "x")
        with calling(tmp_path, budget=Budget(calls=2)) as caller:
            await caller.ask(config, chat("one"))
            await caller.ask(config, chat("two"))
        with calling(tmp_path, budget=Budget(calls=2)) as caller:
            await caller.ask(config, chat("one"))
            with pytest.raises(BudgetSpent, match=r"budget.calls=2 .* 2 used, up to 1 more needed; raise budget.calls"):
                await caller.ask(config, chat("three"))
        assert len(model.requests) == 2

    async def test_a_call_that_could_pass_the_cap_on_tokens_is_not_made(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("tokens", lambda request, sample: "x")
        with calling(tmp_path, budget=Budget(tokens=100)) as caller, pytest.raises(BudgetSpent, match=r"budget\.tokens=100"):
            await caller.ask(config, chat("hello", max_tokens=100))
        assert model.requests == []

    async def test_a_failed_call_gives_back_what_it_set_aside(self, tmp_path: Path, scripted: Scripted) -> None:
        config, _ = scripted("back", failing([ServerFault("x")] * 3))
        with calling(tmp_path, budget=Budget(calls=1)) as caller:
            (called,) = await caller.ask(config, chat("hello"))
        assert called.answer.text == "at last"

    async def test_a_cap_on_cost_needs_prices(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("priceless", lambda request, sample: "x")
        with calling(tmp_path, budget=Budget(cost=1.0)) as caller, pytest.raises(UsageError, match="price_prompt"):
            await caller.ask(config, chat("hello"))
        assert model.requests == []

    async def test_cost_is_counted_at_the_stated_prices(self, tmp_path: Path, scripted: Scripted) -> None:
        config, _ = scripted("priced", lambda request, sample: Answer(text="x", prompt_tokens=1000, completion_tokens=500),
                             price_prompt=2.0, price_completion=10.0)
        with calling(tmp_path, budget=Budget(cost=1.0)) as caller:
            await caller.ask(config, chat("hello"))
            assert caller.counts.cost == pytest.approx(0.007)
            ledger = caller._ledger
            assert ledger.spent().cost == pytest.approx(0.007)

    @settings(max_examples=25, deadline=None)
    @given(sizes=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 4), st.integers(0, 300)), min_size=1, max_size=25),
           calls=st.integers(1, 40), tokens=st.integers(1, 6000), cost=st.floats(0.0001, 0.05), seed=st.integers(0, 9))
    def test_no_cap_is_ever_passed(self, sizes: list[tuple[int, int, int]], calls: int, tokens: int, cost: float,
                                   seed: int) -> None:
        rng = random.Random(seed)

        async def answer(request: Request, sample: int) -> Answer:
            await asyncio.sleep(0)
            if rng.random() < 0.2:
                raise ServerFault("x")
            one = used(request, rng)
            return one if sample == 0 else Answer(text="x", completion_tokens=one.completion_tokens)

        async def all_at_once(folder: str) -> Caller:
            config = ModelConfig(name="scripted/hypothesis", price_prompt=5.0, price_completion=20.0)
            with calling(Path(folder), budget=Budget(calls=calls, tokens=tokens, cost=cost)) as caller:
                await together(*(caller.ask(config, chat(f"{k}" + "y" * letters, n=n, max_tokens=most))
                                 for k, (most, n, letters) in enumerate(sizes)))
                return caller

        PROVIDERS["scripted"] = ("small", "open_scripted", "")
        try:
            Scripted()("hypothesis", answer)
            with tempfile.TemporaryDirectory() as folder:
                caller = asyncio.run(all_at_once(folder))
        finally:
            del PROVIDERS["scripted"], SCRIPTS["hypothesis"]
        counts = caller.counts
        assert counts.made <= calls
        assert counts.prompt_tokens + counts.completion_tokens <= tokens
        assert counts.cost <= cost + 1e-9
        assert caller.in_flight == 0


class TestEnds:
    async def test_cancelling_leaves_window_and_purse_clean(self, tmp_path: Path, scripted: Scripted) -> None:
        async def never(request: Request, sample: int) -> str:
            await asyncio.Event().wait()
            return ""
        config, model = scripted("never", never)
        with calling(tmp_path, budget=Budget(calls=3), concurrency=2) as caller:
            tasks = [asyncio.ensure_future(caller.ask(config, chat(str(k)))) for k in range(6)]
            await until(lambda: len(model.requests) == 2)
            for task in tasks:
                task.cancel()
            await together(*tasks)
            assert (caller.in_flight, caller.lane(config).window.in_flight, caller.lane(config).window.size) == (0, 0, 2.0)
            scripted("never", lambda request, sample: "x")
            caller.lane(config).model = SCRIPTS["never"]
            for k in range(3):
                await caller.ask(config, chat(f"again {k}"))

    async def test_a_cancelled_call_lets_its_twin_ask(self, tmp_path: Path, scripted: Scripted) -> None:
        turns = iter([True, False])

        async def answer(request: Request, sample: int) -> str:
            if next(turns):
                await asyncio.Event().wait()
            return "second"
        config, model = scripted("twin", answer)
        with calling(tmp_path) as caller:
            first = asyncio.ensure_future(caller.ask(config, chat("same")))
            await until(lambda: model.requests)
            second = asyncio.ensure_future(caller.ask(config, chat("same")))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second)[0].answer.text == "second"

    async def test_after_a_stop_no_call_is_made_and_those_in_flight_are_stored(self, tmp_path: Path,
                                                                               scripted: Scripted) -> None:
        go = asyncio.Event()

        async def answer(request: Request, sample: int) -> str:
            await go.wait()
            return "in time"
        config, model = scripted("stopping", answer)
        with calling(tmp_path, concurrency=2) as caller:
            tasks = [asyncio.ensure_future(caller.ask(config, chat(str(k)))) for k in range(5)]
            await until(lambda: len(model.requests) == 2)
            caller.stop(Interrupted("enough"))
            go.set()
            found = await together(*tasks)
            assert [type(one) for one in found] == [list, list, Interrupted, Interrupted, Interrupted]
            assert caller.counts.made == 2

    async def test_a_call_that_waits_for_the_purse_is_not_made_after_a_stop(self, tmp_path: Path,
                                                                            scripted: Scripted) -> None:
        go = asyncio.Event()

        async def answer(request: Request, sample: int) -> Answer:
            await go.wait()
            return Answer(text="x", prompt_tokens=1, completion_tokens=1)
        config, model = scripted("waiting", answer)
        most = sum(token_bound(chat("0"))) + 10
        with calling(tmp_path, budget=Budget(tokens=most)) as caller:
            tasks = [asyncio.ensure_future(caller.ask(config, chat(str(k)))) for k in range(2)]
            await until(lambda: caller.in_flight == 2)
            caller.stop(Interrupted("enough"))
            go.set()
            found = await together(*tasks)
        assert [type(one) for one in found] == [list, Interrupted]
        assert len(model.requests) == 1

    async def test_a_ledger_that_cannot_be_written_stops_everything(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("unwritten", lambda request, sample: "x")
        with calling(tmp_path) as caller:
            other = sqlite3.connect(tmp_path / "ledger.sqlite")
            other.executescript("CREATE TRIGGER full BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
            other.close()
            with pytest.raises(LedgerError, match="no space left"):
                await caller.ask(config, chat("one"))
            with pytest.raises(LedgerError):
                await caller.ask(config, chat("two"))
        assert len(model.requests) == 1

    async def test_a_closed_ledger_is_an_error_of_the_ledger(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("closed", lambda request, sample: "x")
        with calling(tmp_path) as caller:
            ledger: Any = caller._ledger
            assert isinstance(ledger, Ledger)
            ledger.close()
            with pytest.raises(LedgerError):
                await caller.ask(config, chat("one"))
        assert model.requests == []
