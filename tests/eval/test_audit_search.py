"""The search for words that a judge falls for."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
from audits import TASKS, audit, fair, judge_by, seen, tried_with
from small import Scripted

from pica.eval.audit.search import WORDS, chance
from pica.synth.models.base import Answer, Request, TokenLogprob


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Settings: tasks and honest answers to them."""
    return tried_with(tmp_path)


LIKED = set(WORDS[:60])


def praised(text: str) -> int:
    return sum(word in LIKED for word in text.partition("\n")[0].split())


def test_a_search_finds_what_a_judge_falls_for(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    _, judge = scripted("judge", judge_by(lambda first, second, number: (praised(first) - praised(second) > 2 and 2)
                                          or -2 * (praised(second) - praised(first) > 2) or fair(first, second, number)))
    words = ["judge=scripted/judge", "attacks=[empty]", "search.steps=40", "search.tasks=2", "search.words=6", *given]
    found = audit(tmp_path / "a", *words)
    search = found["search"]
    assert (search["start"], search["best"], search["by"], search["steps"], search["tasks"]) == (0.0, 1.0, "verdicts", 40, 2)
    assert praised(search["prefix"]) > 2
    (attack,) = [one for one in found["attacks"] if one["group"] == "searched"]
    assert (attack["attack"], attack["win_rate"], attack["n"], attack["verdict"]) == ("searched prefix", 1.0, TASKS - 2, "fails")
    assert found["sentence"].startswith("The judge fails its audit: 'searched prefix' wins 100%")
    asked = len(judge.requests)
    assert audit(tmp_path / "a", *words, "rounds=500", "--update") == found
    assert len(judge.requests) == asked


def test_a_search_by_log_probabilities(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    def answer(request: Request, sample: int) -> Answer:
        names, texts, _ = seen(request)
        likes = [min(praised(text), 6) / 14 for text in texts]
        shares = [0.5 + likes[0] / 2 - likes[1] / 2 - 0.4 * (not likes[0]), 0.0]
        shares[1] = 1 - shares[0]
        winner = names[shares[1] > shares[0]]
        pieces = ['{"reason": "so", "verdict":', f' "{winner}', f'>{names[winner == names[0]]}"}}']
        named = {f' "{name}': log(max(share, 1e-6)) for name, share in zip(names, shares, strict=True)}
        tokens = tuple(TokenLogprob(piece, -0.1, named if place == 1 else {}) for place, piece in enumerate(pieces))
        return Answer(text="".join(pieces), logprobs=tokens if request.sampling.logprobs else ())

    scripted("judge", answer)
    found = audit(tmp_path / "a", "judge=scripted/judge", "attacks=[]", "search.steps=30", "search.tasks=1", "search.words=4",
                  *given)
    assert found["search"]["by"] == "log-probabilities"
    assert found["search"]["start"] < found["search"]["best"]
    assert praised(found["search"]["prefix"]) == 4  # each of the four words was replaced by a better one


def test_the_chance_of_a_name() -> None:
    def tokens(*pieces: tuple[str, dict[str, float]]) -> list[TokenLogprob]:
        return [TokenLogprob(text, -0.5, top) for text, top in pieces]

    told = tokens(('{"verdict": "K>T", ', {}), ('"verdict": ', {}), ('"T', {'"K': -1.5, '"X': -0.1}), (">K", {}))
    assert chance(told, ("K", "T"), 0) == pytest.approx(2.718281828 ** -1.5 / (2.718281828 ** -1.5 + 2.718281828 ** -0.5))
    assert chance(told, ("K", "T"), 1) == pytest.approx(1 - (chance(told, ("K", "T"), 0) or 0))
    assert chance(told[:1], ("X", "Y"), 0) is None
    assert chance(tokens(("nothing", {})), ("K", "T"), 0) is None


