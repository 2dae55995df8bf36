"""`pica eval agree E REFERENCE`: against figures by hand, a naive count, files of every kind, and files that are none."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from arenas import by_length, evaluate
from arenas import given as given_answers
from hypothesis import given
from hypothesis import strategies as st

from pica.cli import main
from pica.eval.agree import Agreed, Separated, agree, compare_boards
from pica.eval.agreement import Agreement, Separability
from pica.eval.boards import Board, Standing, read_board
from pica.synth.errors import UsageError

MINE = {"a": (4.0, 3.5, 4.5), "b": (3.0, 2.5, 3.4), "c": (2.0, 1.0, 2.6), "d": (1.0, 0.0, 0.9 + 0.2)}
#: c and b change places; a and c cannot be told apart, nor c and b
THEIRS = {"a": (40, 35, 45), "c": (36, 30, 39), "b": (29, 28, 31), "d": (10, 5, 15)}


def board(path: Path, models: dict[str, tuple[float, float, float]]) -> Path:
    """A leaderboard's file."""
    path.write_text(json.dumps([{"model": name, "score": score, "lower": lower, "upper": upper}
                                for name, (score, lower, upper) in models.items()]))
    return path


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return board(tmp_path / "mine.json", MINE), board(tmp_path / "theirs.json", THEIRS)


def test_by_hand(both: tuple[Path, Path]) -> None:
    # here: a-b, a-c, a-d, b-d apart; b-c overlap, c-d overlap by .1. there: a-b, a-d, b-d, c-d apart; a-c and b-c overlap
    found = agree(*both)
    assert found.to_json() == {
        "evaluation": str(both[0]), "reference": str(both[1]), "models": ["a", "c", "b", "d"], "pairs": 6,
        "spearman": pytest.approx(0.8), "kendall": pytest.approx(4 / 6),
        "agreement": {"all": pytest.approx(3 / 6), "half": pytest.approx(3.5 / 4), "signed": pytest.approx(3 / 4),
                      "order": pytest.approx(5 / 6)},
        "differentiation": pytest.approx(3 / 4), "average": pytest.approx((0.8 + 3 / 6 + 3 / 4) / 3),
        "separability": {"evaluation": pytest.approx(4 / 6), "reference": pytest.approx(4 / 6)},
        "with_intervals": ["a", "c", "b", "d"], "without_intervals": [], "unranked": [], "only_evaluation": [],
        "only_reference": []}
    lines = found.text().splitlines()
    assert lines[0] == f"{both[0]} against {both[1]}: 4 models, 6 pairs"
    assert lines[1:4] == ["Spearman              0.8000", "Kendall               0.6667",
                          "agreement (all)       0.5000  +1, 0 where either cannot separate, -1, over all pairs (Arena Learning)"]
    assert lines[7:9] == ["differentiation       0.7500  of pairs that the reference separates, those separated here",
                          "average               0.6833  mean of Spearman, agreement (all), differentiation (Arena Learning)"]
    assert lines[9:] == [f"separability          0.6667  of {both[0]}", f"                      0.6667  of {both[1]}",
                         "Of 4 pairs that the reference separates (of 6), the benchmark orders 3 alike and 0 the other way; 1 it "
                         "cannot separate."]


@pytest.mark.parametrize(("spearman", "agreement", "differentiation", "average"), [
    (0.9923, 0.9911, 0.9802, 0.9879), (0.7936, 0.2604, 0.2345, 0.4295)])  # the paper's table: Mix, and MT-Bench
def test_the_average_is_the_papers(spearman: float, agreement: float, differentiation: float, average: float) -> None:
    separated = round(1e4 * differentiation)
    agreeing = (separated + round(1e4 * agreement)) // 2
    counted = Agreement(agreeing, separated - agreeing, 10_000 - separated, 0, 10_000)
    found = Agreed("E", "R", ["a", "b"], spearman, math.nan, math.nan,
                   Separated(["a", "b"], counted, Separability(1, 1), Separability(1, 1)), [], [], [], [])
    assert found.average == pytest.approx(average, abs=1e-4)


STANDINGS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=7)


