"""What judges lean to, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from arenas import battle, game

from pica.eval.bias import Leanings, Share, leanings, self_preference
from pica.synth.intervals import wilson


def counts(found: Leanings) -> dict[str, tuple[int, int]]:
    return {share.name: (share.count, share.n) for share in found.shares()}


def test_leanings_are_counted_by_game() -> None:
    found = leanings([
        battle("t1", "x", "y", ["a>b", "a>>b"]),        # a is longer and wins twice: once first, once second
        battle("t2", "x", "y", ["a>b", "b>a"]),         # the first place wins twice
        battle("t3", "x", "y", ["a=b", "b>a"]),         # a tie, then b, which stands first
        battle("t4", "x", "y", [None, "b>a"], answer_a="one", answer_b="two"),  # no verdict; equally long
    ])
    assert counts(found) == {"first place wins": (5, 6), "longer answer wins": (3, 5),
                             "winner changes with the order": (1, 3), "games without a verdict": (1, 8)}
    assert found.orders == {"same": 1, "flipped": 1, "half": 1, "unscored": 1}
    assert leanings([]).shares() == [Share(name, 0, 0) for name in counts(found)]
    assert leanings([]).warnings() == []


def test_a_share_says_its_interval() -> None:
    lower, upper = wilson(5, 6)
    assert Share("x", 5, 6).to_json() == {"name": "x", "share": 5 / 6, "lower": lower, "upper": upper, "count": 5, "n": 6}
    assert Share("x", 0, 0).to_json() == {"name": "x", "share": None, "lower": 0.0, "upper": 1.0, "count": 0, "n": 0}


@pytest.mark.parametrize(("verdicts", "first", "rest"), [
    (["a>b", "b>a"], "the judge favours the first place: the first one won 100% (", 1),
    (["b>a", "a>b"], "the judge favours the second place: the first one won 0% (", 1),
    ([None, None], "100% (", 0),
    (["a>b", "a>b"], "", 0),
    (["a>b", "a=b"], "", 0),
])
def test_the_most_serious_warning_comes_first(verdicts: list[str | None], first: str, rest: int) -> None:
    rows = [battle(f"t{number}", "x", "y", verdicts if number % 2 else _mirror(verdicts)) for number in range(20)]
    warnings = leanings(rows).warnings()
    assert len(warnings) == (rest + 1 if first else 0)
    assert "".join(warnings[:1]).startswith(first)
    if rest:
        assert warnings[1].startswith("the judge changes its mind with the order in 100% (84% to 100%, n=20) of the battles")


def _mirror(verdicts: list[str | None]) -> list[str | None]:
    """Verdicts that are as place-bound, but do not favour the longer answer: where the same answer wins, the other one."""
    turned: dict[str | None, str | None] = {"a>b": "b>a", "b>a": "a>b"}
    same = len(set(verdicts)) == 1 or "a=b" in verdicts
    return [turned.get(verdict, verdict) for verdict in verdicts] if same else verdicts


def test_self_preference_counts_battles_between_families_only() -> None:
    def rows() -> list[dict[str, Any]]:
        own = battle("t1", "gpt-1", "llama-1", ["a>b", "b>a"])
        own["games"] = [game("a>b", judge="gpt-9"), game("b>a", judge="gpt-9"), game("a=b", judge="gpt-9"),
                        game(None, judge="gpt-9"), game("b>a", judge="llama-9"), game("a>b", judge="other")]
        kin = battle("t2", "gpt-1", "gpt-2", ["a>b", "a>b"])
        kin["games"] = [game("a>b", judge="gpt-9")]
        return [own, kin]

    assert self_preference(rows(), lambda name: name.partition("-")[0]) == [
        Share("gpt-9 prefers its own family", 1, 2), Share("llama-9 prefers its own family", 1, 1)]
