"""Rows that fan out: no barrier, exactly as many as wanted, the same ones whatever the order of answers, and clean ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import FAKE, QUICK, Clock, Number, Scripted, running, stored, talk, until

from pica.synth.budget import Budget
from pica.synth.errors import (
    BadRequest,
    BudgetSpent,
    Denied,
    Interrupted,
    Malformed,
    Reject,
    ServerFault,
    TooManyFailures,
    Unreachable,
    UsageError,
)
from pica.synth.models.base import ModelConfig, Request, Sampling, user
from pica.synth.recipe import make
from pica.synth.run import Draft, Failures, Run, derive_seed, together
from pica.synth.spool import ACCEPTED, REJECTED, Spool
from pica.synth.table import Table

SAMPLING = Sampling(max_tokens=16)


def numbers(spool: Spool, want: int) -> list[int]:
    """The numbers of the accepted rows that a dataset of `want` rows would have."""
    return [orjson.loads(line)["index"] for line in spool.read(spool.prefix(want), ACCEPTED)]


async def number(draft: Draft) -> Number:
    """A row without any call."""
    await asyncio.sleep(0)
    return Number(draft.index)


class TestRows:
    async def test_exactly_as_many_as_wanted(self, tmp_path: Path) -> None:
        with running(tmp_path) as (run, spool):
            await run.rows(number, spool, want=7, limit=100)
            assert numbers(spool, 7) == list(range(7))
            assert spool.accepted == 7, "rows that nobody needs cost calls"

    async def test_going_on_makes_only_what_is_missing(self, tmp_path: Path) -> None:
        with running(tmp_path) as (run, spool):
            await run.rows(number, spool, want=3, limit=100)
            await run.rows(number, spool, want=5, limit=100)
            await run.rows(number, spool, want=4, limit=100)
            assert numbers(spool, 5) == list(range(5))

    async def test_the_bound_on_candidates_holds(self, tmp_path: Path) -> None:
        async def reject(draft: Draft) -> Number:
            raise Reject("never good")
        with running(tmp_path) as (run, spool):
            await run.rows(reject, spool, want=5, limit=13)
            assert (len(spool), spool.accepted, dict(spool.reasons)) == (13, 0, {"never good": 13})

    async def test_no_barrier_between_the_steps_of_rows(self, tmp_path: Path, scripted: Scripted) -> None:
        """The first row's first answer comes only after another row has got its second."""
        second = asyncio.Event()

        async def answer(request: Request, sample: int) -> str:
            text = request.messages[0]["content"]
            if text == "0 first":
                await second.wait()
            if text.endswith("second"):
                second.set()
            return "x"
        config, model = scripted("steps", answer)

        async def two_steps(draft: Draft) -> Number:
            for step in ("first", "second"):
                await draft.chat(step, config, [user(f"{draft.index} {step}")], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            await asyncio.wait_for(run.rows(two_steps, spool, want=4, limit=4, models=[config]), 120)
            assert numbers(spool, 4) == [0, 1, 2, 3]
        assert len(model.requests) == 8

    async def test_rows_fill_the_window(self, tmp_path: Path, scripted: Scripted) -> None:
        at_once: list[int] = []
        asked = 0

        async def answer(request: Request, sample: int) -> str:
            nonlocal asked
            asked += 1
            at_once.append(asked)
            await asyncio.sleep(0.002)
            asked -= 1
            return "x"
        config, _ = scripted("window", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path, concurrency=8) as (run, spool):
            await run.rows(one, spool, want=60, limit=100, models=[config])
        assert max(at_once) == 8

    async def test_several_rows_of_one_candidate(self, tmp_path: Path) -> None:
        async def three(draft: Draft) -> list[Number]:
            return [Number(draft.index)] * 3
        with running(tmp_path) as (run, spool):
            await run.rows(three, spool, want=7, limit=100)
            assert numbers(spool, 7) == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    @settings(max_examples=40, deadline=None)
    @given(pattern=st.lists(st.sampled_from([1, 1, 0, 3]), min_size=1, max_size=30), want=st.integers(1, 30),
           limit=st.integers(1, 60), seed=st.integers(0, 100))
    def test_the_rows_do_not_depend_on_the_order_of_answers(self, pattern: list[int], want: int, limit: int,
                                                            seed: int) -> None:
        found = [asyncio.run(self._made(pattern, want, limit, seed, concurrency)) for concurrency in (1, 50)]
        assert found[0][0] == found[1][0]
        for rows, rejected, candidates in found:
            expected = [k for k in range(candidates) for _ in range(pattern[k % len(pattern)])]
            assert rows == expected
            assert len(rejected) + len(dict.fromkeys(rows)) == candidates <= limit
            assert len(rows) >= want or candidates == limit

    async def _made(self, pattern: list[int], want: int, limit: int, seed: int, concurrency: int,
                    ) -> tuple[list[int], list[int], int]:
        async def some(draft: Draft) -> list[Number]:
            for _ in range((draft.index * 7919 + seed) % 5 if concurrency > 1 else 0):
                await asyncio.sleep(0)
            accepted = pattern[draft.index % len(pattern)]
            if not accepted:
                raise Reject("by the pattern")
            return [Number(draft.index)] * accepted
        model = FAKE.model_copy(update={"max_in_flight": concurrency})
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (run, spool):
            await run.rows(some, spool, want=want, limit=limit, models=[model])
            table = Table(spool, spool.prefix(want))
            rejected = [orjson.loads(line)["index"] for line in spool.read(table.candidates, REJECTED)]
            return [row["index"] for row in table.rows()], rejected, table.candidates


class TestRejects:
    async def test_every_reject_is_kept_with_its_reason(self, tmp_path: Path) -> None:
        async def odd(draft: Draft) -> Number:
            draft.keep(text=f"row {draft.index}")
            if draft.index % 2:
                raise Reject("odd", f"it is {draft.index}")
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            await run.rows(odd, spool, want=3, limit=100)
            rejected = [orjson.loads(line) for line in spool.read(spool.prefix(3), REJECTED)]
        assert [(row["index"], row["reject_reason"], row["reject_detail"], row["text"]) for row in rejected] == [
            (1, "odd", "it is 1", "row 1"), (3, "odd", "it is 3", "row 3")]
        assert {row["id"] for row in rejected} == {f"test-{derive_seed('test', 0, k):014x}" for k in (1, 3)}

    async def test_a_row_without_an_answer_is_rejected_and_the_run_goes_on(self, tmp_path: Path, scripted: Scripted) -> None:
        def answer(request: Request, sample: int) -> str:
            if request.messages[0]["content"] == "1":
                raise ServerFault("it broke")
            return "x"
        config, _ = scripted("sometimes", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            await run.rows(one, spool, want=3, limit=100, models=[config])
            assert numbers(spool, 3) == [0, 2, 3]
            (line,) = spool.read(spool.prefix(3), REJECTED)
        assert orjson.loads(line)["reject_reason"] == "no answer: server fault"
        assert orjson.loads(line)["reject_detail"] == "it broke"


class TestEnds:
    async def test_a_bug_stops_the_run_and_names_the_row(self, tmp_path: Path, scripted: Scripted) -> None:
        async def answer(request: Request, sample: int) -> str:
            await asyncio.sleep(0.005)
            return "x"
        config, model = scripted("steps", answer)

        async def buggy(draft: Draft) -> Number:
            if draft.index == 5:
                raise KeyError("oops")
            for step in range(1000):
                await draft.chat(str(step), config, [user(f"{draft.index}/{step}")], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            with pytest.raises(KeyError, match="oops") as caught:
                await asyncio.wait_for(run.rows(buggy, spool, want=20, limit=100, models=[config]), 120)
            assert len(model.requests) < 500, "the other rows went on asking"
        assert caught.value.__notes__ == ["while making row 5"]

    async def test_a_row_function_that_returns_nothing_is_a_bug(self, tmp_path: Path) -> None:
        async def nothing(draft: Draft) -> list[Number]:
            return []
        with running(tmp_path) as (run, spool), pytest.raises(ValueError, match="returned no row; raise Reject"):
            await run.rows(nothing, spool, want=1, limit=1)

    async def test_when_everything_fails_it_stops_early_with_the_first_error(self, tmp_path: Path, scripted: Scripted) -> None:
        count = iter(range(10**6))

        def answer(request: Request, sample: int) -> str:
            raise Malformed(f"broken {next(count)}")
        config, model = scripted("broken", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path, concurrency=4, failures=Failures(after=10)) as (run, spool):
            with pytest.raises(TooManyFailures, match=r"got no answer, the first because: broken \d+$"):
                await run.rows(one, spool, want=1000, limit=10_000, models=[config])
            assert len(spool) < 60
        assert len(model.requests) < 60 * QUICK.tries

    async def test_some_failures_are_borne(self, tmp_path: Path, scripted: Scripted) -> None:
        def answer(request: Request, sample: int) -> str:
            if int(request.messages[0]["content"]) % 3 == 0:
                raise BadRequest("a third fails")
            return "x"
        config, _ = scripted("third", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            await run.rows(one, spool, want=60, limit=1000, models=[config])
            assert spool.failed >= 29

    async def test_hundreds_of_candidates_without_an_accepted_row_stop_the_run(self, tmp_path: Path) -> None:
        async def reject(draft: Draft) -> Number:
            await asyncio.sleep(0)
            raise Reject("not good enough" if draft.index % 10 else "rare")
        with running(tmp_path) as (run, spool):
            with pytest.raises(TooManyFailures, match=r"none of \d+ candidates was accepted; \d+ .* because: not good"):
                await run.rows(reject, spool, want=10_000, limit=10**6)
            assert 500 <= len(spool) < 700

    @pytest.mark.parametrize("error", [Denied("no such model"), Unreachable("refused")])
    async def test_a_server_that_cannot_serve_stops_the_run(self, tmp_path: Path, scripted: Scripted, error: Exception) -> None:
        def answer(request: Request, sample: int) -> str:
            raise error
        config, _ = scripted("closed", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            with pytest.raises(type(error), match=str(error)):
                await run.rows(one, spool, want=10, limit=1000, models=[config])
            assert spool.accepted + sum(spool.reasons.values()) == 0, "rows that were stopped are not rejected"

    async def test_interrupting_lets_calls_in_flight_end(self, tmp_path: Path, scripted: Scripted) -> None:
        async def answer(request: Request, sample: int) -> str:
            run.interrupt()
            await asyncio.sleep(0.05)
            return "x"
        config, model = scripted("slow", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            await draft.chat("more", config, [user(f"{draft.index}, and more")], SAMPLING)
            return Number(draft.index)
        with running(tmp_path, concurrency=3) as (run, spool):
            with pytest.raises(Interrupted, match="give the same command to go on"):
                await run.rows(one, spool, want=10, limit=1000, models=[config])
            assert run.caller.counts.made == len(model.requests) <= 3
        assert stored(tmp_path) == len(model.requests) > 0

    async def test_cancelling_a_run_ends_its_rows(self, tmp_path: Path, scripted: Scripted) -> None:
        async def never(request: Request, sample: int) -> str:
            await asyncio.Event().wait()
            return ""
        config, model = scripted("never", never)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            before = asyncio.all_tasks()
            task = asyncio.ensure_future(run.rows(one, spool, want=3, limit=3, models=[config]))
            await until(lambda: len(model.requests) == 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(120):
                await until(lambda: run.caller.in_flight == 0 and asyncio.all_tasks() == before)

    async def test_the_cap_on_seconds(self, tmp_path: Path, scripted: Scripted, clock: Clock) -> None:
        async def answer(request: Request, sample: int) -> str:
            await asyncio.sleep(0)
            clock.skip(3000)
            return "x"
        config, model = scripted("slow", answer)

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user(str(draft.index))], SAMPLING)
            return Number(draft.index)
        with running(tmp_path, concurrency=1, budget=Budget(seconds=10_000)) as (run, spool):
            with pytest.raises(BudgetSpent, match=r"budget\.seconds=10000 has passed"):
                await run.rows(one, spool, want=10**6, limit=10**6, models=[config])
            made = run.caller.counts.made
            assert made == len(model.requests) in {4, 5}, "the call that was in flight is kept"
            with pytest.raises(BudgetSpent):
                await run.rows(one, spool, want=10**6, limit=10**6, models=[config])
            assert run.caller.counts.made == made, "the cap is over the whole run"

    async def test_a_cap_on_cost_without_prices_is_told_before_the_first_call(self, tmp_path: Path, scripted: Scripted) -> None:
        priced, model = scripted("priced", lambda request, sample: "x", price_prompt=1.0, price_completion=1.0)
        with running(tmp_path, budget=Budget(cost=1.0)) as (run, spool), pytest.raises(UsageError, match="fake/magpie"):
            await run.rows(number, spool, want=1, limit=1, models=[priced, FAKE])
        assert model.requests == []


class TestSeeds:
    def test_golden_values(self) -> None:
        assert derive_seed() == 3994176488517260
        assert derive_seed("magpie", 0, 0) == 8018457907485893
        assert derive_seed("magpie", 0, 1) == 8438976887720467
        assert derive_seed("a", "b") == 2580643100536987 != derive_seed("ab")

    @given(st.lists(st.integers() | st.text(max_size=5).filter(lambda t: t.isprintable()), max_size=4))
    def test_seeds_fit_into_a_json_number(self, parts: list[Any]) -> None:
        assert 0 <= derive_seed(*parts) < 2**53

    async def test_calls_have_the_order_of_their_steps(self, tmp_path: Path, scripted: Scripted) -> None:
        async def answer(request: Request, sample: int) -> str:
            await asyncio.sleep(delay[request.messages[0]["content"]])
            return "x"
        config, _ = scripted("unordered", answer)

        async def one(draft: Draft) -> Number:
            await together(*(draft.samples(step, config, [user(step)], SAMPLING, 2, attempt=attempt)
                             for step in ("b", "a", "c") for attempt in (1, 0)))
            found.append(draft.calls)
            return Number(draft.index)
        found: list[list[str]] = []
        delay: dict[str, float] = {}
        for place, delays in enumerate(({"a": 0.0, "b": 0.01, "c": 0.005}, {"a": 0.01, "b": 0.0, "c": 0.0})):
            delay.update(delays)
            folder = tmp_path / str(place)
            folder.mkdir()
            with running(folder) as (run, spool):
                await run.rows(one, spool, want=1, limit=1, models=[config])
        assert found[0] == found[1]
        assert len(set(found[0])) == 12

    async def test_greedy_answers_need_no_seed(self, tmp_path: Path, scripted: Scripted) -> None:
        config, model = scripted("greedy", lambda request, sample: "x")

        async def one(draft: Draft) -> Number:
            await draft.chat("ask", config, [user("the same for all")], Sampling(temperature=0.0))
            await draft.score("score", config, [user("a"), user("b")])
            return Number(draft.index)
        with running(tmp_path) as (run, spool):
            await run.rows(one, spool, want=5, limit=5, models=[config])
        assert [(request.task, request.seed) for request in model.requests] == [("chat", None), ("score", None)]


class TestTogether:
    async def test_all_parts_end_before_the_first_error_is_raised(self) -> None:
        ended: list[int] = []

        async def part(number: int) -> int:
            await asyncio.sleep(0.001 * number)
            ended.append(number)
            if number in {1, 2}:
                raise ValueError(str(number))
            return number
        with pytest.raises(ValueError, match="2"):
            await together(part(3), part(2), part(1))
        assert sorted(ended) == [1, 2, 3]
        assert await together(part(4), part(0)) == [4, 0]


SLOW = "fake/magpie?latency=0.05"


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    """A run in another process, slow enough to be stopped."""
    return subprocess.Popen(
        [sys.executable, "-m", "pica", "run", "magpie", "n=400", f"teacher={SLOW}", "duplicates.embedder=none", "concurrency=4",
         "durability=normal", "--json", "--out", str(out), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_leaves_a_folder_to_go_on_with(tmp_path: Path, number: signal.Signals) -> None:
    process, ledger = start(tmp_path / "out"), tmp_path / "out" / "ledger.sqlite"
    end = time.monotonic() + 600
    while time.monotonic() < end and not (ledger.exists() and stored_so_far(ledger) >= 8):
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    last = err.strip().splitlines()[-1]
    assert last == f"pica: {number.name}; every answer is kept: give the same command to go on"
    assert "Traceback" not in err
    made = stored(tmp_path / "out")
    assert made >= 8
    assert out == ""
    again = start(tmp_path / "out", f"budget.calls={made + 4}")
    out, err = again.communicate(timeout=600)
    assert again.returncode == 3, err
    assert f"budget.calls={made + 4} does not cover the next call: {made + 4:,} used" in err
    assert stored(tmp_path / "out") == made + 4, "answers were lost, or asked for again"


def stored_so_far(ledger: Path) -> int:
    """Calls in a ledger that is being written."""
    try:
        connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


async def test_a_budget_stops_and_more_goes_on(tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent):
        await make(talk(n=10, budget={"calls": 4}), tmp_path / "out")
    assert stored(tmp_path / "out") == 4
    assert not (tmp_path / "out" / "manifest.json").exists()
    outcome = await make(talk(n=10, budget={"calls": 10}), tmp_path / "out")
    assert outcome.manifest["calls"] == {"made": 6, "cached": 4, "failed": 0}
    assert outcome.manifest["folder_total"]["calls"] == 10
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"]["out"] == 10


async def test_windows_are_one_a_model(tmp_path: Path) -> None:
    with running(tmp_path) as (run, spool):
        assert isinstance(run, Run)
        await run.rows(number, spool, want=1, limit=1, models=[FAKE, ModelConfig(name="fake/magpie", temperature=0.3)])
        assert len(run.caller.lanes) == 1