def naive(one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]) -> tuple[float, float, int, int]:
    """(agreement over all pairs, share in the same order, pairs apart in the first, in the second)."""
    def apart(x: tuple[int, int, int], y: tuple[int, int, int]) -> bool:
        (low, _, above), (high, below, _) = sorted([x, y])
        return high > low and low + above <= high - below

    def order(x: tuple[int, int, int], y: tuple[int, int, int]) -> int:
        return (x[0] > y[0]) - (x[0] < y[0])

    total = same = here = there = 0
    for i, j in combinations(range(len(one)), 2):
        here, there = here + apart(one[i], one[j]), there + apart(other[i], other[j])
        alike = order(one[i], one[j]) * order(other[i], other[j]) > 0
        same += alike
        if apart(one[i], one[j]) and apart(other[i], other[j]):
            total += 1 if alike else -1
    pairs = len(one) * (len(one) - 1) // 2
    return total / pairs, same / pairs, here, there


@given(STANDINGS, st.randoms())
def test_agreement_is_that_of_a_naive_count(one: list[tuple[int, int, int]], rng: Any) -> None:
    other = [(rng.randint(-5, 5), rng.randint(0, 3), rng.randint(0, 3)) for _ in one]
    boards = [Board(name, {f"m{place}": Standing(score, (score - below, score + above))
                           for place, (score, below, above) in enumerate(side)}) for name, side in (("E", one), ("R", other))]
    found = compare_boards(*boards)
    total, same, here, there = naive(one, other)
    assert found.score("all") == pytest.approx(total) and found.score("order") == pytest.approx(same)
    assert found.separated is not None
    assert (found.separated.evaluation.separable, found.separated.reference.separable) == (here, there)
    back = compare_boards(*boards[::-1])
    assert (back.score("all"), back.pairs) == (pytest.approx(total), found.pairs)


@given(STANDINGS)
def test_a_board_agrees_with_itself(standings: list[tuple[int, int, int]]) -> None:
    board = Board("E", {f"m{place}": Standing(score, (score - below, score + above))
                        for place, (score, below, above) in enumerate(standings)})
    found = compare_boards(board, board).separated
    assert found is not None
    apart = found.reference.separable
    assert (found.agreement.agree, found.agreement.disagree, found.agreement.unsure) == (apart, 0, 0)


def test_equal_points_are_not_apart() -> None:
    board = Board("E", {"a": Standing(1, (1, 1)), "b": Standing(1, (1, 1)), "c": Standing(3, (2, 4)), "d": Standing(3, (3, 4))})
    found = compare_boards(board, board)
    assert found.separated is not None
    assert found.separated.agreement == Agreement(agree=4, disagree=0, unsure=0, same_order=4, pairs=6)
    assert (found.score("half"), found.score("signed"), found.differentiation) == (1, 1, 1)
    assert (found.score("all"), found.separated.reference) == (4 / 6, Separability(4, 6))


