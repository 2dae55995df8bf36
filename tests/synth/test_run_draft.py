"""Drafts that are no row: seeds by name, calls as durable as a row's, a clean stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from small import FAKE, Scripted, running, stored

from pica.synth.budget import Budget
from pica.synth.errors import BudgetSpent
from pica.synth.models.base import Request, Sampling, user
from pica.synth.run import together


def test_seeds_follow_the_name(tmp_path: Path) -> None:
    with running(tmp_path, seed=3) as (run, _):
        assert run.draft("topics").seed == run.draft("topics").seed
        seeds = {run.draft("topics").seed, run.draft("types").seed, run.draft("0").seed, run.seed(0), run.seed(-1)}
        assert len(seeds) == 5
    with running(tmp_path, seed=4) as (run, _):
        assert run.draft("topics").seed not in seeds


def test_calls_are_durable(tmp_path: Path) -> None:
    async def ask() -> tuple[str, list[str], int]:
        with running(tmp_path) as (run, _), run.draining():
            draft = run.draft("topics")
            answer = await draft.chat("list", FAKE, [user("Name topics.")], Sampling(max_tokens=50))
            return answer.text, draft.calls, run.caller.counts.made
    first, again = asyncio.run(ask()), asyncio.run(ask())
    assert first[:2] == again[:2]
    assert (first[2], again[2]) == (1, 0)


def test_the_deadline_holds_and_calls_in_flight_are_kept(tmp_path: Path, scripted: Scripted) -> None:
    async def slow(request: Request, sample: int) -> str:
        await asyncio.sleep(0.05)
        return "one"
    config, _ = scripted("slow", slow)

    async def ask() -> None:
        with running(tmp_path, budget=Budget(seconds=0.02), concurrency=1) as (run, _), run.draining():
            await together(*(run.draft(name).chat("list", config, [user("Name topics.")], Sampling()) for name in "abc"))
    with pytest.raises(BudgetSpent, match=r"budget\.seconds"):
        asyncio.run(ask())
    assert stored(tmp_path) == 1
