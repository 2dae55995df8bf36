"""What WildBench has to judge, and what is judged already: worked out of tasks, answers and result files before any call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pica.eval.arena_hard_files import chosen
from pica.eval.contestants import Answers
from pica.eval.tasks import Task, read_tasks
from pica.eval.wildbench_config import WildBenchConfig
from pica.eval.wildbench_files import Compared, Scored, read_rewards, read_scores
from pica.eval.wildbench_told import listed
from pica.synth.errors import UsageError

#: whom WildBench compares with
BASELINES = ("gpt-4-turbo-2024-04-09", "claude-3-haiku-20240307", "Llama-2-70b-chat-hf")
Result = Scored | Compared
Pair = tuple[str, str]                          # label, baseline (empty for scores)
Found = Mapping[Pair, Mapping[str, Sequence[Result]]]  # given results by pair and task


@dataclass(frozen=True)
class Match:
    """An answer to be scored, or a model against a baseline (empty for scores). `results`: given ones. `open`: there are none,
    and it can be judged now."""

    task: Task
    label: str
    baseline: str = ""
    results: Sequence[Result] = ()
    open: bool = False


@dataclass(frozen=True)
class Setup:
    """What there is to do. `expected`: judgments that there should be, by label. `warnings`: what was wrong with the input."""

    tasks: Sequence[Task]
    matches: Sequence[Match]
    baselines: Sequence[str]
    expected: Mapping[str, int]
    warnings: Sequence[str]


def set_up(config: WildBenchConfig, given: Answers) -> Setup:
    """All matches: given ones first, then those that can be judged, then those that are missing. Raises `UsageError` for what
    does not go together."""
    results, warnings = _results(config)
    name = config.tasks or f"{config.what}={config.scores or config.rewards}"
    every = read_tasks(config.tasks, split=config.split) if config.tasks else _tasks_of(results)
    tasks = chosen(every, name, n=config.n, categories=config.categories)
    if not config.reference:
        tasks = [replace(task, reference="") for task in tasks]
    found = _sorted_out(results, {task.id for task in every}, name, warnings)
    answering = [contestant.title for contestant in config.models]
    able = {*answering, *(given if config.judge else ())}
    labels = _labels(config, answering, given, found, able, warnings)
    baselines = _baselines(config, found, labels, able, warnings) if config.mode == "reward" else ("",)
    matches = _matches(tasks, _pairs(labels, baselines, found, able), found, able)
    _check(config, matches)
    expected = {label: len(tasks) * sum(label != baseline for baseline in baselines) for label in labels}
    return Setup(tasks, matches, baselines if config.mode == "reward" else (), expected, warnings)


def _results(config: WildBenchConfig) -> tuple[Sequence[Result], list[str]]:
    """(given results, warnings)."""
    if config.mode == "score":
        return read_scores(config.scores) if config.scores else ([], [])
    return read_rewards(config.rewards, config.baselines) if config.rewards else ([], [])


def _tasks_of(results: Sequence[Result]) -> list[Task]:
    """The tasks of given results, in their order, with the tags that the records bear; what was asked is not known."""
    tags: dict[str, tuple[str, ...]] = {}
    for one in results:
        tags[one.task] = tags.get(one.task) or one.tags
    return [Task(task, (), own[0] if own else "", own[1:]) for task, own in tags.items()]


def _sorted_out(results: Sequence[Result], known: set[str], name: str, warnings: list[str]) -> Found:
    """Given results of known tasks; why others do not count is told in `warnings`."""
    found: dict[Pair, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    strangers = [one for one in results if one.task not in known]
    for one in results:
        if one.task in known:
            found[one.label, one.baseline if isinstance(one, Compared) else ""][one.task].append(one)
    if strangers:
        if not found:
            raise UsageError(f"no result is of a task of {name!r}: they are of {strangers[0].task!r} and others, and its tasks "
                             f"are {min(known)!r} and others; give the tasks they belong to")
        warnings.append(f"{len(strangers):,} results are of tasks that {name!r} does not have (such as {strangers[0].task}); "
                        "they are left out")
    return found


def _labels(config: WildBenchConfig, answering: Sequence[str], given: Answers, found: Found, able: set[str],
            warnings: list[str]) -> list[str]:
    """Everybody who competes: models, given answers, given results."""
    judged = dict.fromkeys(label for label, _ in found)
    for label in answering:
        if label in judged:
            raise UsageError(f"{label!r} stands in models and in {config.what}; give the model another label, or leave one out")
    known = {*able, *judged, *(baseline for _, baseline in found)}
    silent = [label for label in given if label not in known]
    if silent:
        warnings.append(f"{listed(silent)}: answers, but no results and no judge, so left out; give judge=SPEC")
    return [label for label in dict.fromkeys((*answering, *given, *judged)) if label in able or label in judged]


def _baselines(config: WildBenchConfig, found: Found, labels: Sequence[str], able: set[str],
               warnings: list[str]) -> Sequence[str]:
    """Whom all are compared with: as named, else those of the results, else those of WildBench's three that compete."""
    seen = list(dict.fromkeys(baseline for _, baseline in found))
    named = list(dict.fromkeys(config.baselines or seen or [name for name in BASELINES if name in able]))
    here = listed(sorted({*labels, *seen}), most=12) or "nobody"
    if not named:
        raise UsageError(f"nobody to compare with: of WildBench's baselines ({', '.join(BASELINES)}) none competes; give "
                         f"baselines=[NAME], labels of models or answers: {here}")
    for baseline in named:
        if baseline not in able and baseline not in seen:
            raise UsageError(f"the baseline {baseline!r} is absent; baselines are labels of models, answers or rewards: {here}")
    absent = [name for name in BASELINES if name not in named]
    if not config.baselines and absent and len(absent) < len(BASELINES):
        warnings.append(f"of WildBench's baselines there is no {' and no '.join(absent)}; the mix is over {', '.join(named)}")
    return named


def _pairs(labels: Sequence[str], baselines: Sequence[str], found: Found, able: set[str]) -> list[Pair]:
    """Who is judged, against whom: where there are results, or can be some. Two baselines of which nothing is given meet once."""
    pairs: list[Pair] = []
    for baseline in baselines:
        for label in labels:
            can = label in able and (not baseline or baseline in able) and (baseline, label) not in pairs
            if label != baseline and ((label, baseline) in found or can):
                pairs.append((label, baseline))
    return pairs


def _matches(tasks: Sequence[Task], pairs: Sequence[Pair], found: Found, able: set[str]) -> list[Match]:
    """Every pair on every task, by kind: given, open, missing."""
    made: tuple[list[Match], list[Match], list[Match]] = ([], [], [])
    for task in tasks:
        for label, baseline in pairs:
            results = found.get((label, baseline), {}).get(task.id, ())
            can = not results and label in able and (not baseline or baseline in able)
            made[0 if results else 1 if can else 2].append(Match(task, label, baseline, results, can))
    return [match for several in made for match in several]


def _check(config: WildBenchConfig, matches: Sequence[Match]) -> None:
    """There is something to judge or judged, and what is judged now says what was asked."""
    if not any(match.results or match.open for match in matches):
        raise UsageError(f"nobody competes; give models, answers with judge=SPEC, or {config.what}=DIR"
                         f"{' (beside the baselines)' if config.mode == 'reward' else ''}")
    for match in matches:
        if match.open and not match.task.conversation:
            raise UsageError(f"the results do not hold what task {match.task.id!r} asked, so nothing can be judged anew; give "
                             "the tasks, such as tasks=allenai/WildBench:v2 split=test")
