"""What a reader of a WildBench leaderboard must know: what its numbers are, how they came about, what is wrong with the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pica.eval.wildbench_elo import WildBenchElo
from pica.eval.wildbench_figures import GROUP_NAMES, WorkedOut
from pica.eval.wildbench_parts import RULE, Counting, Row, groups_in

ENOUGH = 20  # scores from which all being one says something
NAMED = 4    # names that a sentence lists


def metric(counting: Counting) -> str:
    """What the leaderboard's score is, with its unit."""
    if counting.mode == "score":
        return "WB-Score in points: (mean score - 5) x 20, from -80 to 100; 0 is a mean score of 5"
    names = counting.baselines
    whom = names[0] if len(names) == 1 else f"mean over {', '.join(names)}"
    penalty = "" if counting.limit < 0 else f", length penalty K={counting.limit}"
    return f"WB-Reward in points, against {whom}{penalty}; from -100 to 100"


def method(counting: Counting, elo: WildBenchElo | None) -> str:
    """How scores and intervals came about."""
    told = [f"{counting.level:.0%} intervals of {counting.rounds:,} draws of tasks with all their judgments."]
    if not counting.official:
        told.append("Everything judged counts, empty answers too; averages over groups go over the groups that have tasks.")
    elif counting.mode == "score":
        told.append("Denominators as published: groups leave out empty and cut answers, and averages over groups are divided by "
                    "all weights.")
    else:
        told.append("Denominators as published: battles with an empty or cut answer are left out, but a reward is divided by all "
                    "that were judged; averages over groups are divided by all weights; a baseline without results counts 0.")
    if elo is not None and elo.ratings:
        told.append(f"WB-Elo: {elo.battles:,} virtual battles in {elo.rounds} shuffled orders.")
    return " ".join(told)


def warnings(rows: Sequence[Row], own: Mapping[str, Sequence[Row]], worked: Mapping[str, WorkedOut],
             counting: Counting) -> list[str]:
    """What is wrong with these judgments. `own`: the rows by label."""
    found = [*_unscored(rows, counting), *_uneven(own), *_ungrouped(rows, worked, counting)]
    if counting.mode == "score":
        return [*found, *_constant(rows)]
    return [*found, *_absent(worked, counting), *_lengthless(rows, counting)]


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """The first few names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _unscored(rows: Sequence[Row], counting: Counting) -> list[str]:
    """What has no verdict, and why, in a line."""
    kind, value = ("grades", "score") if counting.mode == "score" else ("games", "verdict")
    lost = [one for row in rows for one in row[kind] if one[value] is None]
    if not lost:
        return []
    why = Counter(_in_short(one["problem"]) for one in lost)
    told = listed([f"{problem} ({number:,})" for problem, number in why.most_common()])
    return [f"{len(lost):,} judgments are unscored and count for nobody: {told}"]


def _in_short(problem: str) -> str:
    return "too long for the judge's prompt" if " characters and " in problem else problem.partition(": ")[0]


def _uneven(own: Mapping[str, Sequence[Row]]) -> list[str]:
    """Models that were judged on different tasks, or by different judges."""
    found = []
    tasks = {label: {row["task"] for row in rows} for label, rows in own.items()}
    every = {task for some in tasks.values() for task in some}
    short = [f"{label} on {len(some):,}" for label, some in sorted(tasks.items()) if some != every]
    if short:
        found.append(f"models were judged on different tasks ({listed(short)}, of {len(every):,} in all); their scores compare "
                     "only as far as the tasks are alike")
    judges = {label: frozenset(one["judge"] for row in rows for one in row.get("grades") or row.get("games") or ()) - {RULE}
              for label, rows in own.items()}
    panels = sorted({" and ".join(sorted(names)) for names in judges.values() if names})
    if len(panels) > 1:
        found.append(f"not all models have the same judges ({'; '.join(panels[:NAMED])}); scores by different judges do not "
                     "compare")
    return found


def _ungrouped(rows: Sequence[Row], worked: Mapping[str, WorkedOut], counting: Counting) -> list[str]:
    """Tasks that belong to no group, and groups without tasks, where there are groups at all."""
    groups = {row["task"]: groups_in(row) for row in rows}
    if not any(groups.values()):
        return []
    found = []
    without = sum(not own for own in groups.values())
    if without:
        found.append(f"{without:,} of {len(groups):,} tasks have no tag of WildBench; they count over all, and in no group")
    empty = [group for group in GROUP_NAMES if any(one.tasks and group not in one.mixed.groups for one in worked.values())]
    if empty:
        rest = "is divided by their weights all the same (official)" if counting.official else "goes over the other groups"
        found.append(f"{', '.join(empty)}: some models have no judged task of this kind; their average over groups {rest}")
    return found


def _absent(worked: Mapping[str, WorkedOut], counting: Counting) -> list[str]:
    """Models that lack results against a baseline."""
    found = []
    for place, baseline in enumerate(counting.baselines):
        lacking = [label for label, one in worked.items() if label != baseline and not one.parts[place].overall.n]
        if lacking:
            rest = "counted as 0 in their mix (official)" if counting.official else "so they have no mix; see their other rewards"
            found.append(f"no results against {baseline} for {listed(lacking)}: {rest}")
    return found


def _lengthless(rows: Sequence[Row], counting: Counting) -> list[str]:
    lacking = sum(not row["answers_known"] for row in rows) if counting.limit >= 0 else 0
    return [f"length_penalty={counting.limit} cannot touch {lacking:,} battles whose answers are not known"] if lacking else []


def _constant(rows: Sequence[Row]) -> list[str]:
    given = [row["score"] for row in rows if row["score"] is not None]
    if len(given) < ENOUGH or len(set(given)) > 1:
        return []
    return [f"the judge gave every one of {len(given):,} answers the score {given[0]:g}, so it tells nothing apart; take another "
            "judge"]