class TestModels:
    def test_those_on_one_side_and_those_without_a_score(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        more = json.loads(both[1].read_text())
        rows = [*more[:3], {"model": "d", "score": None}, {"model": "z", "score": 7}]
        (tmp_path / "r.json").write_text(json.dumps(rows))
        found = agree(both[0], tmp_path / "r.json")
        assert (found.models, found.only_evaluation, found.only_reference, found.unranked) == (["a", "c", "b"], [], ["z"], ["d"])
        assert "named without a score: d\n" in found.text() and found.text().endswith(f"only in {tmp_path / 'r.json'}: z")

    def test_labels_give_names(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        other = board(tmp_path / "r.json", {name.upper(): values for name, values in THEIRS.items()})
        with pytest.raises(UsageError, match=r"share 0 models with a score \(none\) and 3 are needed: a, b, c, d; A, C, B, D"):
            agree(both[0], other)
        labels = tmp_path / "labels.json"
        labels.write_text(json.dumps({name.upper(): name for name in THEIRS}))
        assert agree(both[0], other, labels=labels).to_json() == {**agree(*both).to_json(), "reference": str(other)}

    @pytest.mark.parametrize(("names", "complaint"), [
        ({"x": "a"}, r"has no model 'x'; it has a, c, b, d"), ({"c": "a"}, "two models of .* would be 'a'"),
        ({"c": 3}, "must hold a JSON object"), (["c"], "must hold a JSON object")])
    def test_bad_labels(self, tmp_path: Path, both: tuple[Path, Path], names: Any, complaint: str) -> None:
        (tmp_path / "labels.json").write_text(json.dumps(names))
        with pytest.raises(UsageError, match=complaint):
            agree(*both, labels=tmp_path / "labels.json")

    def test_fewer_than_three(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        (tmp_path / "r.json").write_text('{"a": 1, "b": 2, "x": 3}')
        with pytest.raises(UsageError, match=r"share 2 models with a score \(b, a\) and 3 are needed"):
            agree(both[0], tmp_path / "r.json")


class TestFiles:
    @pytest.mark.parametrize(("name", "text"), [
        ("r.csv", "Name,Rating,CI\na,40,+5/-5\nc,36,+3/-6\nb,29,+2/-1\nd,10,+5/-5\n"),
        ("r.csv", "\ufeffmodel,Arena Score,rating_q025,rating_q975\na,40,35,45\nc,36,30,39\nb,29,28,31\nd,10,5,15\n"),
        ("r.csv", 'label,elo,95% CI\na,40,"35, 45"\nc,36,[30; 39]\nb,29,28 to 31\nd,10,"(5, 15)"\n'),
        ("r.json", json.dumps({name: {"score": score, "ci": [lower, upper]} for name, (score, lower, upper) in THEIRS.items()})),
    ])
    def test_the_same_board_in_many_ways(self, tmp_path: Path, both: tuple[Path, Path], name: str, text: str) -> None:
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_board(tmp_path / name).standings == read_board(both[1]).standings

    def test_without_intervals_order_is_what_is_left(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        (tmp_path / "r.json").write_text('{"a": 40, "c": 36, "b": "29", "d": 10}')
        found = agree(both[0], tmp_path / "r.json")
        told = found.to_json()
        assert told["agreement"] == {"all": None, "half": None, "signed": None, "order": pytest.approx(5 / 6)}
        assert (told["spearman"], told["average"], told["separability"], told["without_intervals"]) == (
            pytest.approx(0.8), None, None, ["a", "c", "b", "d"])
        assert "without an interval on both sides, so only in correlations and order: a, c, b, d" in found.text()
        assert "average                    -  mean" in found.text()

    @pytest.mark.parametrize("lacks", [0, 1])
    def test_a_model_needs_intervals_on_both_sides(self, tmp_path: Path, lacks: int) -> None:
        boards = [MINE, THEIRS]
        for side in (0, 1):
            rows = [{"model": name, "score": score, **({} if (side, name) == (lacks, "c") else {"ci": [lower, upper]})}
                    for name, (score, lower, upper) in boards[side].items()]
            (tmp_path / f"{side}.json").write_text(json.dumps(rows))
        found = agree(tmp_path / "0.json", tmp_path / "1.json")
        assert (found.models, found.without) == (["a", "c", "b", "d"], ["c"])
        assert found.separated == Separated(["a", "b", "d"], Agreement(3, 0, 0, 3, 3), Separability(3, 3), Separability(3, 3))
        assert found.score("order") == pytest.approx(5 / 6)  # of all four

    @pytest.mark.parametrize(("text", "standing"), [
        ('"1,234.5",,', Standing(1234.5, None)), ('"1,234,567","1,234,566",', Standing(1234567, (1234566, math.inf))),
        (" +7 ,\u22121e1,7.", Standing(7, (-10, 7))), ("-.5,nan,inf", Standing(-0.5, None)), ("nan,,", None)])
    def test_numbers(self, tmp_path: Path, text: str, standing: Standing | None) -> None:
        (tmp_path / "r.csv").write_text(f"model,score,lower,upper\na,{text}\n", encoding="utf-8")
        assert read_board(tmp_path / "r.csv").standings == ({"a": standing} if standing else {})

    def test_an_end_that_is_missing_has_no_bound(self, tmp_path: Path) -> None:
        (tmp_path / "r.json").write_text('[{"model": "a", "score": 3, "lower": 2, "upper": null}]')
        assert read_board(tmp_path / "r.json").standings == {"a": Standing(3.0, (2.0, math.inf))}

    def test_equal_scores_have_no_correlation(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        (tmp_path / "r.json").write_text('{"a": 1, "b": 1, "c": 1}')
        assert agree(both[0], tmp_path / "r.json").to_json()["spearman"] is None

    @pytest.mark.parametrize(("name", "text", "complaint"), [
        ("r.txt", "a 1", "no leaderboard that can be read; give the folder of an evaluation, or a .csv or .json file"),
        ("r.json", "[", "is not JSON"), ("r.json", "3", "must hold a list of objects"), ("r.json", "[]", "has no rows"),
        ("r.csv", "model,wins\na,1\n", r"line 2 needs a model .* and a score .*; it has model, wins"),
        ("r.csv", "model,score\na,1\na,2\n", "names the model 'a' twice"),
        ("r.json", '{"a": true}', r"r\.json row 1 \(a\): True is no number"),
        ("r.csv", "model,score\na,1\nb,high\n", r"r\.csv line 3 \(b\): 'high' is no number; write 1234.5, or 1,234.5"),
        ("r.csv", 'model,score\na,"1,5"\n', r"r\.csv line 2 \(a\): '1,5' is no number"),
        ("r.csv", 'model,score\na,"1,2345"\n', "'1,2345' is no number"), ("r.csv", 'model,score\na,"1234,567"\n', "no number"),
        ("r.csv", "model,score\na,1_000\n", "'1_000' is no number"), ("r.csv", "model,score\na,1.2.3\n", "'1.2.3' is no number"),
        ("r.csv", 'model,score,ci\na,1,"1,5"\nb,1,+1.2.3/-6\n', r"line 3 \(b\): the interval '\+1.2.3/-6' is not understood"),
        ("r.csv", 'model,score,ci\na,40,"1.2.3, 50"\n', "the interval '1.2.3, 50' is not understood"),
        ("r.csv", "model,score,ci\na,1,wide\n", "the interval 'wide' is not understood"),
        ("r.csv", "model,score\na,1,5\n", "line 2 has '5' beyond the columns of its header; quote what holds a comma"),
        ("r.csv", "model,score\na," + "1" * 140_000 + "\n", "is not CSV below line 1: field larger"),
        ("r.csv", "model,score,lower,upper\na,1,2,3\n", "the interval from 2 to 3 does not hold the score 1"),
    ])
    def test_bad_files(self, tmp_path: Path, both: tuple[Path, Path], name: str, text: str, complaint: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=complaint):
            agree(both[0], tmp_path / name)

    def test_nothing_there(self, tmp_path: Path, both: tuple[Path, Path]) -> None:
        with pytest.raises(UsageError, match=r"none\.json cannot be read \(No such file or directory\)"):
            agree(both[0], tmp_path / "none.json")
        with pytest.raises(UsageError, match="is no finished evaluation"):
            agree(tmp_path, both[0])


def test_the_command_on_a_real_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "E"
    evaluate(out, *given_answers(tmp_path / "given", by_length(), 6), "judge=fake/judge?prefers=long", "prior=1")
    capsys.readouterr()
    (tmp_path / "people.csv").write_text("model,score\nlongest,9\nmiddle,8\nshort,7\ntiny,6\n")
    (tmp_path / "labels.json").write_text('{"longest": "long"}')
    words = ["eval", "agree", str(out), str(tmp_path / "people.csv"), f"labels={tmp_path / 'labels.json'}"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["models"], told["spearman"], told["agreement"]["order"]) == (["long", "middle", "short", "tiny"], 1.0, 1.0)
    assert main(["eval", "agree", str(out), str(out)]) == 0
    assert "Spearman              1.0000" in capsys.readouterr().out
    assert main(["eval", "agree", str(out)]) == 2
    assert "agree takes an evaluation and a reference, not 1: pica eval agree E REFERENCE" in capsys.readouterr().err
